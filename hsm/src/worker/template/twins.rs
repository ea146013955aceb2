//! Templates of group master keys that are two secret keys.

use cryptoki::object::{Attribute, KeyType};
use custody::{envelope::Wrapping, name::KeyId};

use super::{
    super::pair::Owner, TRIAL_LABEL, aes256, born_in, gmk_search, kept_in, session_key, uses,
};

/// How long the key that authenticates is, in bytes: as what it makes (RFC 2104 §3).
const MAC_KEY: u64 = 32;

/// The attributes by which the key that encrypts is found.
pub(in super::super) fn cipher_search(id: &KeyId) -> Vec<Attribute> {
    let mut search = gmk_search(id);
    search.push(Attribute::KeyType(KeyType::AES));
    search
}

/// The attributes by which the key that authenticates is found.
pub(in super::super) fn mac_search(id: &KeyId) -> Vec<Attribute> {
    let mut search = gmk_search(id);
    search.push(Attribute::KeyType(KeyType::GENERIC_SECRET));
    search
}

/// What the key that authenticates is made with; the other is like any master key.
pub(in super::super) fn mac(id: &KeyId, label: &str) -> Vec<Attribute> {
    let mut template = gmk_search(id);
    template.push(Attribute::Label(label.as_bytes().to_vec()));
    template.extend(secret());
    template.extend(kept_in());
    template.extend(signs_only());
    template
}

/// What it must be found with, each with a definite answer.
pub(in super::super) fn conforming_mac(id: &KeyId) -> Vec<Attribute> {
    let mut expected = gmk_search(id);
    expected.extend(secret());
    expected.extend(kept_in());
    expected.extend(born_in());
    expected.extend(signs_only());
    expected
}

/// Two throw-away keys of the same kind: the one that encrypts, and the one that authenticates.
pub(in super::super) fn trial_twins(id: &KeyId, owner: Owner) -> [Vec<Attribute>; 2] {
    let [mut cipher, mut mac] = throw_away(owner, false);
    for template in [&mut cipher, &mut mac] {
        template.extend([
            Attribute::Id(id.as_bytes().to_vec()),
            Attribute::Label(TRIAL_LABEL.as_bytes().to_vec()),
        ]);
    }
    [cipher, mac]
}

/// What both must be found with, as those of a group master key are but for whose they are.
pub(in super::super) fn conforming_trial_twins(owner: Owner) -> [Vec<Attribute>; 2] {
    throw_away(owner, true)
}

fn throw_away(owner: Owner, born: bool) -> [Vec<Attribute>; 2] {
    let of_kind = |kind: [Attribute; 2], uses: [Attribute; 7]| {
        let mut template = session_key();
        template.retain(|attribute| !matches!(attribute, Attribute::Token(_)));
        template.push(Attribute::Token(owner == Owner::Token));
        template.extend(kind);
        template.extend(kept_in());
        if born {
            template.extend(born_in());
        }
        template.extend(uses);
        template
    };
    [
        of_kind(aes256(), uses(Wrapping::AesCbcHmac)),
        of_kind(secret(), signs_only()),
    ]
}

/// As the key that authenticates, with a known value, for a known answer.
pub(in super::super) fn known_mac(value: [u8; 32]) -> Vec<Attribute> {
    let mut template = session_key();
    template.extend([
        Attribute::Private(true),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Value(value.to_vec()),
    ]);
    template.extend(signs_only());
    template
}

fn secret() -> [Attribute; 2] {
    [
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::ValueLen(MAC_KEY.into()),
    ]
}

/// Not even to verify, which some tokens do of tags that are cut short.
fn signs_only() -> [Attribute; 7] {
    [
        Attribute::Sign(true),
        Attribute::Verify(false),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]
}
