//! Keys that are not as they must be.

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, KeyType, ObjectClass},
    session::Session,
};

/// Puts a key called `id` into the token that is as a GMK must be, but for one thing; or as a root
/// key must be, but that it unwraps to anything.
pub(crate) fn forge(session: &Session, id: &[u8], label: &str, flaw: &str) {
    let is_root = flaw == "root-of-anything";
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Id(id.to_vec()),
        Attribute::Label(label.as_bytes().to_vec()),
        Attribute::Sensitive(flaw != "not-sensitive"),
        Attribute::Extractable(flaw == "extractable"),
        Attribute::Modifiable(!is_root),
        Attribute::Encrypt(!is_root),
        Attribute::Decrypt(!is_root),
        Attribute::Wrap(is_root || flaw == "wraps"),
        Attribute::Unwrap(is_root),
        Attribute::Sign(flaw == "signs"),
        Attribute::Verify(false),
        Attribute::Derive(false),
    ];
    if is_root {
        template.push(Attribute::Copyable(false));
    }
    if flaw == "imported" {
        template.push(Attribute::Value(vec![9; 32]));
        session.create_object(&template).unwrap();
    } else {
        let length: u64 = if flaw == "short" { 16 } else { 32 };
        template.push(Attribute::ValueLen(length.into()));
        session
            .generate_key(&Mechanism::AesKeyGen, &template)
            .unwrap();
    }
}

/// The same of a pair, as a master key is one.
pub(crate) fn forge_pair(session: &Session, id: &[u8], label: &str, flaw: &str) {
    let both = |class| {
        vec![
            Attribute::Class(class),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Token(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(label.as_bytes().to_vec()),
        ]
    };
    let mut public = both(ObjectClass::PUBLIC_KEY);
    public.extend([
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Wrap(false),
    ]);
    let make = |extractable| {
        let mut private = both(ObjectClass::PRIVATE_KEY);
        private.extend([
            Attribute::Private(true),
            Attribute::Sensitive(flaw != "not-sensitive"),
            Attribute::Extractable(extractable),
            Attribute::Decrypt(true),
            Attribute::Unwrap(flaw == "wraps"),
            Attribute::Sign(flaw == "signs"),
            Attribute::Derive(false),
        ]);
        session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)
    };
    if flaw != "extractable" {
        make(false).unwrap();
    } else if make(true).is_err() {
        // A TPM makes none, but has a file say so of one.
        let (_, key) = make(false).unwrap();
        let changed = [Attribute::Extractable(true)];
        session.update_attributes(key, &changed).unwrap();
    }
}
