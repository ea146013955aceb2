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

use super::{
    pair::{Kind, Owner},
    wrap::Fault,
};
use crate::code;

mod root;

pub(super) use root::*;

/// The curve of journal keys: P-256, by its object identifier in DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// How long the modulus of journal keys is, in bits: as strong as P-256 (SP 800-57 pt 1 §5.6.1).
const RSA_BITS: u32 = 3072;

/// What throw-away keys are called that are objects of the token.
pub(super) const TRIAL_LABEL: &str = "custodyd trial";

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

/// The attributes by which the private half of a group master key that is a pair is found.
pub(super) fn pair_search(id: &KeyId) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(true),
        Attribute::Id(id.as_bytes().to_vec()),
    ]
}

/// The attributes by which its public half is found.
pub(super) fn pair_public_search(id: &KeyId) -> Vec<Attribute> {
    let mut search = pair_search(id);
    search[0] = Attribute::Class(ObjectClass::PUBLIC_KEY);
    search
}

/// What the private half of a group master key is made with.
pub(super) fn pair_private(id: &KeyId, label: &str) -> Vec<Attribute> {
    let mut template = pair_search(id);
    template.push(Attribute::Label(label.as_bytes().to_vec()));
    template.extend(kept_in());
    template.extend(opens_only());
    template
}

/// What the public half is made with. That nothing else is said of its uses lets a TPM make a
/// pair that can do one thing only, for both halves share their uses there.
pub(super) fn pair_public(id: &KeyId, label: &str, kind: Kind) -> Vec<Attribute> {
    let mut template = pair_public_search(id);
    template.push(Attribute::Label(label.as_bytes().to_vec()));
    template.extend(shape(kind));
    template.push(Attribute::Wrap(false));
    template
}

/// What the private half must be found with, each with a definite answer.
pub(super) fn conforming_pair(id: &KeyId) -> Vec<Attribute> {
    let mut expected = pair_search(id);
    expected.extend(kept_in());
    expected.extend(born_in());
    expected.extend(opens_only());
    expected
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

/// The public half of a journal key. Nothing is said of what it can do: it is used outside the
/// token only, and a TPM takes a key that verifies for one that decrypts.
pub(super) fn journal_public(signing: Signing, id: &KeyId, label: &str) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(key_type(signing)),
        Attribute::Token(true),
        Attribute::Id(id.as_bytes().to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    template.extend(shape(Kind::Signs(signing)));
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

/// The private half of a throw-away pair.
pub(super) fn trial_private(id: &KeyId, kind: Kind, owner: Owner) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    template.extend(thrown_away(id, kind, owner));
    template.extend(kept_in());
    template.extend(one_use(kind));
    template
}

/// Its public half.
pub(super) fn trial_public(id: &KeyId, kind: Kind, owner: Owner) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
    template.extend(thrown_away(id, kind, owner));
    template.extend(shape(kind));
    template
}

/// What the private half of a throw-away pair that opens data keys must be found with, as that of
/// a group master key is but for whose it is.
pub(super) fn conforming_trial_pair(owner: Owner) -> Vec<Attribute> {
    let mut expected = vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(owner == Owner::Token),
    ];
    expected.extend(kept_in());
    expected.extend(born_in());
    expected.extend(opens_only());
    expected
}

fn thrown_away(id: &KeyId, kind: Kind, owner: Owner) -> [Attribute; 4] {
    [
        Attribute::KeyType(match kind {
            Kind::Signs(signing) => key_type(signing),
            Kind::Opens(_) => KeyType::RSA,
        }),
        Attribute::Token(owner == Owner::Token),
        Attribute::Id(id.as_bytes().to_vec()),
        Attribute::Label(TRIAL_LABEL.as_bytes().to_vec()),
    ]
}

/// What a public half is told of the pair's form.
fn shape(kind: Kind) -> Vec<Attribute> {
    let rsa = |bits| {
        vec![
            Attribute::ModulusBits(u64::from(bits).into()),
            Attribute::PublicExponent(EXPONENT.to_vec()),
        ]
    };
    match kind {
        Kind::Signs(Signing::EcdsaP256) => vec![Attribute::EcParams(P256.to_vec())],
        Kind::Signs(Signing::RsaPss) => rsa(RSA_BITS),
        Kind::Opens(bits) => rsa(bits),
    }
}

fn one_use(kind: Kind) -> [Attribute; 4] {
    match kind {
        Kind::Signs(_) => signs_only(),
        Kind::Opens(_) => opens_only(),
    }
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

fn key_type(signing: Signing) -> KeyType {
    match signing {
        Signing::EcdsaP256 => KeyType::EC,
        Signing::RsaPss => KeyType::RSA,
    }
}

fn signs_only() -> [Attribute; 4] {
    [
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]
}

fn opens_only() -> [Attribute; 4] {
    [
        Attribute::Decrypt(true),
        Attribute::Sign(false),
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
