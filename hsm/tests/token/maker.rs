//! Keys that the client would not make, made in a process of their own.

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::{Attribute, KeyType, ObjectClass},
    session::{Session, UserType},
};

use crate::support::{KEY_MAKER, MODULE, PIN};

/// The body of the process that [`Store::have_made`](crate::support::Store::have_made) starts.
pub(crate) fn make_what_was_asked_for() {
    let asked = std::env::var(KEY_MAKER).unwrap();
    let asked: Vec<_> = asked.split(' ').collect();
    let module = Pkcs11::new(MODULE).unwrap();
    let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    module.initialize(locking).unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap().remove(0);
    let session = module.open_rw_session(slot).unwrap();
    session
        .login(UserType::User, Some(&PIN.to_owned().into()))
        .unwrap();
    let id = Attribute::Id(hex::decode(asked[1]).unwrap());
    match asked[..] {
        ["key", _] => make_lax_key(&session, id),
        ["pair", _] => make_lax_pair(&session, id),
        ["mac", _, can] => exchange_mac(&session, id, can),
        ["no-mac", _] => drop(destroy_mac(&session, &id)),
        ["public", _, modulus] => exchange_public_half(&session, id, modulus),
        _ => panic!("{asked:?}"),
    }
}

/// A key that is kept in, and can encrypt, decrypt, wrap, sign and verify as is said.
fn secret(id: Attribute, [encrypt, decrypt, wrap, sign, verify]: [bool; 5]) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        id,
        Attribute::ValueLen(32.into()),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(encrypt),
        Attribute::Decrypt(decrypt),
        Attribute::Wrap(wrap),
        Attribute::Unwrap(false),
        Attribute::Sign(sign),
        Attribute::Verify(verify),
        Attribute::Derive(false),
    ]
}

fn make_lax_key(session: &Session, id: Attribute) {
    let template = secret(id, [true, true, true, false, false]);
    session
        .generate_key(&Mechanism::AesKeyGen, &template)
        .unwrap();
}

fn make_lax_pair(session: &Session, id: Attribute) {
    let public = [
        Attribute::Token(true),
        id.clone(),
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        id,
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
        Attribute::Sign(true),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ];
    session
        .generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)
        .unwrap();
}

fn exchange_public_half(session: &Session, id: Attribute, modulus: &str) {
    let class = Attribute::Class(ObjectClass::PUBLIC_KEY);
    let found = session.find_objects(&[class.clone(), id.clone()]).unwrap();
    assert_eq!(found.len(), 1);
    session.destroy_object(found[0]).unwrap();
    let other = [
        class,
        id,
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(true),
        Attribute::Modulus(hex::decode(modulus).unwrap()),
        Attribute::PublicExponent(vec![1, 0, 1]),
        Attribute::Encrypt(true),
    ];
    session.create_object(&other).unwrap();
}

/// Destroys the key that authenticates, of a master key of two.
fn destroy_mac(session: &Session, id: &Attribute) -> Attribute {
    let kind = Attribute::KeyType(KeyType::GENERIC_SECRET);
    let found = session.find_objects(&[kind.clone(), id.clone()]).unwrap();
    assert_eq!(found.len(), 1);
    session.destroy_object(found[0]).unwrap();
    kind
}

/// Makes another in its place, which signs and, if it `can`, verifies.
fn exchange_mac(session: &Session, id: Attribute, can: &str) {
    let kind = destroy_mac(session, &id);
    let mut template = secret(id, [false, false, false, true, can == "verify"]);
    template.push(kind);
    session
        .generate_key(&Mechanism::GenericSecretKeyGen, &template)
        .unwrap();
}
