//! Root keys: each wraps group master keys that the token has no room for.

use cryptoki::{
    error::Error as CkError,
    mechanism::Mechanism,
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use custody::{
    envelope::{KeyWrap, Wrapping},
    name::KeyId,
};

use super::{
    super::{
        pair::fresh_id,
        recovery::{self, Codes},
        strategy, template,
        wrap::{self, Fault},
    },
    conforms,
};
use crate::Error;

/// What a root key is called in the token.
const LABEL: &str = "custodyd root";

/// A root key, and how it wraps: in both ways, if it has to.
#[derive(Clone, Copy)]
pub(super) struct Root {
    pub(super) handle: ObjectHandle,
    pub(super) by: KeyWrap,
}

impl Root {
    pub(super) fn make(session: &Session, by: KeyWrap) -> Result<(KeyId, Self), Fault> {
        let id = fresh_id()?;
        let template = template::root(&id, LABEL);
        let handle = session.generate_key(&Mechanism::AesKeyGen, &template)?;
        Ok((id, Self { handle, by }))
    }

    /// Makes a key that its token can wrap, wraps it and destroys it. Nothing but this session
    /// knows it meanwhile.
    pub(super) fn make_wrapped(self, session: &Session) -> Result<Vec<u8>, Fault> {
        let departing = session.generate_key(&Mechanism::AesKeyGen, &template::departing_gmk())?;
        let wrapped = self.wrap(session, departing);
        session.destroy_object(departing)?;
        wrap::whole(self.by, wrapped?)
    }

    pub(super) fn unwrap(
        self,
        session: &Session,
        wrapped: &[u8],
        wrapping: Wrapping,
    ) -> Result<ObjectHandle, Fault> {
        Ok(self.unwrap_to(session, wrapped, &template::arriving_gmk(wrapping))?)
    }

    /// Refuses one that lets out what it unwraps.
    pub(super) fn prove(self, session: &Session, codes: &Codes, id: &KeyId) -> Result<(), Fault> {
        conforms(session, id, self.handle, &template::conforming_root(id))?;
        let tried = self.try_out(session).and_then(|tried| match tried {
            // What might harm it is not tried on itself.
            Ok(()) => keeps_wrapped(session, self.by),
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

    /// Has it wrap a throw-away key, and unwrap it to what it must not become.
    pub(super) fn try_out(self, session: &Session) -> Result<Result<(), String>, Fault> {
        let wrapped = self.make_wrapped(session)?;
        let wrapping = Wrapping::Aes256Gcm;
        // What is refused below is refused for what it asks.
        let captive = self.unwrap(session, &wrapped, wrapping)?;
        let rewrapped = self.wrap(session, captive);
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
            if let Ok(loosened) = self.unwrap_to(session, &wrapped, &template) {
                strategy::discard(session, loosened);
                return Ok(Err(format!("it unwraps keys to what has {loose:?}")));
            }
        }
        Ok(Ok(()))
    }

    /// Whether it stays one: what could decrypt could open what it wrapped.
    fn is_fixed(self, session: &Session) -> Result<(), String> {
        let decrypts = [Attribute::Decrypt(true)];
        let can = |key| matches!(template::check(session, key, &decrypts), Ok(Ok(())));
        if let Ok(copy) = session.copy_object(self.handle, &decrypts) {
            let escaped = can(copy);
            strategy::discard(session, copy);
            if escaped {
                return Err("a copy of it can decrypt".to_owned());
            }
        }
        let changed = session.update_attributes(self.handle, &decrypts);
        match changed.is_ok() && can(self.handle) {
            true => Err("it can be changed to decrypt".to_owned()),
            false => Ok(()),
        }
    }

    fn wrap(self, session: &Session, key: ObjectHandle) -> Result<Vec<u8>, CkError> {
        session.wrap_key(&wrap::mechanism(self.by), self.handle, key)
    }

    fn unwrap_to(
        self,
        session: &Session,
        wrapped: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, CkError> {
        session.unwrap_key(&wrap::mechanism(self.by), self.handle, wrapped, template)
    }
}

/// Says why group master keys cannot be kept outside this token, tried on a root key that is
/// thrown away.
pub(in super::super) fn keeps_wrapped(
    session: &Session,
    by: KeyWrap,
) -> Result<Result<(), String>, Fault> {
    let template = template::trial_root();
    let handle = session.generate_key(&Mechanism::AesKeyGen, &template)?;
    let root = Root { handle, by };
    let tried = root.try_out(session);
    let outcome = tried.map(|tried| tried.and_then(|()| root.is_fixed(session)));
    strategy::discard(session, handle);
    outcome
}
