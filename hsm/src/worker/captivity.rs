//! Whether this token keeps keys in: found out by trying to get one out, on keys that are thrown away.

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use custody::{envelope::Wrapping, journal::signing::Signing};

use super::{
    pair,
    recovery::{self, Codes},
    strategy::discard,
    template,
};

/// Why a module is not trusted with keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum Untrusted {
    /// It makes no key to try it with.
    #[error("no throw-away key can be made: {0}")]
    Untried(String),
    #[error("it does not keep a key in: {}", .0.join("; "))]
    LetsOut(Vec<&'static str>),
}

/// Refuses a module that lets out what it was told to keep.
pub(super) fn keeps_keys_in(session: &Session, codes: &Codes) -> Result<(), Untrusted> {
    let made = session.generate_key(&Mechanism::AesKeyGen, &template::trial_captive());
    let escapes = match made {
        Ok(captive) => {
            let escapes = escapes_of(session, codes, captive, None);
            discard(session, captive);
            escapes
        }
        Err(error) => {
            // A token that makes no secret keys at all keeps pairs.
            let untried = || Untrusted::Untried(recovery::describe(&error));
            if !codes.cannot(&error) || makes_keys(session) {
                return Err(untried());
            }
            let mut ways = Signing::ALL.into_iter();
            let trial = ways.find_map(|way| pair::trial_signing(session, codes, way).ok());
            let trial = trial.ok_or_else(untried)?;
            let (private, public) = (trial.pair.private, trial.pair.public);
            let escapes = escapes_of(session, codes, private, Some(public));
            trial.discard(session);
            escapes
        }
    };
    if escapes.is_empty() {
        return Ok(());
    }
    Err(Untrusted::LetsOut(escapes))
}

/// Whether the token makes secret keys that wrap in one way or another.
fn makes_keys(session: &Session) -> bool {
    let mut ways = Wrapping::ALL.into_iter().filter(|way| !way.is_public());
    ways.any(|way| {
        let made = session.generate_key(&Mechanism::AesKeyGen, &template::trial_gmk(way));
        made.is_ok_and(|key| {
            discard(session, key);
            true
        })
    })
}

/// What may wrap a key that is to be kept in.
enum Wrapper {
    /// A throw-away key that wraps.
    Key(ObjectHandle),
    /// The captive's public half, where there is no such key.
    Public(ObjectHandle),
}

impl Wrapper {
    fn of(session: &Session, public: Option<ObjectHandle>) -> Option<Self> {
        let key = session.generate_key(&Mechanism::AesKeyGen, &template::trial_wrapper());
        let key = key.ok().map(Self::Key);
        key.or(public.map(Self::Public))
    }

    fn discard(self, session: &Session) {
        if let Self::Key(key) = self {
            discard(session, key);
        }
    }
}

/// The ways in which `captive` gets out, tried with a wrapper that is thrown away.
pub(super) fn escapes_of(
    session: &Session,
    codes: &Codes,
    captive: ObjectHandle,
    public: Option<ObjectHandle>,
) -> Vec<&'static str> {
    let wrapper = Wrapper::of(session, public);
    let escapes = escapes(session, codes, captive, wrapper.as_ref());
    if let Some(wrapper) = wrapper {
        wrapper.discard(session);
    }
    escapes
}

fn escapes(
    session: &Session,
    codes: &Codes,
    captive: ObjectHandle,
    wrapper: Option<&Wrapper>,
) -> Vec<&'static str> {
    if wrapper.is_none() {
        tracing::warn!("the token makes no key that wraps, so that it was not tried");
    }
    let mut escaped = taken_out(session, captive, wrapper);
    if let Ok(copy) = session.copy_object(captive, &[Attribute::Extractable(true)]) {
        if !is_still_in(session, copy) {
            escaped.push("C_CopyObject makes an extractable copy of a key that is not");
        }
        discard(session, copy);
    }
    for loosened in [Attribute::Extractable(true), Attribute::Sensitive(false)] {
        if session.update_attributes(captive, &[loosened]).is_ok()
            && !is_still_in(session, captive)
            && codes.profile.goes_by_attributes()
        {
            escaped.push("C_SetAttributeValue lets go of a key that was to be kept in");
        }
    }
    // What it was told to let go of it may keep in all the same.
    escaped.extend(taken_out(session, captive, wrapper));
    escaped.sort_unstable();
    escaped.dedup();
    escaped
}

/// By which calls a key comes out.
fn taken_out(
    session: &Session,
    captive: ObjectHandle,
    wrapper: Option<&Wrapper>,
) -> Vec<&'static str> {
    let mut escaped = Vec::new();
    if let Some(Wrapper::Key(wrapper) | Wrapper::Public(wrapper)) = wrapper {
        let iv = [0; 16];
        for mechanism in [
            Mechanism::AesKeyWrapPad,
            Mechanism::AesKeyWrap,
            Mechanism::AesCbcPad(iv),
            Mechanism::RsaPkcs,
        ] {
            if session.wrap_key(&mechanism, *wrapper, captive).is_ok() {
                escaped.push("C_WrapKey wraps a key that is not extractable");
            }
        }
    }
    for secret in [
        AttributeType::Value,
        AttributeType::PrivateExponent,
        AttributeType::Prime1,
        AttributeType::Prime2,
    ] {
        if let Ok(found) = session.get_attributes(captive, &[secret])
            && let [
                Attribute::Value(value)
                | Attribute::PrivateExponent(value)
                | Attribute::Prime1(value)
                | Attribute::Prime2(value),
            ] = &found[..]
            && !value.is_empty()
        {
            escaped.push("C_GetAttributeValue gives the value of a key that is sensitive");
        }
    }
    escaped
}

fn is_still_in(session: &Session, key: ObjectHandle) -> bool {
    let kept = [Attribute::Sensitive(true), Attribute::Extractable(false)];
    matches!(template::check(session, key, &kept), Ok(Ok(())))
}
