//! Group master keys of two secret keys under one identifier: one encrypts, the other signs.

use cryptoki::{
    error::Error as CkError, mechanism::Mechanism, object::Attribute, session::Session,
};
use custody::name::KeyId;

use super::{
    find,
    pair::{Owner, destroy_own, fresh_id},
    recovery::{self, Codes, Remedy},
    template,
    wrap::{Fault, Kek, Twins},
};

/// Both keys called `id`, if there is one of each.
pub(super) fn find(session: &Session, id: &KeyId) -> Result<Twins, Fault> {
    let only = |search: &[Attribute]| find::only(session, id, &session.find_objects(search)?);
    Ok(Twins {
        cipher: only(&template::cipher_search(id))?,
        mac: only(&template::mac_search(id))?,
    })
}

/// Makes both keys, or leaves none.
pub(super) fn generate(
    session: &Session,
    id: &KeyId,
    cipher: &[Attribute],
    mac: &[Attribute],
) -> Result<Twins, CkError> {
    let cipher = session.generate_key(&Mechanism::AesKeyGen, cipher)?;
    match session.generate_key(&Mechanism::GenericSecretKeyGen, mac) {
        Ok(mac) => Ok(Twins { cipher, mac }),
        Err(error) => {
            if let Err(error) = destroy_own(session, id, cipher) {
                let error = recovery::describe(&error);
                tracing::error!(%error, %id, "one key of two stays in the token");
            }
            Err(error)
        }
    }
}

/// Destroys both.
pub(super) fn destroy(session: &Session, id: &KeyId, twins: Twins) -> Result<(), CkError> {
    destroy_own(session, id, twins.mac)?;
    destroy_own(session, id, twins.cipher)
}

/// Two keys that are thrown away.
pub(super) struct Trial {
    id: KeyId,
    pub(super) twins: Twins,
    pub(super) owner: Owner,
}

impl Trial {
    /// Makes them, of the session where the token can.
    pub(super) fn make(session: &Session, codes: &Codes) -> Result<Self, Fault> {
        let id = fresh_id()?;
        let make = |owner| {
            let [cipher, mac] = template::trial_twins(&id, owner);
            generate(session, &id, &cipher, &mac)
        };
        let (twins, owner) = match make(Owner::Session) {
            Err(error) if codes.remedy(&error) == Remedy::Answer => {
                (make(Owner::Token)?, Owner::Token)
            }
            made => (made?, Owner::Session),
        };
        Ok(Self { id, twins, owner })
    }

    pub(super) fn kek(&self) -> Kek {
        Kek::twins(self.twins)
    }

    pub(super) fn discard(self, session: &Session) {
        if let Err(error) = destroy(session, &self.id, self.twins) {
            self.owner.left(&error, &self.id);
        }
    }
}
