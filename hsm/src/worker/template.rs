//! Attribute templates: what each key of ours is made with, and what it must be found with.

use cryptoki::{
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::Session,
};
use custody::{
    envelope::Wrapping,
    journal::{public_key::EXPONENT, signing::Signing},
    name::KeyId,
};

use super::wrap::Fault;
use crate::code;

mod root;

pub(super) use root::*;

/// The curve of journal keys: P-256, by its object identifier in DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// How long the modulus of journal keys is, in bits: as strong as P-256 (SP 800-57 pt 1 §5.6.1).
const RSA_BITS: u64 = 3072;

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

/// The attributes by which a journal key's private half is found.
pub(super) fn journal_search(id: &KeyId) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
        Attribute::Id(id.as_bytes().to_vec()),
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

/// The private half of a journal key.
pub(super) fn journal_private(signing: Signing, id: &KeyId, label: &str) -> Vec<Attribute> {
    let mut template = journal_search(id);
    template.push(Attribute::Label(label.as_bytes().to_vec()));
    template.push(Attribute::KeyType(key_type(signing)));
    template.extend(kept_in());
    template.extend(signs_only());
    template
}

/// The public half of a journal key.
pub(super) fn journal_public(signing: Signing, id: &KeyId, label: &str) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Id(id.as_bytes().to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    template.extend(verifies(signing));
    template
}

/// What the private half of a journal key must be found with.
pub(super) fn conforming_journal(signing: Signing) -> Vec<Attribute> {
    let mut expected = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
        Attribute::KeyType(key_type(signing)),
    ];
    expected.extend(kept_in());
    expected.extend(born_in());
    expected.extend(signs_only());
    expected
}

/// The private half of a throw-away key of the same kind as a journal key.
pub(super) fn trial_private(signing: Signing) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(key_type(signing)),
        Attribute::Token(false),
    ];
    template.extend(kept_in());
    template.extend(signs_only());
    template
}

/// Its public half.
pub(super) fn trial_public(signing: Signing) -> Vec<Attribute> {
    let mut template = vec![Attribute::Token(false)];
    template.extend(verifies(signing));
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
        Wrapping::Aes256Gcm => (true, false),
        Wrapping::AesKwp => (false, true),
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

fn key_type(signing: Signing) -> KeyType {
    match signing {
        Signing::EcdsaP256 => KeyType::EC,
        Signing::RsaPss => KeyType::RSA,
    }
}

fn verifies(signing: Signing) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(key_type(signing)),
        Attribute::Verify(true),
    ];
    match signing {
        Signing::EcdsaP256 => template.push(Attribute::EcParams(P256.to_vec())),
        Signing::RsaPss => template.extend([
            Attribute::ModulusBits(RSA_BITS.into()),
            Attribute::PublicExponent(EXPONENT.to_vec()),
        ]),
    }
    template
}

fn signs_only() -> [Attribute; 4] {
    [
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
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
        let kwp = ["false", "false", "true", "true", "false", "false", "false"];
        assert_eq!(on(Wrapping::Aes256Gcm), gcm);
        assert_eq!(on(Wrapping::AesKwp), kwp);
    }

    #[test]
    fn attributes_are_named_as_in_the_standard() {
        let name = attribute_name(AttributeType::NeverExtractable);
        assert_eq!(name, "CKA_NEVER_EXTRACTABLE");
    }
}
