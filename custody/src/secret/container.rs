//! Files that hold several keys and certificates: PKCS#12, and the JKS of Java.

use x509_parser::prelude::X509Certificate;
use zeroize::Zeroizing;

use super::{
    Fields, Refused,
    key::PrivateKey,
    pbe::{self, Effort, Encrypted},
    x509::{
        Der, chain,
        describe::{some_of, text},
        invalid, is_binary, key, parse,
    },
};

mod contents;
mod jks;
mod pkcs12;

/// Names of what is taken besides fields, by types that can be made from a container.
pub(super) const PKCS12: &str = "pkcs12";
pub(super) const JKS: &str = "jks";
pub(super) const PASSPHRASE: &str = "passphrase";
pub(super) const KEY_PASSPHRASE: &str = "key-passphrase";
pub(super) const ALIAS: &str = "alias";

/// The longest passphrase, or alias.
const MAX_TEXT: usize = 1024;

/// What was found in a container. Private keys are still locked.
#[derive(Default)]
pub(super) struct Container {
    keys: Vec<KeyEntry>,
    certificates: Vec<Entry>,
    effort: Effort,
    field: &'static str,
}

struct Entry {
    id: Option<Vec<u8>>,
    der: Der,
}

struct KeyEntry {
    alias: Option<String>,
    /// Pairs it with a certificate; PKCS#12 only.
    id: Option<Vec<u8>>,
    locked: Locked,
    /// Leaf first; JKS only, in PKCS#12 certificates are on their own.
    chain: Vec<Der>,
}

enum Locked {
    /// PKCS#8.
    Plain(Zeroizing<Vec<u8>>),
    /// Encrypted PKCS#8.
    Pkcs8(Vec<u8>),
    /// Under the scheme that is JKS's own.
    Jks(Vec<u8>),
}

/// Why a container is not read, told as the rest of a sentence that begins with the file.
struct Unread {
    what: String,
    /// Whether a passphrase is missing, or is not the one.
    is_locked: bool,
}

impl Unread {
    fn locked(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            is_locked: true,
        }
    }

    fn of(self, file: &str) -> Refused {
        let what = format!("{file} {}", self.what);
        match self.is_locked {
            true => Refused::Locked(what),
            false => Refused::Invalid(what),
        }
    }
}

impl<T: Into<String>> From<T> for Unread {
    fn from(what: T) -> Self {
        Self {
            what: what.into(),
            is_locked: false,
        }
    }
}

/// Takes the text that was given as `name`, without the newline that an editor leaves
/// at the end of a file.
pub(super) fn take_text(
    given: &mut Fields,
    name: &str,
) -> Result<Option<Zeroizing<String>>, Refused> {
    let Some(value) = given.remove(name) else {
        return Ok(None);
    };
    let value = value.strip_suffix(b"\n").unwrap_or(&value);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    if value.len() > MAX_TEXT {
        return Err(invalid(format!("{name:?} has over {MAX_TEXT} bytes")));
    }
    let text = str::from_utf8(value).map_err(|_| invalid(format!("{name:?} is not UTF-8")))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// Takes the container out of what was given, if there is one.
pub(super) fn take(
    given: &mut Fields,
    passphrase: Option<&str>,
) -> Result<Option<Container>, Refused> {
    let (field, bytes) = match (given.remove(PKCS12), given.remove(JKS)) {
        (None, None) => return Ok(None),
        (Some(bytes), None) => (PKCS12, bytes),
        (None, Some(bytes)) => (JKS, bytes),
        (Some(_), Some(_)) => {
            return Err(invalid(format!(
                "give either {PKCS12:?} or {JKS:?}, not both"
            )));
        }
    };
    Container::read(field, &bytes, passphrase).map(Some)
}

impl Container {
    /// Reads either format, whatever the file is called: since Java 9, most files named
    /// `.jks` are PKCS#12.
    pub(super) fn read(
        field: &'static str,
        bytes: &[u8],
        passphrase: Option<&str>,
    ) -> Result<Self, Refused> {
        let mut container = Self {
            field,
            ..Self::default()
        };
        match bytes {
            [0xfe, 0xed, 0xfe, 0xed, ..] => jks::read(&mut container, bytes, passphrase),
            [0xce, 0xce, 0xce, 0xce, ..] => Err("is a JCEKS key store; convert it by: keytool \
                 -importkeystore -srcstoretype JCEKS -srckeystore FILE -deststoretype PKCS12 \
                 -destkeystore STORE.p12"
                .into()),
            _ if is_binary(bytes) => pkcs12::read(&mut container, bytes, passphrase),
            _ => Err(
                "is neither a PKCS#12 file nor a JKS key store; PEM goes into the fields \
                 of its own"
                    .into(),
            ),
        }
        .map_err(|unread: Unread| unread.of(&format!("{field:?}")))?;
        Ok(container)
    }

    /// Names of the keys, as they can be asked for.
    fn aliases(&self) -> Vec<String> {
        let name = |(entry, number): (&KeyEntry, usize)| match &entry.alias {
            Some(alias) => text(alias),
            None => format!("#{number}"),
        };
        self.keys.iter().zip(1..).map(name).collect()
    }

    fn position(&self, alias: Option<&str>) -> Result<usize, Refused> {
        let field = self.field;
        let listed = || some_of(&self.aliases(), ", ");
        let Some(wanted) = alias else {
            return match self.keys.len() {
                0 => Err(invalid(format!("{field:?} holds no private key"))),
                1 => Ok(0),
                _ => Err(invalid(format!(
                    "{field:?} holds several private keys; say which by {ALIAS:?}: {}",
                    listed()
                ))),
            };
        };
        // Java compares them without regard to case.
        let mut found = self.keys.iter().zip(1..).filter(|(entry, number)| {
            let alias = entry.alias.as_deref();
            alias.is_some_and(|alias| alias.to_lowercase() == wanted.to_lowercase())
                || wanted == format!("#{number}")
        });
        match (found.next(), found.next()) {
            (Some((_, number)), None) => Ok(number - 1),
            (None, _) => Err(invalid(format!(
                "{field:?} holds no private key of that {ALIAS:?}; there are: {}",
                listed()
            ))),
            _ => Err(invalid(format!(
                "{field:?} holds several private keys of that {ALIAS:?}; ask by number, #1 for \
                 the first: {}",
                listed()
            ))),
        }
    }

    /// The key called `alias`, or the only one, and its chain, leaf first.
    pub(super) fn key(
        mut self,
        alias: Option<&str>,
        passphrase: Option<&str>,
    ) -> Result<(Vec<Der>, PrivateKey), Refused> {
        let at = self.position(alias)?;
        let entry = self.keys.swap_remove(at);
        let field = self.field;
        let key = entry.unlock(field, passphrase.unwrap_or_default(), &mut self.effort)?;
        if !entry.chain.is_empty() {
            return Ok((entry.chain, key));
        }
        let (ids, pool) = apart(self.certificates);
        let parsed = parse(field, &pool)?;
        let Some(leaf) = entry.leaf(&ids, &parsed, Some(&key)) else {
            return Err(invalid(format!(
                "{field:?} holds no certificate of the private key; export it with its chain"
            )));
        };
        let chain = chain::order(&parsed, leaf);
        Ok((chain::select(&pool, &chain), key))
    }

    /// The certificates, of a container that holds nothing else.
    pub(super) fn only_certificates(self) -> Result<Vec<Der>, Refused> {
        let field = self.field;
        if !self.keys.is_empty() {
            return Err(invalid(format!(
                "{field:?} holds a private key ({}); a store of trusted certificates has none, so \
                 take the certificates out by: openssl pkcs12 -in FILE -nokeys, or: keytool -list -rfc",
                some_of(&self.aliases(), ", ")
            )));
        }
        if self.certificates.is_empty() {
            return Err(invalid(format!("{field:?} holds no certificate")));
        }
        Ok(self.certificates.into_iter().map(|one| one.der).collect())
    }
}

/// The ids that pair certificates with keys, and the certificates.
fn apart(certificates: Vec<Entry>) -> (Vec<Option<Vec<u8>>>, Vec<Der>) {
    let certificates = certificates.into_iter();
    certificates.map(|one| (one.id, one.der)).unzip()
}

impl KeyEntry {
    fn unlock(
        &self,
        field: &str,
        passphrase: &str,
        effort: &mut Effort,
    ) -> Result<PrivateKey, Refused> {
        let failed = |unread: Unread| unread.of(&format!("the private key in {field:?}"));
        let plain = match &self.locked {
            Locked::Plain(plain) => plain,
            Locked::Pkcs8(encrypted) => &Encrypted::from_ber(encrypted)
                .ok_or_else(|| invalid(format!("{field:?} holds a broken encrypted key")))?
                .open(passphrase, effort)
                .map_err(|error| match error {
                    pbe::Error::Passphrase => {
                        Refused::Locked(format!("the private key in {field:?}: {error}"))
                    }
                    _ => invalid(format!("the private key in {field:?}: {error}")),
                })?,
            Locked::Jks(encrypted) => &jks::unlock(encrypted, passphrase).map_err(failed)?,
        };
        key::from_der(field, plain)
    }

    /// Where its certificate is in `pool`: by its id, which `ids` has of each, among those of
    /// its public key if that is known.
    fn leaf(
        &self,
        ids: &[Option<Vec<u8>>],
        pool: &[X509Certificate<'_>],
        key: Option<&PrivateKey>,
    ) -> Option<usize> {
        let fits = |at: &usize| {
            key.is_none_or(|key| *pool[*at].public_key().subject_public_key.data == *key.public())
        };
        let is_named = |at: &usize| self.id.is_some() && ids[*at] == self.id;
        let mut fitting = (0..pool.len()).filter(fits);
        let named = fitting.clone().find(is_named);
        named.or_else(|| key.and_then(|_| fitting.next()))
    }
}

#[cfg(test)]
mod tests;
