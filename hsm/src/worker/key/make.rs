//! Group master keys that are made in the token.

use cryptoki::{mechanism::Mechanism, object::Attribute, session::Session};
use custody::{
    envelope::{self, Context, Form, Wrapping},
    name::KeyId,
};

use super::{
    super::{
        pair::{self, Pair, fresh_id},
        recovery::Codes,
        template, twins,
        wrap::{Fault, Kek},
    },
    Gmk, Keys, Place, told,
};
use crate::{Error, Refusal, wire};

impl Keys {
    /// Makes a group master key in the first of the `allowed` ways that works.
    pub(in super::super) fn generate_gmk(
        &mut self,
        session: &Session,
        label: &str,
        allowed: &[Wrapping],
    ) -> Result<wire::Gmk, Fault> {
        let wrapping = self.first_that_works(session, allowed)?;
        match wrapping.form() {
            Form::Key => self.generate_key(session, label, wrapping),
            Form::Twins => self.generate_twins(session, label, wrapping),
            Form::Pair => self.generate_pair(session, label, wrapping),
        }
    }

    fn generate_key(
        &mut self,
        session: &Session,
        label: &str,
        wrapping: Wrapping,
    ) -> Result<wire::Gmk, Fault> {
        let id = fresh_id()?;
        let made = make(&self.codes, |fixed| {
            let mut template = template::gmk(&id, label, wrapping);
            template.extend(fixed);
            session.generate_key(&Mechanism::AesKeyGen, &template)
        })?;
        let gmk = Kek::new(session, made, wrapping)
            .and_then(|kek| self.finish_gmk(session, id, kek, Place::Token));
        gmk.inspect_err(|_| told(pair::destroy_own(session, &id, made)))
    }

    fn generate_twins(
        &mut self,
        session: &Session,
        label: &str,
        wrapping: Wrapping,
    ) -> Result<wire::Gmk, Fault> {
        let id = fresh_id()?;
        let made = make(&self.codes, |fixed| {
            let mut cipher = template::gmk(&id, label, wrapping);
            let mut mac = template::mac(&id, label);
            cipher.extend(fixed.clone());
            mac.extend(fixed);
            twins::generate(session, &id, &cipher, &mac)
        })?;
        let gmk = self.finish_gmk(session, id, Kek::twins(made), Place::Token);
        gmk.inspect_err(|_| told(twins::destroy(session, &id, made)))
    }

    fn generate_pair(
        &mut self,
        session: &Session,
        label: &str,
        wrapping: Wrapping,
    ) -> Result<wire::Gmk, Fault> {
        let id = fresh_id()?;
        let (public, private) = make(&self.codes, |fixed| {
            let mut template = template::pair_private(&id, label);
            template.extend(fixed);
            pair::largest(&self.codes, |kind| {
                let public = template::pair_public(&id, label, kind);
                session.generate_key_pair(&kind.mechanism(), &public, &template)
            })
        })?;
        let made = Pair {
            id,
            public,
            private,
        };
        let gmk = Kek::new(session, private, wrapping)
            .and_then(|kek| self.finish_gmk(session, id, kek, Place::Token));
        gmk.inspect_err(|_| told(made.destroy(session)))
    }

    pub(super) fn first_that_works<T: Copy + Into<Wrapping>>(
        &mut self,
        session: &Session,
        ways: &[T],
    ) -> Result<T, Fault> {
        let mut tried = Vec::new();
        for way in ways {
            let wrapping = (*way).into();
            match self.prove(session, wrapping)? {
                Ok(()) => return Ok(*way),
                Err(why) => tried.push(Refusal { wrapping, why }),
            }
        }
        Err(Error::NoWrapping { tried }.into())
    }

    pub(super) fn finish_gmk(
        &mut self,
        session: &Session,
        id: KeyId,
        kek: Kek,
        place: Place,
    ) -> Result<wire::Gmk, Fault> {
        let context = Context::Canary { gmk: &id }.encode();
        let value = envelope::canary(&id);
        let kek = kek.with_nonces(self.nonces);
        let wrapping = kek.wrapping();
        let canary = kek.protect(session, &value, &context)?;
        let gmk = Gmk {
            kek,
            canary: canary.clone(),
            place,
            used: self.next_use().into(),
        };
        // It need not be searched for: nothing else has an identifier that was just drawn.
        self.take_in(session, id, gmk)?;
        Ok(wire::Gmk {
            id: id.as_bytes().to_vec(),
            wrapping: wrapping.name().to_owned(),
            canary,
            ..wire::Gmk::default()
        })
    }
}

/// Makes a key that cannot be changed afterwards, or one that can if the token wants it so.
pub(super) fn make<T>(
    codes: &Codes,
    generate: impl Fn(Option<Attribute>) -> cryptoki::error::Result<T>,
) -> Result<T, Fault> {
    let fixed = generate(Some(Attribute::Modifiable(false)));
    match fixed {
        Err(error) if codes.cannot(&error) => Ok(generate(None)?),
        made => Ok(made?),
    }
}
