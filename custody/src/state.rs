//! Everything that is decided by, in memory as it was verified.

use std::collections::BTreeMap;

use crate::{
    envelope::Content,
    holder::TokenId,
    journal::{chain::Head, change::Settled},
    name::{GroupName, RuleId, SecretId},
    role::Assignment,
    row::{Digest, Row, RowId, RowKey, SetHash, Tag, Tagged},
    secret::version::Fingerprint,
    state::{
        edit::{Edit, Plan},
        index::{Doomed, Owners},
        links::Referrers,
        view::GroupView,
    },
    trustee::Trustee,
};

pub mod decide;
pub mod edit;
mod held;
mod index;
pub mod links;
pub mod resolve;
mod roles;
pub mod view;

use held::{Held, InGroup, InSecret, InVersion, place, take_wrap};

/// Rows that are no state.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Broken {
    /// The row was not written by us, or was changed since.
    #[error("the row of {0} does not verify")]
    Forged(RowId),
    /// What the row belongs to is not there.
    #[error("the row of {0} belongs to nothing")]
    Orphan(RowId),
    /// There are two of it.
    #[error("there are two rows of {0}")]
    Twice(RowId),
}

/// The state of an installation: all rows but the contents.
#[derive(Debug)]
pub struct State {
    key: RowKey,
    set: SetHash,
    groups: BTreeMap<GroupName, InGroup>,
    assignments: BTreeMap<RuleId, Held<Assignment>>,
    trustees: BTreeMap<TokenId, Held<Trustee>>,
    referrers: Referrers,
    doomed: Doomed,
    owners: Owners,
}

impl State {
    /// A state without rows, authenticated by `key`.
    pub fn empty(key: RowKey) -> Self {
        Self {
            key,
            set: SetHash::default(),
            groups: BTreeMap::new(),
            assignments: BTreeMap::new(),
            trustees: BTreeMap::new(),
            referrers: Referrers::default(),
            doomed: Doomed::default(),
            owners: Owners::default(),
        }
    }

    /// Takes in a stored row; what it belongs to must have come before.
    ///
    /// # Errors
    ///
    /// If it does not verify, or does not fit what is there.
    pub fn load(&mut self, tagged: Tagged) -> Result<(), Broken> {
        if !self.key.verifies(&tagged) {
            return Err(Broken::Forged(tagged.row.id()));
        }
        let id = tagged.row.id();
        if self.tag(&id).is_some() {
            return Err(Broken::Twice(id));
        }
        self.key.add(&mut self.set, tagged.tag);
        self.insert(tagged.row, tagged.tag)
            .ok_or(Broken::Orphan(id))
    }

    /// The digest of this state, if `change` was the last to change it.
    pub fn digest(&self, change: u64) -> Digest {
        self.key.digest(&self.set, change)
    }

    /// This state as the journal knows it, if `change` was the last to change it.
    pub fn settled_at(&self, change: u64) -> Settled {
        Settled {
            number: change,
            state: hex::encode(self.digest(change).as_bytes()),
        }
    }

    /// The fingerprint of `content` in the secret `id`.
    pub fn fingerprint(&self, id: &SecretId, content: &Content) -> Fingerprint {
        self.key.fingerprint(id, content)
    }

    /// Authenticates what was drawn from the journal up to `head`.
    pub fn usage_tag(&self, head: Head, kept: &[u8]) -> Tag {
        self.key.usage_tag(head, kept)
    }

    /// Whether `tag` is what [`Self::usage_tag`] gave, compared in constant time.
    pub fn verifies_usage(&self, head: Head, kept: &[u8], tag: Tag) -> bool {
        self.key.verifies_usage(head, kept, tag)
    }

    /// Authenticates `edit` as change number `change`.
    pub fn plan(&self, edit: Edit, change: u64) -> Plan {
        let mut set = self.set;
        for id in &edit.deletes {
            if let Some(tag) = self.tag(id) {
                self.key.remove(&mut set, tag);
            }
        }
        let mut rows = Vec::with_capacity(edit.puts.len());
        for row in edit.puts {
            if let Some(old) = self.tag(&row.id()) {
                self.key.remove(&mut set, old);
            }
            let tag = self.key.tag(&row, change);
            self.key.add(&mut set, tag);
            rows.push(Tagged { row, change, tag });
        }
        Plan {
            change,
            rows,
            deletes: edit.deletes,
            content: edit.content,
            shreds: edit.shreds,
            digest: self.key.digest(&set, change),
            set,
        }
    }

    /// Follows `plan`, which was made of this very state and is in the database.
    pub fn adopt(&mut self, plan: &Plan) {
        for id in &plan.deletes {
            self.remove(id);
        }
        for tagged in &plan.rows {
            self.insert(tagged.row.clone(), tagged.tag);
        }
        self.set = plan.set;
    }

    /// All groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = GroupView<'_>> {
        self.groups.values().map(GroupView)
    }

    /// One group.
    pub fn group(&self, name: &GroupName) -> Option<GroupView<'_>> {
        self.groups.get(name).map(GroupView)
    }

    fn in_secret(&self, id: &SecretId) -> Option<&InSecret> {
        self.groups.get(&id.group)?.secrets.get(&id.name)
    }

    fn tag(&self, id: &RowId) -> Option<Tag> {
        Some(match id {
            RowId::Group(name) => self.groups.get(name)?.group.tag,
            RowId::MasterKey(group, generation, id) => {
                let keys = &self.groups.get(group)?.keys;
                keys.get(&(*generation, *id))?.tag
            }
            RowId::Secret(id) => self.in_secret(id)?.secret.tag,
            RowId::Version(id) => {
                let secret = self.in_secret(&id.secret)?;
                secret.version(id.number)?.version.tag
            }
            RowId::Wrap(version, gmk) => {
                let secret = self.in_secret(&version.secret)?;
                let wraps = &secret.version(version.number)?.wraps;
                wraps.iter().find(|wrap| wrap.row.gmk == *gmk)?.tag
            }
            RowId::Rule(group, id) => self.groups.get(group)?.rules.get(id)?.tag,
            RowId::Compliance(group) => self.groups.get(group)?.compliance.as_ref()?.tag,
            RowId::Assignment(id) => self.assignments.get(id)?.tag,
            RowId::Trustee(token) => self.trustees.get(token)?.tag,
        })
    }

    /// Puts a row in its place, over the one that is there. `None` if there is no place.
    fn insert(&mut self, row: Row, tag: Tag) -> Option<()> {
        match row {
            Row::Group(row) => match self.groups.get_mut(&row.name) {
                Some(group) => group.group = Held { row, tag },
                None => {
                    let name = row.name.clone();
                    self.groups.insert(name, InGroup::new(Held { row, tag }));
                }
            },
            Row::MasterKey(row) => {
                let keys = &mut self.groups.get_mut(&row.group)?.keys;
                keys.insert((row.generation, row.id), Held { row, tag });
            }
            Row::Secret(row) => {
                let secrets = &mut self.groups.get_mut(&row.id.group)?.secrets;
                match secrets.get_mut(&row.id.name) {
                    Some(secret) => secret.secret = Held { row, tag },
                    None => {
                        let name = row.id.name.clone();
                        secrets.insert(name, InSecret::new(Held { row, tag }));
                    }
                }
            }
            Row::Version(row) => {
                let group = self.groups.get_mut(&row.id.secret.group)?;
                let secret = group.secrets.get_mut(&row.id.secret.name)?;
                self.referrers.follow(secret.secret.row.kind, &row);
                let before = secret.version(row.id.number);
                self.doomed
                    .follow(before.map(|before| &before.version.row), &row);
                if let Some(before) = before {
                    group.wrapped.exchange(before, &row);
                }
                let versions = &mut secret.versions;
                let version = Held { row, tag };
                match place(versions, version.row.id.number) {
                    Ok(at) => versions[at].version = version,
                    Err(at) => versions.insert(at, InVersion::new(version)),
                }
            }
            Row::Wrap(row) => {
                let group = self.groups.get_mut(&row.version.secret.group)?;
                let secret = group.secrets.get_mut(&row.version.secret.name)?;
                let version = secret.version_mut(row.version.number)?;
                if let Some(before) = take_wrap(&mut version.wraps, &row.gmk) {
                    group.wrapped.forget(&before, version);
                }
                group.wrapped.follow(&row, version);
                version.wraps.push(Held { row, tag });
            }
            Row::Rule(row) => {
                let rules = &mut self.groups.get_mut(&row.group)?.rules;
                self.owners.follow(&row);
                rules.insert(row.id, Held { row, tag });
            }
            Row::Compliance(row) => {
                let group = self.groups.get_mut(&row.group)?;
                group.compliance = Some(Held { row, tag });
            }
            Row::Assignment(row) => {
                self.assignments.insert(row.id, Held { row, tag });
            }
            Row::Trustee(row) => {
                self.trustees.insert(row.token.clone(), Held { row, tag });
            }
        }
        Some(())
    }

    fn remove(&mut self, id: &RowId) -> Option<()> {
        match id {
            RowId::Group(name) => {
                let removed = self.groups.remove(name)?;
                self.forget_group(&removed);
            }
            RowId::MasterKey(group, generation, id) => {
                let keys = &mut self.groups.get_mut(group)?.keys;
                keys.remove(&(*generation, *id));
            }
            RowId::Secret(id) => {
                let group = self.groups.get_mut(&id.group)?;
                let removed = group.secrets.remove(&id.name)?;
                for version in &removed.versions {
                    group.wrapped.forget_version(version);
                }
                self.forget_secret(&removed);
            }
            RowId::Version(id) => {
                let group = self.groups.get_mut(&id.secret.group)?;
                let secret = group.secrets.get_mut(&id.secret.name)?;
                let at = place(&secret.versions, id.number).ok()?;
                let removed = secret.versions.remove(at);
                group.wrapped.forget_version(&removed);
                let kind = secret.secret.row.kind;
                self.forget_version(kind, &removed.version.row);
            }
            RowId::Wrap(version, gmk) => {
                let group = self.groups.get_mut(&version.secret.group)?;
                let secret = group.secrets.get_mut(&version.secret.name)?;
                let version = secret.version_mut(version.number)?;
                let removed = take_wrap(&mut version.wraps, gmk)?;
                group.wrapped.forget(&removed, version);
            }
            RowId::Rule(group, id) => {
                self.groups.get_mut(group)?.rules.remove(id)?;
                self.owners.forget(id);
            }
            RowId::Compliance(group) => {
                self.groups.get_mut(group)?.compliance = None;
            }
            RowId::Assignment(id) => {
                self.assignments.remove(id);
            }
            RowId::Trustee(token) => {
                self.trustees.remove(token);
            }
        }
        Some(())
    }
}
