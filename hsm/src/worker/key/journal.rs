//! Journal keys: made in the first way to sign that works, checked, and proven by a signature.

use aws_lc_rs::digest;
use cryptoki::{object::ObjectHandle, session::Session};
use custody::{
    journal::{
        public_key::PublicKey,
        signing::{Signature, Signing},
    },
    name::KeyId,
};

use super::{
    super::{
        find,
        pair::{Kind, Pair, fresh_id},
        signing,
        strategy::{self, Amiss},
        template,
        wrap::Fault,
    },
    Keys, conforms, make, told,
};
use crate::{Error, wire};

/// What a journal key signs to show that it is the one.
const PROBE: &[u8] = b"custodyd journal key";

/// A journal key, proven.
pub(in super::super) struct Journal {
    handle: ObjectHandle,
    public_key: PublicKey,
}

impl Journal {
    /// Signs a SHA-256 digest. What the token gives is verified: an entry with another signature
    /// would break the journal for good.
    pub(in super::super) fn sign(
        &self,
        session: &Session,
        digest: &[u8],
    ) -> Result<Signature, Fault> {
        let signed = signing::sign(session, self.public_key.signing(), self.handle, digest)?;
        Signature::from_bytes(signed)
            .filter(|signature| self.public_key.signed_digest(digest, signature))
            .ok_or(Fault::Changed(
                "C_Sign",
                "a signature that its public key does not verify",
            ))
    }
}

impl Keys {
    pub(in super::super) fn journal(&self, id: &KeyId) -> Result<&Journal, Error> {
        let journal = self.journals.get(id);
        journal.ok_or(Error::KeyNotLoaded { id: *id })
    }

    /// Finds a journal key, checks it and has it sign for its public half, which says how.
    pub(in super::super) fn load_journal(
        &mut self,
        session: &Session,
        id: KeyId,
        public_key: &[u8],
    ) -> Result<(), Fault> {
        self.journals.remove(&id);
        let nonconforming = |why: &str| {
            let why = why.to_owned();
            Error::NonConforming { id, why }
        };
        let public_key = PublicKey::from_bytes(public_key);
        let public_key = public_key.map_err(|_| nonconforming("its public key is none"))?;
        let found = session.find_objects(&template::journal_search(&id))?;
        let journal = Journal {
            handle: find::only(session, &id, &found)?,
            public_key,
        };
        let expected = template::conforming_journal(journal.public_key.signing());
        conforms(session, &id, journal.handle, &expected)?;
        let digest = digest::digest(&digest::SHA256, PROBE);
        match journal.sign(session, digest.as_ref()) {
            Err(Fault::Changed(..)) => {
                let why = "what it signs does not verify with its public key";
                return Err(nonconforming(why).into());
            }
            signed => signed?,
        };
        self.journals.insert(id, journal);
        Ok(())
    }

    /// Makes a pair of keys that signs the journal.
    pub(in super::super) fn generate_journal(
        &mut self,
        session: &Session,
        label: &str,
    ) -> Result<wire::Journal, Fault> {
        let (codes, mut tried) = (self.codes.clone(), Vec::new());
        for signing in Signing::ALL {
            let made = strategy::repeatedly(&codes, || {
                let made = self.generate_journal_by(session, label, signing);
                made.map_err(Amiss::from)
            });
            match made {
                Ok(journal) => return Ok(journal),
                Err(amiss) => tried.push(format!("{signing}: {}", amiss.about_the_way(&codes)?)),
            }
        }
        let tried = tried.join("; ");
        Err(Error::NoSigning { tried }.into())
    }

    fn generate_journal_by(
        &mut self,
        session: &Session,
        label: &str,
        signing: Signing,
    ) -> Result<wire::Journal, Fault> {
        let id = fresh_id()?;
        let (public, private) = make(&self.codes, |fixed| {
            let public = template::journal_public(signing, &id, label);
            let mut private = template::journal_private(signing, &id, label);
            private.extend(fixed);
            session.generate_key_pair(&Kind::Signs(signing).mechanism(), &public, &private)
        })?;
        let made = Pair {
            id,
            public,
            private,
        };
        let journal = self.finish_journal(session, id, signing, public);
        journal.inspect_err(|_| told(made.destroy(session)))
    }

    fn finish_journal(
        &mut self,
        session: &Session,
        id: KeyId,
        signing: Signing,
        public: ObjectHandle,
    ) -> Result<wire::Journal, Fault> {
        let public_key = signing::public_key(session, signing, public)?;
        self.load_journal(session, id, public_key.as_bytes())?;
        Ok(wire::Journal {
            id: id.as_bytes().to_vec(),
            public_key: public_key.as_bytes().to_vec(),
        })
    }
}
