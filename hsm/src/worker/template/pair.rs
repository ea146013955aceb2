//! The templates of pairs: journal keys, and group master keys that are pairs.

use cryptoki::object::{Attribute, KeyType, ObjectClass};
use custody::{
    journal::{public_key::EXPONENT, signing::Signing},
    name::KeyId,
};

use super::{
    super::pair::{Kind, Owner},
    born_in, kept_in,
};

/// The curve of journal keys: P-256, by its object identifier in DER.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// How long the modulus of journal keys is, in bits: as strong as P-256 (SP 800-57 pt 1 §5.6.1).
const RSA_BITS: u32 = 3072;

/// What throw-away keys are called that are objects of the token.
pub(in super::super) const TRIAL_LABEL: &str = "custodyd trial";

/// The attributes by which a journal key's private half is found.
pub(in super::super) fn journal_search(id: &KeyId) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
        Attribute::Id(id.as_bytes().to_vec()),
    ]
}

/// The attributes by which the private half of a group master key that is a pair is found.
pub(in super::super) fn pair_search(id: &KeyId) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(true),
        Attribute::Id(id.as_bytes().to_vec()),
    ]
}

/// The attributes by which its public half is found.
pub(in super::super) fn pair_public_search(id: &KeyId) -> Vec<Attribute> {
    let mut search = pair_search(id);
    search[0] = Attribute::Class(ObjectClass::PUBLIC_KEY);
    search
}

/// What the private half of a group master key is made with.
pub(in super::super) fn pair_private(id: &KeyId, label: &str) -> Vec<Attribute> {
    let mut template = pair_search(id);
    template.push(Attribute::Label(label.as_bytes().to_vec()));
    template.extend(kept_in());
    template.extend(opens_only());
    template
}

/// What the public half is made with. That nothing else is said of its uses lets a TPM make a
/// pair that can do one thing only, for both halves share their uses there.
pub(in super::super) fn pair_public(id: &KeyId, label: &str, kind: Kind) -> Vec<Attribute> {
    let mut template = pair_public_search(id);
    template.push(Attribute::Label(label.as_bytes().to_vec()));
    template.extend(shape(kind));
    template.push(Attribute::Wrap(false));
    template
}

/// What the private half must be found with, each with a definite answer.
pub(in super::super) fn conforming_pair(id: &KeyId) -> Vec<Attribute> {
    let mut expected = pair_search(id);
    expected.extend(kept_in());
    expected.extend(born_in());
    expected.extend(opens_only());
    expected
}

/// The private half of a journal key.
pub(in super::super) fn journal_private(
    signing: Signing,
    id: &KeyId,
    label: &str,
) -> Vec<Attribute> {
    let mut template = journal_search(id);
    template.push(Attribute::Label(label.as_bytes().to_vec()));
    template.push(Attribute::KeyType(key_type(signing)));
    template.extend(kept_in());
    template.extend(signs_only());
    template
}

/// The public half of a journal key. Nothing is said of what it can do: it is used outside the
/// token only, and a TPM takes a key that verifies for one that decrypts.
pub(in super::super) fn journal_public(
    signing: Signing,
    id: &KeyId,
    label: &str,
) -> Vec<Attribute> {
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
pub(in super::super) fn conforming_journal(signing: Signing) -> Vec<Attribute> {
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
pub(in super::super) fn trial_private(id: &KeyId, kind: Kind, owner: Owner) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    template.extend(thrown_away(id, kind, owner));
    template.extend(kept_in());
    template.extend(one_use(kind));
    template
}

/// Its public half.
pub(in super::super) fn trial_public(id: &KeyId, kind: Kind, owner: Owner) -> Vec<Attribute> {
    let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
    template.extend(thrown_away(id, kind, owner));
    template.extend(shape(kind));
    template
}

/// What the private half of a throw-away pair that opens data keys must be found with, as that of
/// a group master key is but for whose it is.
pub(in super::super) fn conforming_trial_pair(owner: Owner) -> Vec<Attribute> {
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
