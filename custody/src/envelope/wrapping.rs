//! The ways in which tokens wrap keys, by name.

use std::fmt;

/// How a token wraps: an algorithm, by the name that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrapping {
    /// The DEK as data under AES-256-GCM (`C_Encrypt`), the context as additional authenticated
    /// data. The blob is nonce ‖ ciphertext ‖ tag, whoever made the nonce.
    Aes256Gcm,
    /// AES key wrap with padding, RFC 5649 (`C_WrapKey`). The context is not bound by
    /// the wrap, only by the content.
    AesKwp,
    /// AES key wrap without padding, RFC 3394 (`C_WrapKey`), for tokens whose wrap with padding is
    /// not that of RFC 5649. The context is not bound by the wrap, only by the content.
    AesKw,
    /// The DEK as data under AES-256-CBC (`C_Encrypt`) without padding, and HMAC-SHA-256 (`C_Sign`) of
    /// context, IV and ciphertext, by a second key. The blob is IV ‖ ciphertext ‖ tag.
    AesCbcHmac,
    /// RSA-OAEP with SHA-256, empty label, of the DEK and the SHA-256 digest of the context:
    /// under the public half outside the token, opened in it (`C_Decrypt`).
    RsaOaepSha256,
    /// The same with SHA-1, which OAEP does not need to be free of collisions.
    RsaOaepSha1,
}

impl Wrapping {
    /// Every algorithm, the preferred first.
    pub const ALL: [Self; 6] = [
        Self::Aes256Gcm,
        Self::AesKwp,
        Self::AesKw,
        Self::AesCbcHmac,
        Self::RsaOaepSha256,
        Self::RsaOaepSha1,
    ];

    /// The name that is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::AesKwp => "aes-kwp",
            Self::AesKw => "aes-kw",
            Self::AesCbcHmac => "aes-256-cbc-hmac-sha256",
            Self::RsaOaepSha256 => "rsa-oaep-sha256",
            Self::RsaOaepSha1 => "rsa-oaep-sha1",
        }
    }

    /// Whether anybody can wrap who has the public half of the key: that a blob opens does then
    /// not tell that the token made it.
    pub fn is_public(self) -> bool {
        self.form() == Form::Pair
    }

    /// What a master key is that wraps so.
    pub fn form(self) -> Form {
        match self {
            Self::Aes256Gcm | Self::AesKwp | Self::AesKw => Form::Key,
            Self::AesCbcHmac => Form::Twins,
            Self::RsaOaepSha256 | Self::RsaOaepSha1 => Form::Pair,
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|wrapping| wrapping.name() == name)
    }
}

/// What a master key is in its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One secret key.
    Key,
    /// Two secret keys under one identifier: one encrypts, the other authenticates.
    Twins,
    /// A private key and its public half.
    Pair,
}

/// How a key wraps other keys as objects (NIST SP 800-38F): those of [`Wrapping`] that do not take
/// the key's value as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyWrap {
    /// With padding, RFC 5649.
    Kwp,
    /// Without, RFC 3394.
    Kw,
}

impl KeyWrap {
    /// Both of them, the preferred first.
    pub const ALL: [Self; 2] = [Self::Kwp, Self::Kw];

    /// The name that is stored and shown: that of the [`Wrapping`].
    pub fn name(self) -> &'static str {
        Wrapping::from(self).name()
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }
}

impl fmt::Display for KeyWrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<KeyWrap> for Wrapping {
    fn from(way: KeyWrap) -> Self {
        match way {
            KeyWrap::Kwp => Self::AesKwp,
            KeyWrap::Kw => Self::AesKw,
        }
    }
}

impl fmt::Display for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
