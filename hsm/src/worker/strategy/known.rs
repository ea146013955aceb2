//! Answers that are known beforehand.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _, KeyWrapPadded as _};
use cryptoki::session::Session;
use custody::envelope::{KeyWrap, Wrapping};

use super::{
    super::{
        template,
        wrap::{self, Kek, Nonces, Twins},
    },
    Amiss, CONTEXT, DEK, discard, seal,
};

/// Compares with an implementation of our own, under a key that is imported: what a mechanism
/// is called does not tell what it is. `CKM_AES_KEY_WRAP_PAD` is RFC 5649 with some modules and
/// something else with others. `false` if no key may be imported.
pub(super) fn of_key(session: &Session, wrapping: Wrapping, nonces: Nonces) -> Result<bool, Amiss> {
    let value = [0x07; 32];
    let Ok(key) = session.create_object(&template::known_gmk(value, wrapping)) else {
        return Ok(false);
    };
    let blob = Kek::new(session, key, wrapping)
        .map_err(Amiss::from)
        .and_then(|kek| seal(session, &kek.with_nonces(nonces)));
    discard(session, key);
    let blob = blob?;
    let (ours, what) = match wrapping {
        Wrapping::Aes256Gcm => (
            match wrap::gcm_opens_by_ourselves(&value, &blob, &DEK, CONTEXT) {
                Some(opens) => opens,
                None => return Ok(false),
            },
            "what the token seals is not AES-256-GCM of key, nonce and context",
        ),
        Wrapping::AesKwp => (
            Some(blob) == by_ourselves(&value, KeyWrap::Kwp),
            wrap::NOT_KWP,
        ),
        Wrapping::AesKw => (
            Some(blob) == by_ourselves(&value, KeyWrap::Kw),
            wrap::NOT_KW,
        ),
        // Those are of more than one key.
        Wrapping::AesCbcHmac | Wrapping::RsaOaepSha256 | Wrapping::RsaOaepSha1 => (true, ""),
    };
    match ours {
        true => Ok(true),
        false => Err(Amiss::lasting(what)),
    }
}

/// The same of two keys.
pub(super) fn of_twins(session: &Session) -> Result<bool, Amiss> {
    let (value, mac_value) = ([0x07; 32], [0x09; 32]);
    let cipher = template::known_gmk(value, Wrapping::AesCbcHmac);
    let Ok(cipher) = session.create_object(&cipher) else {
        return Ok(false);
    };
    let Ok(mac) = session.create_object(&template::known_mac(mac_value)) else {
        discard(session, cipher);
        return Ok(false);
    };
    let blob = seal(session, &Kek::twins(Twins { cipher, mac }));
    discard(session, cipher);
    discard(session, mac);
    match wrap::cbc_opens_by_ourselves([&value, &mac_value], &blob?, &DEK, CONTEXT) {
        true => Ok(true),
        false => Err(Amiss::lasting(
            "what the token seals is not AES-256-CBC and HMAC-SHA-256 of keys, IV and context",
        )),
    }
}

fn by_ourselves(kek: &[u8; 32], way: KeyWrap) -> Option<Vec<u8>> {
    let mut blob = vec![0; wrap::KEY_BLOB];
    let kek = AesKek::new(&AES_256, kek).ok()?;
    let wrapped = match way {
        KeyWrap::Kwp => kek.wrap_with_padding(&DEK, &mut blob),
        KeyWrap::Kw => kek.wrap(&DEK, &mut blob),
    };
    wrapped.ok()?;
    Some(blob)
}
