//! `unwrap MODULE PIN CKA_ID BLOB CONTEXT`: what a GMK of the first token opens, in
//! hexadecimal, so that a test knows which bytes to look for. The module is configured by the
//! environment, which a test's own process cannot change.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what fails here fails a test, which says so"
)]

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::{
        Mechanism, MechanismType,
        aead::GcmParams,
        rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass},
    session::UserType,
    types::AuthPin,
};

/// Length of an IV, a data key and a tag.
const CBC_AND_HMAC: usize = 16 + 32 + 32;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [module, pin, id, blob, context] = &arguments[..] else {
        panic!("see the top of the source");
    };
    let bytes = |text: &String| hex::decode(text).unwrap();
    let module = Pkcs11::new(module).unwrap();
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let slot = module.get_slots_with_initialized_token().unwrap()[0];
    let session = module.open_ro_session(slot).unwrap();
    let pin = AuthPin::new(pin.clone().into());
    session.login(UserType::User, Some(&pin)).unwrap();
    let of_kind = |class, kind| {
        let id = Attribute::Id(bytes(id));
        let search = [Attribute::Class(class), Attribute::KeyType(kind), id];
        session.find_objects(&search).unwrap().pop()
    };
    let key = of_kind(ObjectClass::SECRET_KEY, KeyType::AES)
        .or_else(|| of_kind(ObjectClass::PRIVATE_KEY, KeyType::RSA));
    let key = key.expect("the key");
    let (blob, context) = (bytes(blob), bytes(context));
    let kind = session.get_attributes(key, &[AttributeType::KeyType]);
    if kind.unwrap() == [Attribute::KeyType(KeyType::RSA)] {
        let way = PkcsOaepParams::new(
            MechanismType::SHA256,
            PkcsMgfType::MGF1_SHA256,
            PkcsOaepSource::empty(),
        );
        let opened = session.decrypt(&Mechanism::RsaPkcsOaep(way), key, &blob);
        // The digest of the context is after it.
        println!("{}", hex::encode(&opened.unwrap()[..32]));
        return;
    }
    if blob.len() == CBC_AND_HMAC {
        let (iv, sealed) = blob.split_first_chunk().unwrap();
        let opened = session.decrypt(&Mechanism::AesCbc(*iv), key, &sealed[..32]);
        println!("{}", hex::encode(opened.unwrap()));
        return;
    }
    let (nonce, sealed) = blob.split_at(12);
    let mut nonce = nonce.to_vec();
    let way = GcmParams::new(&mut nonce, &context, 128.into()).unwrap();
    let opened = session
        .decrypt(&Mechanism::AesGcm(way), key, sealed)
        .unwrap();
    println!("{}", hex::encode(opened));
}
