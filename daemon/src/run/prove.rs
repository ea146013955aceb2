//! What a token proves of a database: that it is of one installation, and was written by it.

use custody::{
    group::MasterKey,
    holder::TokenId,
    journal::{change::Settled, public_key::PublicKey},
    name::InstanceId,
    row::{RowKey, System, Tag},
    state::{State, view::GroupView},
    store::Store as _,
    trustee::Trustee,
};
use hsm::{KeyRole, KnownKey};

use super::Failure;
use crate::{
    journal::Origin,
    row_key::{self, Problem},
    store::{self, Sqlite},
};

/// The row that everything else hangs on, not yet verified.
pub(crate) fn system_row(database: &mut Sqlite) -> Result<(System, Tag), Failure> {
    database
        .system()
        .map_err(found_wrong)?
        .ok_or_else(|| Failure::Tampered("the database has no system row".to_owned()))
}

/// The key that auditors are given.
pub(crate) fn public_key(system: &System) -> Result<PublicKey, Failure> {
    PublicKey::from_bytes(&system.journal_public_key)
        .map_err(|_| Failure::Tampered("the journal key in the system row is none".to_owned()))
}

/// Whose journal goes with `system`.
pub(crate) fn origin(system: &System) -> Result<Origin, Failure> {
    Ok(Origin {
        instance: system.instance,
        public_key: public_key(system)?.to_pem(),
    })
}

/// The keys of the installation that a token has, as it must have them: the one that wraps the
/// row key, and the one that signs.
pub(crate) fn keys_of(trustee: &Trustee) -> [KnownKey; 2] {
    [system_gmk(trustee), journal_key(trustee)]
}

/// The key that wraps the row key, as the token must have it.
pub(crate) fn system_gmk(trustee: &Trustee) -> KnownKey {
    let role = KeyRole::Gmk {
        wrapping: trustee.wrapping,
        canary: trustee.canary.clone(),
        blob: None,
    };
    KnownKey {
        id: trustee.gmk,
        role,
    }
}

/// The key that signs, as the token must have it.
pub(crate) fn journal_key(trustee: &Trustee) -> KnownKey {
    let public_key = trustee.journal_public_key.clone();
    KnownKey {
        id: trustee.journal_key,
        role: KeyRole::Journal { public_key },
    }
}

/// The group master keys that `token` has.
pub(crate) fn keys_in(state: &State, token: &TokenId) -> Vec<MasterKey> {
    let keys = state.groups().flat_map(GroupView::living_keys);
    let keys = keys.filter(|key| key.token == *token);
    keys.cloned().collect()
}

/// Has `keys` loaded. One that is refused takes its own group out of service, and no other.
pub(crate) async fn load_keys(hsm: &hsm::Client, keys: Vec<MasterKey>) {
    for key in keys {
        if let Err(error) = hsm.load(group_key(&key)).await {
            tracing::error!(
                group = %key.group,
                generation = key.generation,
                key = %key.id,
                error = &error as &dyn std::error::Error,
                "a group master key is refused; its token delivers none of its group's secrets"
            );
        }
    }
}

/// A group master key, as the token must have it.
pub(crate) fn group_key(key: &MasterKey) -> KnownKey {
    let role = KeyRole::Gmk {
        wrapping: key.wrapping,
        canary: key.canary.clone(),
        blob: key.blob.clone(),
    };
    KnownKey { id: key.id, role }
}

/// The tokens with keys of the installation, as far as that can be known before one of them has
/// unwrapped the row key.
pub(crate) fn trustees(database: &mut Sqlite, system: &System) -> Result<Vec<Trustee>, Failure> {
    let others = database.trustees().map_err(found_wrong)?;
    Ok(Trustee::all(system, others))
}

/// The tokens that were given up, as far as that can be known before that.
pub(crate) fn lost(database: &mut Sqlite) -> Result<Vec<TokenId>, Failure> {
    let trustees = database.trustees().map_err(found_wrong)?.into_iter();
    let lost = trustees.filter(|trustee| trustee.lost.is_some());
    Ok(lost.map(|trustee| trustee.token).collect())
}

/// The row key, which the system GMK of a token opens; that must be loaded.
pub(crate) async fn row_key(
    hsm: &hsm::Client,
    instance: &InstanceId,
    trustee: &Trustee,
) -> Result<RowKey, Failure> {
    match row_key::unwrap(hsm, instance, trustee).await {
        Ok(opened) => Ok(RowKey::take(opened)),
        Err(Problem::Hsm(error)) if !error.is_bad_data() => Err(error.into()),
        Err(Problem::Hsm(_)) => Err(Failure::Tampered(
            "the row key does not open under the system GMK".to_owned(),
        )),
        Err(Problem::Unsigned(unsigned)) => Err(Failure::Tampered(unsigned.to_string())),
    }
}

/// Every row but the contents, each verified with `row_key`, as is `system` by its `tag`.
pub(crate) fn load_state(
    database: &mut Sqlite,
    row_key: RowKey,
    system: &System,
    tag: Tag,
) -> Result<State, Failure> {
    if !row_key.verifies_system(system, tag) {
        return Err(Failure::Tampered(
            "the system row does not verify".to_owned(),
        ));
    }
    let mut state = State::empty(row_key);
    let mut broken = None;
    database
        .rows(&mut |tagged| {
            if broken.is_none() {
                broken = state.load(tagged).err();
            }
        })
        .map_err(found_wrong)?;
    match broken {
        Some(broken) => Err(Failure::Tampered(broken.to_string())),
        None => Ok(state),
    }
}

/// A row that none of ours can look like was not written by us.
fn found_wrong(error: store::Error) -> Failure {
    if error.is_bad_data() {
        Failure::Tampered(error.to_string())
    } else {
        error.into()
    }
}

/// Makes sure that `state` is what the journal knows as `settled`.
pub(crate) fn is_at(state: &State, settled: &Settled) -> Result<(), Failure> {
    match state.settled_at(settled.number) == *settled {
        true => Ok(()),
        false => Err(Failure::Tampered(
            "the rows of the database are not those of the change that the journal ends at"
                .to_owned(),
        )),
    }
}
