//! Attribute templates: what each key of ours is made with, and what it must be found with.

use cryptoki::{
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use custody::{envelope::Wrapping, name::KeyId};

use super::wrap::Fault;
use crate::code;

mod pair;
mod root;
mod twins;

pub(super) use pair::*;
pub(super) use root::*;
pub(super) use twins::*;

/// The attributes by which a group master key is found.
pub(super) fn gmk_search(id: &KeyId) -> Vec<Attribute> {
    let mut search = gmk_survey().to_vec();
    search.push(Attribute::Id(id.as_bytes().to_vec()));
    search
}

/// What every search for a group master key asks for, whatever its identifier.
pub(super) fn gmk_survey() -> [Attribute; 2] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(true),
    ]
}

/// What a group master key is made with.
pub(super) fn gmk(id: &KeyId, label: &str, wrapping: Wrapping) -> Vec<Attribute> {
    let mut template = gmk_search(id);
    template.push(Attribute::Label(label.as_bytes().to_vec()));
    template.extend(aes256());
    template.extend(kept_in());
    template.extend(uses(wrapping));
    template
}

/// What a group master key must be found with, each with a definite answer.
pub(super) fn conforming_gmk(id: &KeyId, wrapping: Wrapping) -> Vec<Attribute> {
    let mut expected = gmk_search(id);
    expected.extend(aes256());
    expected.extend(kept_in());
    expected.extend(born_in());
    expected.extend(uses(wrapping));
    expected
}

/// A throw-away key of the same kind as a group master key.
pub(super) fn trial_gmk(wrapping: Wrapping) -> Vec<Attribute> {
    let mut template = session_key();
    template.extend(aes256());
    template.extend(kept_in());
    template.extend(uses(wrapping));
    template
}

/// A throw-away key that must not get out.
pub(super) fn trial_captive() -> Vec<Attribute> {
    let mut template = session_key();
    template.extend(aes256());
    template.extend(kept_in());
    template
}

/// A throw-away key that wraps what it can.
pub(super) fn trial_wrapper() -> Vec<Attribute> {
    let mut template = session_key();
    template.extend(aes256());
    template.extend([
        Attribute::Private(true),
        Attribute::Wrap(true),
        Attribute::Unwrap(true),
    ]);
    template
}

/// As [`trial_gmk`], with a known value, for a known answer.
pub(super) fn known_gmk(value: [u8; 32], wrapping: Wrapping) -> Vec<Attribute> {
    let mut template = session_key();
    template.extend([
        Attribute::Private(true),
        Attribute::KeyType(KeyType::AES),
        Attribute::Value(value.to_vec()),
    ]);
    template.extend(uses(wrapping));
    template
}

/// What a [`trial_gmk`] must be found with, as a group master key is but for its being a session's.
pub(super) fn conforming_trial(wrapping: Wrapping) -> Vec<Attribute> {
    let mut expected = session_key();
    expected.extend(aes256());
    expected.extend(kept_in());
    expected.extend(born_in());
    expected.extend(uses(wrapping));
    expected
}

/// A DEK as an object, so that it can be wrapped: readable, and gone with its session.
pub(super) fn dek_in(value: &[u8]) -> Vec<Attribute> {
    let mut template = dek_out();
    template.push(Attribute::Value(value.to_vec()));
    template
}

/// A DEK that is unwrapped. Both readable attributes are explicit, since modules differ
/// in their defaults; never `CKA_VALUE_LEN`, with which some truncate silently.
pub(super) fn dek_out() -> Vec<Attribute> {
    let mut template = session_key();
    template.extend([
        Attribute::Private(true),
        Attribute::KeyType(KeyType::AES),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ]);
    template
}

fn session_key() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        // Gone when its session ends, however that ends.
        Attribute::Token(false),
    ]
}

fn aes256() -> [Attribute; 2] {
    [
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
    ]
}

fn kept_in() -> [Attribute; 3] {
    [
        // Seen by the logged-in user only.
        Attribute::Private(true),
        // Its value cannot be read,
        Attribute::Sensitive(true),
        // nor wrapped by another key.
        Attribute::Extractable(false),
    ]
}

fn born_in() -> [Attribute; 3] {
    [
        // Both of the above since it exists,
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
        // and made in the token: an imported value has been outside.
        Attribute::Local(true),
    ]
}

/// One use only: a key that both wraps and decrypts can decrypt what it wrapped.
fn uses(wrapping: Wrapping) -> [Attribute; 7] {
    let (data, keys) = match wrapping {
        Wrapping::Aes256Gcm | Wrapping::AesCbcHmac => (true, false),
        Wrapping::AesKwp | Wrapping::AesKw => (false, true),
        // Those are pairs, and no secret key is one.
        Wrapping::RsaOaepSha256 | Wrapping::RsaOaepSha1 => (false, false),
    };
    [
        Attribute::Encrypt(data),
        Attribute::Decrypt(data),
        Attribute::Wrap(keys),
        Attribute::Unwrap(keys),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
    ]
}

/// Says which attribute of `object` is not as `expected`, or has no answer.
pub(super) fn check(
    session: &Session,
    object: ObjectHandle,
    expected: &[Attribute],
) -> Result<Result<(), String>, Fault> {
    let kinds: Vec<_> = expected.iter().map(Attribute::attribute_type).collect();
    let found = session.get_attributes(object, &kinds)?;
    for wanted in expected {
        let kind = wanted.attribute_type();
        let name = attribute_name(kind);
        match found.iter().find(|found| found.attribute_type() == kind) {
            Some(found) if found == wanted => {}
            Some(found) => {
                return Ok(Err(format!(
                    "{name} is {}, not {}",
                    value(found),
                    value(wanted)
                )));
            }
            None => return Ok(Err(format!("{name} has no answer from the token"))),
        }
    }
    Ok(Ok(()))
}

fn value(attribute: &Attribute) -> String {
    if let Attribute::ValueLen(length) = attribute {
        return u64::from(*length).to_string();
    }
    let debug = format!("{attribute:?}");
    let inner = debug.split_once('(').map_or(&*debug, |(_, inner)| inner);
    inner.strip_suffix(')').unwrap_or(inner).to_owned()
}

fn attribute_name(kind: AttributeType) -> String {
    code::constant("CKA", &kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gmk_has_one_use() {
        let on = |wrapping| -> Vec<_> {
            let all = uses(wrapping);
            all.iter().map(value).collect()
        };
        let gcm = ["true", "true", "false", "false", "false", "false", "false"];
        let wrap = ["false", "false", "true", "true", "false", "false", "false"];
        assert_eq!(on(Wrapping::Aes256Gcm), gcm);
        assert_eq!(on(Wrapping::AesKwp), wrap);
        assert_eq!(on(Wrapping::AesKw), wrap);
    }

    #[test]
    fn attributes_are_named_as_in_the_standard() {
        let name = attribute_name(AttributeType::NeverExtractable);
        assert_eq!(name, "CKA_NEVER_EXTRACTABLE");
    }
}
