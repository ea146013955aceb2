//! Keys: found by identifier, checked, proven; and made. Each handle is found once in a worker's life.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use cryptoki::{
    object::{Attribute, ObjectHandle},
    session::Session,
};
use custody::{
    envelope::{self, Context, Form, KeyWrap, Wrapping},
    group::Blob,
    name::KeyId,
};

use super::{
    find::{self, Finder},
    recovery::{self, Codes, Remedy, TRIES},
    strategy, template, twins,
    wrap::{Fault, Kek, Nonces},
};
use crate::{Error, Refusal};

mod journal;
mod make;
mod outside;
mod root;
mod wrapped;

use journal::Journal;
use make::make;
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
        let kek = match wrapping.form() {
            Form::Key => Kek::new(session, self.finder.find(session, &id)?, wrapping)?,
            Form::Twins => Kek::twins(twins::find(session, &id)?),
            Form::Pair => {
                let found = session.find_objects(&template::pair_search(&id))?;
                Kek::new(session, find::only(session, &id, &found)?, wrapping)?
            }
        };
        let gmk = Gmk {
            kek,
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
        if let Some(twins) = gmk.kek.both() {
            conforms(session, &id, twins.mac, &template::conforming_mac(&id))?;
        }
        if wrapping.form() != Form::Key {
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
        let macs = session.find_objects(&template::mac_search(id))?;
        let mut found = session.find_objects(&template::gmk_search(id))?;
        found.retain(|object| !macs.contains(object));
        found.extend(session.find_objects(&template::pair_search(id))?);
        let mut parts = Vec::new();
        for found in [macs, found] {
            match find::only(session, id, &found) {
                Ok(object) => parts.push(object),
                Err(Fault::Answer(Error::NoSuchKey { .. })) => {}
                Err(fault) => return Err(fault),
            }
        }
        // Once it is known of each that there is no other: nothing is destroyed of what is in doubt.
        for object in &parts {
            session.destroy_object(*object)?;
        }
        let was_there = !parts.is_empty();
        // A public half opens nothing, and may have been left by a try that was cut off.
        for public in session.find_objects(&template::pair_public_search(id))? {
            session.destroy_object(public)?;
        }
        Ok(was_there)
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

fn told(removed: cryptoki::error::Result<()>) {
    if let Err(error) = removed {
        let error = recovery::describe(&error);
        tracing::error!(%error, "a key that could not be used stays in the token");
    }
}
