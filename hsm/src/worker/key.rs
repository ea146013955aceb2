//! Keys: found by identifier, checked, proven; and made. Each handle is found once in a worker's life.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, ObjectHandle},
    session::Session,
};
use custody::{
    envelope::{self, Context, KeyWrap, Wrapping},
    group::Blob,
    name::KeyId,
};

use super::{
    find::{self, Finder},
    pair::{self, Pair, fresh_id},
    recovery::{self, Codes, Remedy, TRIES},
    strategy, template,
    wrap::{Fault, Kek, Nonces},
};
use crate::{Error, Refusal, wire};

mod journal;
mod outside;
mod root;
mod wrapped;

use journal::Journal;
use outside::PutBack;
use root::Root;
pub(super) use root::keeps_wrapped;

/// A group master key, proven.
pub(super) struct Gmk {
    pub(super) kek: Kek,
    canary: Vec<u8>,
    place: Place,
    /// When it was used last, in uses of all keys.
    used: AtomicU64,
}

/// Where a group master key is.
enum Place {
    Token,
    /// Unwrapped from a blob into an object of a session, which no other worker has.
    Session(Blob),
}

impl Place {
    /// What it must be found with there.
    fn expected(&self, id: &KeyId, wrapping: Wrapping) -> Vec<Attribute> {
        match self {
            Self::Token if wrapping.is_public() => template::conforming_pair(id),
            Self::Token => template::conforming_gmk(id, wrapping),
            Self::Session(_) => template::arriving_gmk(wrapping),
        }
    }
}

/// The keys that this worker has found and proven.
pub(super) struct Keys {
    codes: Codes,
    finder: Finder,
    gmks: HashMap<KeyId, Gmk>,
    journals: HashMap<KeyId, Journal>,
    roots: HashMap<(KeyId, KeyWrap), Root>,
    put_back: HashMap<KeyId, PutBack>,
    /// How many of those that are kept outside may be unwrapped at a time.
    room: NonZeroUsize,
    uses: AtomicU64,
    proven: HashSet<Wrapping>,
    /// What the token is to be given for nonces.
    nonces: Nonces,
}

impl Keys {
    /// None yet; of those that are kept outside, so many may be unwrapped at a time.
    pub(super) fn new(codes: Codes, room: NonZeroUsize) -> Self {
        Self {
            codes,
            finder: Finder::default(),
            gmks: HashMap::new(),
            journals: HashMap::new(),
            roots: HashMap::new(),
            put_back: HashMap::new(),
            room,
            uses: AtomicU64::new(0),
            proven: HashSet::new(),
            nonces: Nonces::default(),
        }
    }

    pub(super) fn gmk(&self, id: &KeyId) -> Result<&Gmk, Error> {
        let gmk = self.gmks.get(id);
        let gmk = gmk.ok_or(Error::KeyNotLoaded { id: *id })?;
        gmk.used.store(self.next_use(), Ordering::Relaxed);
        Ok(gmk)
    }

    fn next_use(&self) -> u64 {
        self.uses.fetch_add(1, Ordering::Relaxed)
    }

    /// Finds a group master key, checks it and opens its canary.
    pub(super) fn load_gmk(
        &mut self,
        session: &Session,
        id: KeyId,
        wrapping: Wrapping,
        canary: Vec<u8>,
    ) -> Result<(), Fault> {
        self.gmks.remove(&id);
        let handle = match wrapping.is_public() {
            true => {
                let found = session.find_objects(&template::pair_search(&id))?;
                find::only(session, &id, &found)?
            }
            false => self.finder.find(session, &id)?,
        };
        let gmk = Gmk {
            kek: Kek::new(session, handle, wrapping)?,
            canary,
            place: Place::Token,
            used: self.next_use().into(),
        };
        self.take_in(session, id, gmk)
    }

    /// Checks a group master key and opens its canary.
    fn take_in(&mut self, session: &Session, id: KeyId, gmk: Gmk) -> Result<(), Fault> {
        let wrapping = gmk.kek.wrapping();
        let expected = gmk.place.expected(&id, wrapping);
        conforms(session, &id, gmk.kek.handle(), &expected)?;
        if wrapping.is_public() {
            if let Err(amiss) = strategy::prove_by(session, &self.codes, &gmk.kek) {
                let opens = || matches!(gmk.open_canary(session, &id), Ok(true));
                let why = amiss.about_the_key(&self.codes, opens)?;
                return Err(Error::NonConforming { id, why }.into());
            }
        } else {
            let proven = self.prove(session, wrapping)?;
            proven.map_err(|why| Error::NoWrapping {
                tried: vec![Refusal { wrapping, why }],
            })?;
        }
        gmk.prove(session, &self.codes, id)?;
        let kek = gmk.kek.with_nonces(self.nonces);
        self.gmks.insert(id, Gmk { kek, ..gmk });
        Ok(())
    }

    /// Destroys a group master key, and says whether it was there.
    pub(super) fn destroy_gmk(&mut self, session: &Session, id: &KeyId) -> Result<bool, Fault> {
        if let Some(gmk) = self.gmks.get(id) {
            gmk.discard(session, &self.codes, *id)?;
            self.gmks.remove(id);
        }
        self.put_back.remove(id);
        let mut found = session.find_objects(&template::gmk_search(id))?;
        found.extend(session.find_objects(&template::pair_search(id))?);
        let was_there = match find::only(session, id, &found) {
            Ok(object) => {
                session.destroy_object(object)?;
                true
            }
            Err(Fault::Answer(Error::NoSuchKey { .. })) => false,
            Err(fault) => return Err(fault),
        };
        // A public half opens nothing, and may have been left by a try that was cut off.
        for public in session.find_objects(&template::pair_public_search(id))? {
            session.destroy_object(public)?;
        }
        Ok(was_there)
    }

    /// Makes a group master key in the first of the `allowed` ways that works.
    pub(super) fn generate_gmk(
        &mut self,
        session: &Session,
        label: &str,
        allowed: &[Wrapping],
    ) -> Result<wire::Gmk, Fault> {
        let wrapping = self.first_that_works(session, allowed)?;
        if wrapping.is_public() {
            return self.generate_pair(session, label, wrapping);
        }
        let id = fresh_id()?;
        let made = make(&self.codes, |fixed| {
            let mut template = template::gmk(&id, label, wrapping);
            template.extend(fixed);
            session.generate_key(&Mechanism::AesKeyGen, &template)
        })?;
        let gmk = self.finish_gmk(session, id, made, wrapping, Place::Token);
        gmk.inspect_err(|_| told(pair::destroy_own(session, &id, made)))
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
        let gmk = self.finish_gmk(session, id, private, wrapping, Place::Token);
        gmk.inspect_err(|_| told(made.destroy(session)))
    }

    fn first_that_works(
        &mut self,
        session: &Session,
        allowed: &[Wrapping],
    ) -> Result<Wrapping, Fault> {
        let mut tried = Vec::new();
        for wrapping in allowed.iter().copied() {
            match self.prove(session, wrapping)? {
                Ok(()) => return Ok(wrapping),
                Err(why) => tried.push(Refusal { wrapping, why }),
            }
        }
        Err(Error::NoWrapping { tried }.into())
    }

    fn finish_gmk(
        &mut self,
        session: &Session,
        id: KeyId,
        handle: ObjectHandle,
        wrapping: Wrapping,
        place: Place,
    ) -> Result<wire::Gmk, Fault> {
        let context = Context::Canary { gmk: &id }.encode();
        let value = envelope::canary(&id);
        let kek = Kek::new(session, handle, wrapping)?.with_nonces(self.nonces);
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

    /// Tries a way to wrap, unless it has worked before; says what is amiss with it.
    fn prove(
        &mut self,
        session: &Session,
        wrapping: Wrapping,
    ) -> Result<Result<(), String>, Fault> {
        if !self.proven.contains(&wrapping) {
            match strategy::prove(session, &self.codes, wrapping) {
                Ok(proof) => {
                    self.nonces = proof.nonces.map_or(self.nonces, |(nonces, _)| nonces);
                }
                Err(amiss) => return Ok(Err(amiss.about_the_way(&self.codes)?)),
            }
            self.proven.insert(wrapping);
        }
        Ok(Ok(()))
    }
}

impl Gmk {
    /// Opens the canary. If it does not open, another canary tells whether this is another
    /// key of that identifier or a token in trouble, which may have been in trouble with the
    /// first alone: so it is tried until that is most unlikely.
    fn prove(&self, session: &Session, codes: &Codes, id: KeyId) -> Result<(), Fault> {
        for _ in 0..TRIES {
            match self.open_canary(session, &id) {
                Ok(true) => return Ok(()),
                Err(Fault::Token(error)) if codes.remedy(&error) == Remedy::AskCanary => {
                    if !strategy::works_with(session, codes, &self.kek) {
                        return Err(Fault::Token(error));
                    }
                }
                Ok(false) | Err(Fault::BadBlob) => break,
                Err(fault) => return Err(fault),
            }
        }
        Err(Error::CanaryDoesNotOpen { id }.into())
    }

    /// Whether the canary opens to its value.
    pub(super) fn open_canary(&self, session: &Session, id: &KeyId) -> Result<bool, Fault> {
        let context = Context::Canary { gmk: id }.encode();
        let value = self.kek.reveal(session, &self.canary, &context)?;
        Ok(verify_slices_are_equal(&value, &envelope::canary(id)).is_ok())
    }

    fn is_of_session(&self) -> bool {
        matches!(self.place, Place::Session(_))
    }

    /// Destroys what a session has of it. Only if its canary opens: a handle that has gone stale
    /// may be another key's by now.
    fn discard(&self, session: &Session, codes: &Codes, id: KeyId) -> Result<(), Fault> {
        if !self.is_of_session() {
            return Ok(());
        }
        match self.prove(session, codes, id) {
            Ok(()) => Ok(session.destroy_object(self.kek.handle())?),
            Err(Fault::Answer(Error::CanaryDoesNotOpen { .. })) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

fn conforms(
    session: &Session,
    id: &KeyId,
    object: ObjectHandle,
    expected: &[Attribute],
) -> Result<(), Fault> {
    let nonconforming = |why| Error::NonConforming { id: *id, why };
    Ok(template::check(session, object, expected)?.map_err(nonconforming)?)
}

/// Makes a key that cannot be changed afterwards, or one that can if the token wants it so.
fn make<T>(
    codes: &Codes,
    generate: impl Fn(Option<Attribute>) -> cryptoki::error::Result<T>,
) -> Result<T, Fault> {
    let fixed = generate(Some(Attribute::Modifiable(false)));
    match fixed {
        Err(error) if codes.cannot(&error) => Ok(generate(None)?),
        made => Ok(made?),
    }
}

fn told(removed: cryptoki::error::Result<()>) {
    if let Err(error) = removed {
        let error = recovery::describe(&error);
        tracing::error!(%error, "a key that could not be used stays in the token");
    }
}
