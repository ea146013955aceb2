//! Group master keys that the token has no room for: wrapped by a root key, and unwrapped into
//! objects of a session, which nothing gets out of the token either.

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use custody::{envelope::Wrapping, group::Blob, name::KeyId};

use super::{
    super::{
        pair::{self, fresh_id},
        recovery::{self, Codes, Remedy},
        strategy, template,
        wrap::{self, Fault, Kek},
    },
    Gmk, Keys, Place, conforms, told,
};
use crate::{Error, Refusal, wire};

/// What a root key is called in the token.
const LABEL: &str = "custodyd root";

impl Keys {
    /// Unwraps a group master key, checks it and opens its canary. The key is an object of
    /// `anchor`, which stays open for as long as the worker lives.
    pub(in super::super) fn load_wrapped_gmk(
        &mut self,
        [session, anchor]: [&Session; 2],
        id: KeyId,
        wrapping: Wrapping,
        canary: Vec<u8>,
        blob: &Blob,
    ) -> Result<(), Fault> {
        if let Some(before) = self.gmks.remove(&id)
            && let Err(fault) = before.discard(session, &self.codes, id)
        {
            tracing::debug!(key = %id, ?fault, "what there was of it goes with the session");
        }
        self.put_back.remove(&id);
        if blob.wrapped.len() != wrap::KWP_BLOB {
            let why = "its blob is not one of RFC 5649".to_owned();
            return Err(Error::NonConforming { id, why }.into());
        }
        let root = self.root(session, &blob.root)?;
        self.make_room(session)?;
        let unwrapped = unwrap(anchor, root, &blob.wrapped, wrapping);
        let handle = unwrapped.map_err(|fault| match fault {
            // The same code tells of a blob that was altered and of a token in trouble.
            Fault::Token(error)
                if self.codes.remedy(&error) == Remedy::AskCanary
                    && matches!(try_out(session, root), Ok(Ok(()))) =>
            {
                let why = format!("root key {} does not unwrap it", blob.root);
                Error::NonConforming { id, why }.into()
            }
            fault => fault,
        })?;
        let taken = Kek::new(session, handle, wrapping).and_then(|kek| {
            let gmk = Gmk {
                kek,
                canary,
                place: Place::Session(blob.clone()),
                used: self.next_use().into(),
            };
            self.take_in(session, id, gmk)
        });
        taken.inspect_err(|_| strategy::discard(anchor, handle))
    }

    /// Makes a group master key in the first of the `allowed` ways that works, and wraps it under
    /// `root`, or a root key that is made with it.
    pub(in super::super) fn generate_wrapped_gmk(
        &mut self,
        sessions: [&Session; 2],
        root: Option<KeyId>,
        allowed: &[Wrapping],
    ) -> Result<wire::Gmk, Fault> {
        let [session, _] = sessions;
        let (pairs, keys): (Vec<_>, Vec<_>) = allowed.iter().partition(|way| way.is_public());
        if keys.is_empty() {
            let tried = pairs.into_iter().map(|wrapping| Refusal {
                wrapping,
                why: "no root key wraps a pair".to_owned(),
            });
            return Err(Error::NoWrapping {
                tried: tried.collect(),
            }
            .into());
        }
        let wrapping = self.first_that_works(session, &keys)?;
        if let Err(why) = self.prove(session, Wrapping::AesKwp)? {
            let wrapping = Wrapping::AesKwp;
            let tried = vec![Refusal { wrapping, why }];
            return Err(Error::NoWrapping { tried }.into());
        }
        if let Some(root) = root {
            let handle = self.root(session, &root)?;
            return self.finish_wrapped_gmk(sessions, (root, handle), wrapping);
        }
        let (root, handle) = make_root(session)?;
        let made = prove_root(session, &self.codes, &root, handle)
            .and_then(|()| self.finish_wrapped_gmk(sessions, (root, handle), wrapping));
        match made {
            Ok(made) => {
                self.roots.insert(root, handle);
                Ok(made)
            }
            Err(fault) => {
                told(pair::destroy_own(session, &root, handle));
                Err(fault)
            }
        }
    }

    fn finish_wrapped_gmk(
        &mut self,
        [session, anchor]: [&Session; 2],
        (root, root_handle): (KeyId, ObjectHandle),
        wrapping: Wrapping,
    ) -> Result<wire::Gmk, Fault> {
        let id = fresh_id()?;
        self.make_room(session)?;
        let wrapped = make_wrapped(session, root_handle)?;
        let handle = unwrap(anchor, root_handle, &wrapped, wrapping)?;
        let place = Place::Session(Blob {
            root,
            wrapped: wrapped.clone(),
        });
        let finished = self.finish_gmk(session, id, handle, wrapping, place);
        let gmk = finished.inspect_err(|_| strategy::discard(anchor, handle))?;
        Ok(wire::Gmk {
            root: root.as_bytes().to_vec(),
            wrapped,
            ..gmk
        })
    }

    /// A root key, found and proven once in a worker's life.
    fn root(&mut self, session: &Session, id: &KeyId) -> Result<ObjectHandle, Fault> {
        if let Some(handle) = self.roots.get(id) {
            return Ok(*handle);
        }
        let handle = self.finder.find(session, id)?;
        prove_root(session, &self.codes, id, handle)?;
        self.roots.insert(*id, handle);
        Ok(handle)
    }
}

fn make_root(session: &Session) -> Result<(KeyId, ObjectHandle), Fault> {
    let id = fresh_id()?;
    let template = template::root(&id, LABEL);
    let made = session.generate_key(&Mechanism::AesKeyGen, &template)?;
    Ok((id, made))
}

/// Makes a key that its token can wrap, wraps it under `root` and destroys it. Nothing but this
/// session knows it meanwhile.
fn make_wrapped(session: &Session, root: ObjectHandle) -> Result<Vec<u8>, Fault> {
    let departing = session.generate_key(&Mechanism::AesKeyGen, &template::departing_gmk())?;
    let wrapped = session.wrap_key(&Mechanism::AesKeyWrapPad, root, departing);
    session.destroy_object(departing)?;
    let wrapped = wrapped?;
    match wrapped.len() == wrap::KWP_BLOB {
        true => Ok(wrapped),
        false => Err(Fault::Odd("the token's key wrap is not that of RFC 5649")),
    }
}

fn unwrap(
    session: &Session,
    root: ObjectHandle,
    wrapped: &[u8],
    wrapping: Wrapping,
) -> Result<ObjectHandle, Fault> {
    let template = template::arriving_gmk(wrapping);
    Ok(session.unwrap_key(&Mechanism::AesKeyWrapPad, root, wrapped, &template)?)
}

/// Refuses a root key that lets out what it unwraps.
fn prove_root(
    session: &Session,
    codes: &Codes,
    id: &KeyId,
    root: ObjectHandle,
) -> Result<(), Fault> {
    conforms(session, id, root, &template::conforming_root(id))?;
    let tried = try_out(session, root).and_then(|tried| match tried {
        // What might harm it is not tried on itself.
        Ok(()) => keeps_wrapped(session),
        Err(why) => Ok(Err(why)),
    });
    match tried {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(Error::NonConforming { id: *id, why }.into()),
        Err(Fault::Token(error)) if codes.cannot(&error) => {
            let why = format!(
                "it does not wrap and unwrap a key: {}",
                recovery::describe(&error)
            );
            Err(Error::NonConforming { id: *id, why }.into())
        }
        Err(fault) => Err(fault),
    }
}

/// Has a root key wrap a throw-away key, and unwrap it to what it must not become.
fn try_out(session: &Session, root: ObjectHandle) -> Result<Result<(), String>, Fault> {
    let wrapped = make_wrapped(session, root)?;
    let wrapping = Wrapping::Aes256Gcm;
    // What is refused below is refused for what it asks.
    let captive = unwrap(session, root, &wrapped, wrapping)?;
    let rewrapped = session.wrap_key(&Mechanism::AesKeyWrapPad, root, captive);
    let value = session.get_attributes(captive, &[AttributeType::Value]);
    let kept = template::check(session, captive, &template::arriving_gmk(wrapping));
    strategy::discard(session, captive);
    if let Err(why) = kept? {
        return Ok(Err(format!("of what it unwraps, {why}")));
    }
    if rewrapped.is_ok() {
        return Ok(Err("what it unwraps can be wrapped again".to_owned()));
    }
    if let Ok([Attribute::Value(value)]) = value.as_deref()
        && !value.is_empty()
    {
        return Ok(Err("what it unwraps can be read".to_owned()));
    }
    for loose in template::LOOSE {
        let template = template::loosened_gmk(&loose);
        let mechanism = Mechanism::AesKeyWrapPad;
        if let Ok(loosened) = session.unwrap_key(&mechanism, root, &wrapped, &template) {
            strategy::discard(session, loosened);
            return Ok(Err(format!("it unwraps keys to what has {loose:?}")));
        }
    }
    Ok(Ok(()))
}

/// Says why group master keys cannot be kept outside this token, tried on a root key that is
/// thrown away.
pub(in super::super) fn keeps_wrapped(session: &Session) -> Result<Result<(), String>, Fault> {
    let template = template::trial_root();
    let root = session.generate_key(&Mechanism::AesKeyGen, &template)?;
    let outcome = try_out(session, root).map(|tried| tried.and_then(|()| is_fixed(session, root)));
    strategy::discard(session, root);
    outcome
}

/// Whether a root key stays one: what could decrypt could open what it wrapped.
fn is_fixed(session: &Session, root: ObjectHandle) -> Result<(), String> {
    let decrypts = [Attribute::Decrypt(true)];
    let can = |key| matches!(template::check(session, key, &decrypts), Ok(Ok(())));
    if let Ok(copy) = session.copy_object(root, &decrypts) {
        let escaped = can(copy);
        strategy::discard(session, copy);
        if escaped {
            return Err("a copy of it can decrypt".to_owned());
        }
    }
    match session.update_attributes(root, &decrypts).is_ok() && can(root) {
        true => Err("it can be changed to decrypt".to_owned()),
        false => Ok(()),
    }
}
