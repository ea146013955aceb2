//! TLS contexts, as whoever sets up connections wants them.

use crate::{Error, Fetched};

const KIND: &str = "tls-context";

/// A TLS context with all that it refers to: the versions of one moment, so that the key is
/// that of the certificate whatever is rotated meanwhile. Content is as it is stored. What the
/// context does not have, or a grant does not give, is `None`.
#[derive(Debug)]
pub struct TlsContext(Fetched);

impl TlsContext {
    /// The certificates of the key store, leaf first: PEM.
    pub fn certificate_chain(&self) -> Option<&[u8]> {
        self.of("keystore", "certificate-chain")
    }

    /// The private key of the leaf: PKCS#8 in PEM.
    pub fn private_key(&self) -> Option<&[u8]> {
        self.of("keystore", "private-key")
    }

    /// The certificates that peers' are checked against: PEM.
    pub fn truststore(&self) -> Option<&[u8]> {
        self.of("truststore", "certificates")
    }

    /// The public keys that peers must have: a line of `sha256/BASE64` each.
    pub fn pins(&self) -> Option<&str> {
        str::from_utf8(self.of("pin-set", "pins")?).ok()
    }

    /// Certificate revocation lists: PEM.
    pub fn crls(&self) -> Option<&[u8]> {
        self.of("crls", "crls")
    }

    /// The oldest version of TLS to speak: "TLSv1.2" or "TLSv1.3".
    pub fn min_version(&self) -> Option<&str> {
        self.text("min-version")
    }

    /// The newest version of TLS to speak: "TLSv1.2" or "TLSv1.3".
    pub fn max_version(&self) -> Option<&str> {
        self.text("max-version")
    }

    /// IANA names of cipher suites, the preferred first; empty if the library is to choose.
    pub fn cipher_suites(&self) -> Vec<&str> {
        list(self.text("cipher-suites"), ':')
    }

    /// Whether peers show certificates: "none", "request" or "require".
    pub fn client_auth(&self) -> Option<&str> {
        self.text("client-auth")
    }

    /// Protocols to offer, the preferred first (RFC 7301).
    pub fn alpn(&self) -> Vec<&str> {
        list(self.text("alpn"), ',')
    }

    /// The context as it was fetched, with the versions and receipts of its parts.
    pub fn fetched(&self) -> &Fetched {
        &self.0
    }

    fn of(&self, part: &str, field: &str) -> Option<&[u8]> {
        self.0.part(part)?.field(field)
    }

    fn text(&self, field: &str) -> Option<&str> {
        str::from_utf8(self.0.field(field)?).ok()
    }
}

fn list(text: Option<&str>, separator: char) -> Vec<&str> {
    text.map_or_else(Vec::new, |text| text.split(separator).collect())
}

impl TryFrom<Fetched> for TlsContext {
    type Error = Error;

    fn try_from(fetched: Fetched) -> Result<Self, Error> {
        match &*fetched.kind {
            KIND => Ok(Self(fetched)),
            other => Err(Error::Precondition(format!(
                "the secret is of type {other:?}, not {KIND:?}"
            ))),
        }
    }
}
