//! Templates of root keys, and of the group master keys that they wrap.

use std::ptr;

use cryptoki::object::{Attribute, AttributeType, KeyType};
use custody::{envelope::Wrapping, name::KeyId};

use super::{aes256, born_in, gmk_search, kept_in, session_key, uses};

/// `CKA_UNWRAP_TEMPLATE`, which `cryptoki` has no name for.
const UNWRAP_TEMPLATE: AttributeType = AttributeType::VendorDefined(0x4000_0212);

/// What a root key is made with: it wraps and unwraps, and whatever it unwraps is kept in.
pub(in super::super) fn root(id: &KeyId, label: &str) -> Vec<Attribute> {
    let mut template = gmk_search(id);
    template.push(Attribute::Label(label.as_bytes().to_vec()));
    template.extend(rooted());
    template
}

/// What a root key must be found with. What it unwraps to has to be tried.
pub(in super::super) fn conforming_root(id: &KeyId) -> Vec<Attribute> {
    let mut expected = gmk_search(id);
    expected.extend(aes256());
    expected.extend(kept_in());
    expected.extend(born_in());
    expected.extend(uses(Wrapping::AesKwp));
    expected.extend(fixed());
    expected
}

/// A throw-away key of the same kind as a root key.
pub(in super::super) fn trial_root() -> Vec<Attribute> {
    let mut template = session_key();
    template.extend(rooted());
    template
}

fn rooted() -> Vec<Attribute> {
    let mut template = Vec::new();
    template.extend(aes256());
    template.extend(kept_in());
    template.extend(uses(Wrapping::AesKwp));
    template.extend(fixed());
    template.push(unwraps_captives());
    template
}

/// Neither it nor a copy of it can come to have another use.
fn fixed() -> [Attribute; 2] {
    [Attribute::Modifiable(false), Attribute::Copyable(false)]
}

/// A group master key that is about to be wrapped by a root key: of no use, and gone with its
/// session.
pub(in super::super) fn departing_gmk() -> Vec<Attribute> {
    let mut template = session_key();
    template.extend(aes256());
    template.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        // It could not be wrapped otherwise.
        Attribute::Extractable(true),
        Attribute::Encrypt(false),
        Attribute::Decrypt(false),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
    ]);
    template
}

/// What a root key unwraps a group master key with, and what that must have then. Its length is not
/// among it, which some tokens do not say of a key that was unwrapped; nor that it never could be
/// wrapped, since it was.
pub(in super::super) fn arriving_gmk(wrapping: Wrapping) -> Vec<Attribute> {
    let mut template = session_key();
    template.push(Attribute::KeyType(KeyType::AES));
    // A copy could be a token object, which outlives the blob.
    template.push(Attribute::Copyable(false));
    template.extend(kept_in());
    template.extend(uses(wrapping));
    template
}

/// What no key that a root key unwraps may have.
pub(in super::super) const LOOSE: [Attribute; 6] = [
    Attribute::Extractable(true),
    Attribute::Sensitive(false),
    Attribute::Token(true),
    Attribute::Copyable(true),
    Attribute::Derive(true),
    Attribute::KeyType(KeyType::GENERIC_SECRET),
];

/// As [`arriving_gmk`], but for one thing.
pub(in super::super) fn loosened_gmk(loose: &Attribute) -> Vec<Attribute> {
    let mut template = arriving_gmk(Wrapping::Aes256Gcm);
    template.retain(|kept| kept.attribute_type() != loose.attribute_type());
    template.push(loose.clone());
    template
}

/// What every key that a root key unwraps has, whoever has it unwrapped: the token refuses
/// another, as [`LOOSE`] shows.
fn unwraps_captives() -> Attribute {
    static TRUE: u8 = 1;
    static FALSE: u8 = 0;
    static AES: usize = 0x1f;
    let bool = |value: &'static u8| (ptr::from_ref(value).expose_provenance(), size_of::<u8>());
    let kept = [
        (0x001, bool(&FALSE)), // CKA_TOKEN
        (0x002, bool(&TRUE)),  // CKA_PRIVATE
        (0x171, bool(&FALSE)), // CKA_COPYABLE
        (
            0x100, // CKA_KEY_TYPE
            (ptr::from_ref(&AES).expose_provenance(), size_of::<usize>()),
        ),
        (0x103, bool(&TRUE)),  // CKA_SENSITIVE
        (0x108, bool(&FALSE)), // CKA_SIGN
        (0x10a, bool(&FALSE)), // CKA_VERIFY
        (0x10c, bool(&FALSE)), // CKA_DERIVE
        (0x162, bool(&FALSE)), // CKA_EXTRACTABLE
    ];
    // An array of CK_ATTRIBUTE: type, pointer and length, each as wide as a pointer.
    let words = kept
        .into_iter()
        .flat_map(|(kind, (value, length))| [kind, value, length]);
    let bytes = words.flat_map(usize::to_ne_bytes).collect();
    Attribute::VendorDefined((UNWRAP_TEMPLATE, bytes))
}
