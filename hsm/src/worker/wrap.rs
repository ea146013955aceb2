//! How a DEK goes under a key in the token and comes back, by each algorithm.

use cryptoki::{
    error::Error as CkError,
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectHandle},
    session::Session,
};
use custody::envelope::{KeyWrap, PlaintextDek, Wrapping};
use zeroize::Zeroizing;

use super::template;
use crate::Error;

mod cbc;
mod gcm;
mod oaep;

pub(super) use cbc::opens_by_ourselves as cbc_opens_by_ourselves;
pub(super) use gcm::{Maker, Nonces, Sealed, opens_by_ourselves as gcm_opens_by_ourselves};
use oaep::{Hash, PublicHalf};

/// A key of ours under AES key wrap, with padding (RFC 5649) or without (RFC 3394).
pub(super) const KEY_BLOB: usize = PlaintextDek::LEN + 8;

pub(super) const NOT_KWP: &str = "the token's key wrap is not that of RFC 5649";
pub(super) const NOT_KW: &str = "the token's key wrap is not that of RFC 3394";

/// Why an operation came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// The token refused a call.
    Token(CkError),
    /// What was to be opened cannot be a blob of ours, or did not hold a DEK.
    BadBlob,
    /// The token does not do what the algorithm says.
    Odd(&'static str),
    /// It does no longer what it did when it was tried: that has to be found out anew. Of which
    /// function, and what.
    Changed(&'static str, &'static str),
    /// The request itself has an answer.
    Answer(Error),
}

impl From<CkError> for Fault {
    fn from(error: CkError) -> Self {
        Self::Token(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

/// Two keys in the token that are one master key.
#[derive(Clone, Copy)]
pub(super) struct Twins {
    pub(super) cipher: ObjectHandle,
    pub(super) mac: ObjectHandle,
}

/// A key in the token, and how it wraps.
pub(super) struct Kek {
    handle: ObjectHandle,
    way: Way,
}

enum Way {
    Aes256Gcm(Nonces),
    AesKey(KeyWrap),
    /// With the key that authenticates.
    AesCbcHmac(ObjectHandle),
    RsaOaep(PublicHalf),
}

impl Kek {
    /// The key at `handle`, which is the private half if it is one of a pair.
    pub(super) fn new(
        session: &Session,
        handle: ObjectHandle,
        wrapping: Wrapping,
    ) -> Result<Self, Fault> {
        let pair = |hash| PublicHalf::of(session, handle, hash).map(Way::RsaOaep);
        let way = match wrapping {
            Wrapping::Aes256Gcm => Way::Aes256Gcm(Nonces::default()),
            Wrapping::AesKwp => Way::AesKey(KeyWrap::Kwp),
            Wrapping::AesKw => Way::AesKey(KeyWrap::Kw),
            Wrapping::AesCbcHmac => return Err(Fault::Odd("it is one key, and two are needed")),
            Wrapping::RsaOaepSha256 => pair(Hash::Sha256)?,
            Wrapping::RsaOaepSha1 => pair(Hash::Sha1)?,
        };
        Ok(Self { handle, way })
    }

    /// Two keys that are one.
    pub(super) fn twins(Twins { cipher, mac }: Twins) -> Self {
        Self {
            handle: cipher,
            way: Way::AesCbcHmac(mac),
        }
    }

    /// Both keys, if it is two.
    pub(super) fn both(&self) -> Option<Twins> {
        match &self.way {
            Way::AesCbcHmac(mac) => Some(self.with(*mac)),
            Way::Aes256Gcm(_) | Way::AesKey(_) | Way::RsaOaep(_) => None,
        }
    }

    /// The same, if the token is to be given such nonces.
    pub(super) fn with_nonces(mut self, wanted: Nonces) -> Self {
        if let Way::Aes256Gcm(nonces) = &mut self.way {
            *nonces = wanted;
        }
        self
    }

    fn with(&self, mac: ObjectHandle) -> Twins {
        Twins {
            cipher: self.handle,
            mac,
        }
    }

    pub(super) fn handle(&self) -> ObjectHandle {
        self.handle
    }

    pub(super) fn wrapping(&self) -> Wrapping {
        match &self.way {
            Way::Aes256Gcm(_) => Wrapping::Aes256Gcm,
            Way::AesKey(way) => (*way).into(),
            Way::AesCbcHmac(_) => Wrapping::AesCbcHmac,
            Way::RsaOaep(public) => public.wrapping(),
        }
    }

    /// Wraps `dek`, bound to `context` where the algorithm can.
    pub(super) fn protect(
        &self,
        session: &Session,
        dek: &[u8],
        context: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        match &self.way {
            Way::Aes256Gcm(nonces) => {
                Ok(gcm::seal(session, self.handle, *nonces, dek, context)?.blob)
            }
            Way::AesKey(way) => {
                let object = session.create_object(&template::dek_in(dek))?;
                let blob = session.wrap_key(&mechanism(*way), self.handle, object);
                session.destroy_object(object)?;
                whole(*way, blob?)
            }
            Way::AesCbcHmac(mac) => cbc::seal(session, self.with(*mac), dek, context),
            Way::RsaOaep(public) => public.protect(dek, context),
        }
    }

    /// As [`Self::protect`], with who made the nonce; `None` if the algorithm takes none.
    pub(super) fn seal(
        &self,
        session: &Session,
        dek: &[u8],
        context: &[u8],
    ) -> Option<Result<Sealed, Fault>> {
        match &self.way {
            Way::Aes256Gcm(nonces) => Some(gcm::seal(session, self.handle, *nonces, dek, context)),
            Way::AesKey(_) | Way::AesCbcHmac(_) | Way::RsaOaep(_) => None,
        }
    }

    /// Opens what [`Self::protect`] made.
    pub(super) fn reveal(
        &self,
        session: &Session,
        blob: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let dek = match &self.way {
            Way::Aes256Gcm(_) => gcm::open(session, self.handle, blob, context)?,
            Way::AesKey(way) => {
                if blob.len() != KEY_BLOB {
                    return Err(Fault::BadBlob);
                }
                let template = template::dek_out();
                let object = session.unwrap_key(&mechanism(*way), self.handle, blob, &template)?;
                let read = read_dek(session, object);
                session.destroy_object(object)?;
                read?
            }
            Way::AesCbcHmac(mac) => cbc::open(session, self.with(*mac), blob, context)?,
            Way::RsaOaep(public) => public.reveal(session, self.handle, blob, context)?,
        };
        if dek.len() != PlaintextDek::LEN {
            return Err(Fault::BadBlob);
        }
        Ok(dek)
    }
}

/// What asks for AES key wrap. `CKM_AES_KEY_WRAP_KWP` has no name in `cryptoki`, which refuses its
/// number, too.
pub(super) fn mechanism(way: KeyWrap) -> Mechanism<'static> {
    match way {
        KeyWrap::Kwp => Mechanism::AesKeyWrapPad,
        KeyWrap::Kw => Mechanism::AesKeyWrap,
    }
}

/// Refuses a blob that cannot be what it is called.
pub(super) fn whole(way: KeyWrap, blob: Vec<u8>) -> Result<Vec<u8>, Fault> {
    match (blob.len() == KEY_BLOB, way) {
        (true, _) => Ok(blob),
        (false, KeyWrap::Kwp) => Err(Fault::Odd(NOT_KWP)),
        (false, KeyWrap::Kw) => Err(Fault::Odd(NOT_KW)),
    }
}

fn read_dek(session: &Session, object: ObjectHandle) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut found =
        session.get_attributes(object, &[AttributeType::KeyType, AttributeType::Value])?;
    match &mut found[..] {
        [Attribute::KeyType(KeyType::AES), Attribute::Value(value)] => {
            Ok(Zeroizing::new(std::mem::take(value)))
        }
        _ => Err(Fault::BadBlob),
    }
}
