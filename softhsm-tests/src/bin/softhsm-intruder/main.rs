//! Whoever has a token's PIN and the vendor's library: looks at keys, tries to get them
//! out, destroys and forges them. A process of its own, since the library knows only one
//! configuration to a process.
//!
//! `softhsm-intruder MODULE SERIAL PIN COMMAND…`, with one line of JSON to answer.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what fails here fails a test, which says so"
)]

use std::{env, slice, thread, time::Duration};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
};
use serde_json::{Map, Value, json};

mod forge;

use forge::{forge, forge_pair};

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let [module, serial, pin, ref command @ ..] = arguments[..] else {
        panic!("softhsm-intruder MODULE SERIAL PIN COMMAND…");
    };
    let module = Pkcs11::new(module).unwrap();
    let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    initialize(&module, locking);
    if let ["init", label, so_pin] = *command {
        println!("{}", init(&module, label, so_pin, pin));
        return;
    }
    let slots = module.get_slots_with_initialized_token().unwrap();
    let is_meant = |slot: &_| {
        let token = module.get_token_info(*slot).unwrap();
        token.serial_number().trim_matches(' ') == serial
    };
    let slot = slots.into_iter().find(is_meant).expect("the token");
    let session = module.open_rw_session(slot).unwrap();
    let pin = pin.to_owned().into();
    session.login(UserType::User, Some(&pin)).unwrap();
    if let ["set-pin", new] = *command {
        session.set_pin(&pin, &new.to_owned().into()).unwrap();
        println!("null");
        return;
    }
    println!("{}", run(&session, command));
}

/// tpm2-pkcs11 does not initialize while another process writes its store.
fn initialize(module: &Pkcs11, arguments: CInitializeArgs) {
    for _ in 0..100 {
        match module.initialize(arguments) {
            Err(Error::Pkcs11(RvError::GeneralError, _)) => {
                thread::sleep(Duration::from_millis(50));
            }
            done => return done.unwrap(),
        }
    }
    panic!("the module does not initialize");
}

/// Makes a token in the first slot that is free, and says its serial number.
fn init(module: &Pkcs11, label: &str, so_pin: &str, pin: &str) -> Value {
    let mut slots = module.get_slots_with_token().unwrap().into_iter();
    let is_free = |slot: &_| !module.get_token_info(*slot).unwrap().token_initialized();
    let slot = slots.find(is_free).expect("a free slot");
    let so_pin = so_pin.to_owned().into();
    module.init_token(slot, &so_pin, label).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&so_pin)).unwrap();
    session.init_pin(&pin.to_owned().into()).unwrap();
    json!(module.get_token_info(slot).unwrap().serial_number().trim())
}

fn run(session: &Session, command: &[&str]) -> Value {
    match *command {
        ["count", id] => json!(all(session, id).len()),
        ["total"] => json!(
            session
                .find_objects(&[Attribute::Token(true)])
                .unwrap()
                .len()
        ),
        ["modulus", id] => modulus(session, the(session, id)),
        ["look", id] => look(session, the(session, id)),
        ["read", id] => read(session, the(session, id)),
        ["wrap", id] => wrap(session, the(session, id)),
        ["unwrap", root, blob] => unwrap(session, the(session, root), &hex::decode(blob).unwrap()),
        ["destroy", id] => {
            session.destroy_object(the(session, id)).unwrap();
            Value::Null
        }
        ["destroy-public", id] => {
            let search = [
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::Id(hex::decode(id).unwrap()),
            ];
            let found = session.find_objects(&search).unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            session.destroy_object(found[0]).unwrap();
            Value::Null
        }
        ["forge-pair", id, label, flaw] => {
            forge_pair(session, &hex::decode(id).unwrap(), label, flaw);
            Value::Null
        }
        ["forge", id, label, flaw] => {
            forge(session, &hex::decode(id).unwrap(), label, flaw);
            Value::Null
        }
        _ => panic!("{command:?}"),
    }
}

fn modulus(session: &Session, key: ObjectHandle) -> Value {
    let found = session.get_attributes(key, &[AttributeType::Modulus]);
    match &found.unwrap()[..] {
        [Attribute::Modulus(modulus)] => json!(hex::encode(modulus)),
        other => panic!("{other:?}"),
    }
}

/// The one secret or private key called `id`; where two are one, the one that encrypts.
fn the(session: &Session, id: &str) -> ObjectHandle {
    let mut found = all(session, id);
    let kind = [AttributeType::KeyType];
    let authenticates = [Attribute::KeyType(KeyType::GENERIC_SECRET)];
    found.retain(|key| session.get_attributes(*key, &kind).unwrap() != authenticates);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// The secret and private keys called `id`.
fn all(session: &Session, id: &str) -> Vec<ObjectHandle> {
    let id = Attribute::Id(hex::decode(id).unwrap());
    let mut found = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        let search = [Attribute::Class(class), id.clone()];
        found.extend(session.find_objects(&search).unwrap());
    }
    found
}

const LOOKED_AT: [AttributeType; 19] = [
    AttributeType::Class,
    AttributeType::KeyType,
    AttributeType::ValueLen,
    AttributeType::Id,
    AttributeType::Token,
    AttributeType::Private,
    AttributeType::Modifiable,
    AttributeType::Sensitive,
    AttributeType::AlwaysSensitive,
    AttributeType::Extractable,
    AttributeType::NeverExtractable,
    AttributeType::Local,
    AttributeType::Encrypt,
    AttributeType::Decrypt,
    AttributeType::Wrap,
    AttributeType::Unwrap,
    AttributeType::Sign,
    AttributeType::Verify,
    AttributeType::Derive,
];

fn look(session: &Session, key: ObjectHandle) -> Value {
    let mut seen = Map::new();
    for attribute in session.get_attributes(key, &LOOKED_AT).unwrap() {
        let name = format!("{:?}", attribute.attribute_type());
        let value = match attribute {
            Attribute::Token(is)
            | Attribute::Private(is)
            | Attribute::Modifiable(is)
            | Attribute::Sensitive(is)
            | Attribute::AlwaysSensitive(is)
            | Attribute::Extractable(is)
            | Attribute::NeverExtractable(is)
            | Attribute::Local(is)
            | Attribute::Encrypt(is)
            | Attribute::Decrypt(is)
            | Attribute::Wrap(is)
            | Attribute::Unwrap(is)
            | Attribute::Sign(is)
            | Attribute::Verify(is)
            | Attribute::Derive(is) => json!(is),
            Attribute::Id(id) => json!(hex::encode(id)),
            Attribute::Class(class) => json!(class.to_string()),
            Attribute::KeyType(kind) => json!(kind.to_string()),
            Attribute::ValueLen(length) => json!(u64::from(length)),
            other => json!(format!("{other:?}")),
        };
        seen.insert(name, value);
    }
    Value::Object(seen)
}

/// Tries to have the value in the clear: its length, or null.
fn read(session: &Session, key: ObjectHandle) -> Value {
    match session.get_attributes(key, &[AttributeType::Value]) {
        Ok(found) => match &found[..] {
            [Attribute::Value(value)] => json!(value.len()),
            _ => Value::Null,
        },
        Err(_) => Value::Null,
    }
}

/// Tries to wrap the key by one that we know: what came of it, by mechanism.
fn wrap(session: &Session, key: ObjectHandle) -> Value {
    let wrapper = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Value(vec![7; 32]),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Wrap(true),
    ];
    let wrapper = session.create_object(&wrapper).unwrap();
    let willing = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Value(vec![8; 32]),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ];
    let willing = session.create_object(&willing).unwrap();
    let mut came = Map::new();
    let block = Mechanism::AesCbcPad([0; 16]);
    for mechanism in [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad, block] {
        // If the mechanism is there, what fails below fails for the key.
        if session.wrap_key(&mechanism, wrapper, willing).is_err() {
            continue;
        }
        let wrapped = match session.wrap_key(&mechanism, wrapper, key) {
            Ok(_) => "wrapped".to_owned(),
            Err(Error::Pkcs11(code, _)) => format!("{code:?}"),
            Err(error) => panic!("{error}"),
        };
        came.insert(mechanism.mechanism_type().to_string(), json!(wrapped));
    }
    Value::Object(came)
}

/// Tries to have what a root key wrapped: everything that comes of it but an object of this
/// session that is kept in, which must.
fn unwrap(session: &Session, root: ObjectHandle, blob: &[u8]) -> Value {
    let usual = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(false),
        Attribute::KeyType(KeyType::AES),
        Attribute::Copyable(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Sign(false),
        Attribute::Verify(false),
        Attribute::Derive(false),
    ];
    let way = [Mechanism::AesKeyWrapPad, Mechanism::AesKeyWrap]
        .into_iter()
        .find_map(|way| Some((session.unwrap_key(&way, root, blob, &usual).ok()?, way)));
    let (kept, way) = way.expect("it unwraps to what it may");
    let mut came = Vec::new();
    for loose in [
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Token(true),
        Attribute::Copyable(true),
        Attribute::Derive(true),
        Attribute::Sign(true),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::KeyType(KeyType::DES3),
    ] {
        let others = usual.iter();
        let others = others.filter(|one| one.attribute_type() != loose.attribute_type());
        let template: Vec<_> = others.cloned().chain([loose.clone()]).collect();
        if session.unwrap_key(&way, root, blob, &template).is_ok() {
            came.push(format!("unwrapped with {loose:?}"));
        }
        if session.copy_object(kept, slice::from_ref(&loose)).is_ok() {
            came.push(format!("copied with {loose:?}"));
        }
        let without: Vec<_> = template.into_iter().filter(|one| *one != loose).collect();
        if let Ok(key) = session.unwrap_key(&way, root, blob, &without)
            && (!read(session, key).is_null() || session.wrap_key(&way, root, key).is_ok())
        {
            came.push(format!("let out without {:?}", loose.attribute_type()));
        }
    }
    if !read(session, kept).is_null() {
        came.push("read".to_owned());
    }
    if session.wrap_key(&way, root, kept).is_ok() {
        came.push("wrapped by its root".to_owned());
    }
    let others = wrap(session, kept);
    if others
        .as_object()
        .unwrap()
        .values()
        .any(|came| came == "wrapped")
    {
        came.push("wrapped by another".to_owned());
    }
    let decrypts = [Attribute::Decrypt(true)];
    let whole = &blob[..blob.len() / 16 * 16];
    let mut roots = vec![root];
    roots.extend(session.copy_object(root, &decrypts));
    if session.update_attributes(root, &decrypts).is_ok() {
        came.push("the root key changed".to_owned());
    }
    for root in roots {
        if session.decrypt(&Mechanism::AesEcb, root, whole).is_ok() {
            came.push("decrypted by the root key".to_owned());
        }
    }
    json!(came)
}
