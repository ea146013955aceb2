//! Which token: the words that select exactly one, and the description of the one found.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::Error;

/// Names one token by its label and serial number, never by its slot.
///
/// Displayed and parsed as a `pkcs11:` URI (RFC 7512).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSelector {
    label: String,
    serial: String,
    manufacturer: Option<String>,
    model: Option<String>,
}

impl TokenSelector {
    /// The token with this label and serial number. Spaces at either end do not count.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers have read both from a configuration and are done with them"
    )]
    pub fn new(label: String, serial: String) -> Self {
        Self {
            label: label.trim_matches(' ').to_owned(),
            serial: serial.trim_matches(' ').to_owned(),
            manufacturer: None,
            model: None,
        }
    }

    /// The token's label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The token's serial number.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Whether it is the token so described.
    fn matches(&self, token: &TokenDescription) -> bool {
        let same = |wanted: &str, found: &str| wanted == found.trim_matches(' ');
        same(&self.label, &token.label)
            && same(&self.serial, &token.serial)
            && (self.manufacturer.as_deref()).is_none_or(|wanted| same(wanted, &token.manufacturer))
            && (self.model.as_deref()).is_none_or(|wanted| same(wanted, &token.model))
    }

    /// The place of the one token in `offered` that is meant.
    pub(crate) fn select(&self, offered: &[TokenDescription]) -> Result<usize, Error> {
        let matching = offered.iter().enumerate();
        let matching = matching.filter(|(_, token)| self.matches(token));
        let (wanted, candidates) = (Box::new(self.clone()), offered.to_vec());
        match matching.collect::<Vec<_>>()[..] {
            [(only, _)] => Ok(only),
            [] => Err(Error::NoSuchToken { wanted, candidates }),
            _ => Err(Error::AmbiguousToken { wanted, candidates }),
        }
    }
}

/// A text that does not select a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a `pkcs11:` URI.
    #[error("a token is named by a URI that begins with 'pkcs11:'")]
    Scheme,
    /// A part that is no attribute.
    #[error("{0:?} is not of the form name=value")]
    NotAnAttribute(String),
    /// A `%` that is not followed by two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the value of '{0}' is not percent-encoded UTF-8")]
    Encoding(String),
    /// The same attribute twice.
    #[error("'{0}' is given twice")]
    Twice(String),
    /// The slot's number.
    #[error(
        "slots are not stable names: leave '{0}' out and name the token by 'token' and 'serial'"
    )]
    Slot(String),
    /// The PIN, or where it is.
    #[error("'{0}' does not belong in a token's name: the PIN's source is a setting of its own")]
    Pin(String),
    /// An attribute that does not name a token.
    #[error("'{0}' does not name a token: use 'token', 'serial', 'manufacturer' and 'model'")]
    Unknown(String),
    /// The label or the serial number is not there.
    #[error("'{0}' is missing: a token is named by both 'token' and 'serial'")]
    Missing(&'static str),
}

impl FromStr for TokenSelector {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let attributes = text.strip_prefix("pkcs11:").ok_or(ParseError::Scheme)?;
        let [mut token, mut serial, mut manufacturer, mut model] = [None, None, None, None];
        for part in attributes
            .split([';', '?', '&'])
            .filter(|part| !part.is_empty())
        {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| ParseError::NotAnAttribute(part.to_owned()))?;
            let place = match name {
                "token" => &mut token,
                "serial" => &mut serial,
                "manufacturer" => &mut manufacturer,
                "model" => &mut model,
                "slot-id" | "slot-description" | "slot-manufacturer" => {
                    return Err(ParseError::Slot(name.to_owned()));
                }
                "pin-value" | "pin-source" => return Err(ParseError::Pin(name.to_owned())),
                _ => return Err(ParseError::Unknown(name.to_owned())),
            };
            let value = decode(value).ok_or_else(|| ParseError::Encoding(name.to_owned()))?;
            if place.replace(value).is_some() {
                return Err(ParseError::Twice(name.to_owned()));
            }
        }
        let required = |value: Option<String>, name| {
            value
                .filter(|value| !value.is_empty())
                .ok_or(ParseError::Missing(name))
        };
        Ok(Self {
            label: required(token, "token")?,
            serial: required(serial, "serial")?,
            manufacturer,
            model,
        })
    }
}

/// RFC 7512 §2.3: percent-encoding of UTF-8. Trailing blanks are padding.
fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let mut decoded = [0];
            hex::decode_to_slice(digits, &mut decoded).ok()?;
            bytes.push(decoded[0]);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim_matches(' ').to_owned())
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pkcs11:token={};serial={}",
            encode(&self.label),
            encode(&self.serial)
        )?;
        if let Some(manufacturer) = &self.manufacturer {
            write!(f, ";manufacturer={}", encode(manufacturer))?;
        }
        if let Some(model) = &self.model {
            write!(f, ";model={}", encode(model))?;
        }
        Ok(())
    }
}

fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// What a token says of itself, and the library it was seen through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenDescription {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// The vendor's library.
    pub module: PathBuf,
}

impl fmt::Display for TokenDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "label {:?}, serial {:?} ({} {})",
            self.label, self.serial, self.manufacturer, self.model
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(label: &str, serial: &str) -> TokenDescription {
        TokenDescription {
            label: label.into(),
            serial: serial.into(),
            manufacturer: "SoftHSM project".into(),
            model: "SoftHSM v2".into(),
            module: PathBuf::new(),
        }
    }

    #[test]
    fn a_uri_selects_by_label_and_serial() {
        let selector: TokenSelector = "pkcs11:token=my%20token;serial=01ab".parse().unwrap();
        assert!(selector.matches(&token("my token   ", "01ab")));
        assert!(!selector.matches(&token("my token", "01ac")));
        assert!(!selector.matches(&token("my", "01ab")));
        assert_eq!(selector.to_string().parse(), Ok(selector));
    }

    #[test]
    fn none_and_several_are_refused_with_all_that_is_offered() {
        let selector = TokenSelector::new("a".into(), "2".into());
        let all = [token("a", "1"), token("a", "2"), token("b", "2")];
        assert_eq!(selector.select(&all), Ok(1));
        let wanted = Box::new(selector.clone());
        let candidates = vec![token("a", "1"), token("a", "3")];
        assert_eq!(
            selector.select(&candidates.clone()),
            Err(Error::NoSuchToken { wanted, candidates })
        );
        let wanted = Box::new(selector.clone());
        let candidates = vec![token("a", "2"), token("a", "2 ")];
        assert_eq!(
            selector.select(&candidates.clone()),
            Err(Error::AmbiguousToken { wanted, candidates })
        );
    }

    #[test]
    fn manufacturer_and_model_narrow_the_choice() {
        let selector: TokenSelector = "pkcs11:token=a;serial=1;model=Luna".parse().unwrap();
        assert!(!selector.matches(&token("a", "1")));
        let selector: TokenSelector = "pkcs11:token=a;serial=1;manufacturer=SoftHSM%20project"
            .parse()
            .unwrap();
        assert!(selector.matches(&token("a", "1")));
    }

    #[test]
    fn uris_are_refused_for_what_is_wrong_with_them() {
        for (uri, error) in [
            ("token=a;serial=1", ParseError::Scheme),
            ("pkcs11:token=a", ParseError::Missing("serial")),
            ("pkcs11:serial=1", ParseError::Missing("token")),
            ("pkcs11:token=;serial=1", ParseError::Missing("token")),
            (
                "pkcs11:token=a;serial=1;slot-id=3",
                ParseError::Slot("slot-id".into()),
            ),
            (
                "pkcs11:token=a;serial=1?pin-value=1234",
                ParseError::Pin("pin-value".into()),
            ),
            (
                "pkcs11:token=a;serial=1;object=k",
                ParseError::Unknown("object".into()),
            ),
            (
                "pkcs11:token=a;token=b;serial=1",
                ParseError::Twice("token".into()),
            ),
            (
                "pkcs11:token=%4;serial=1",
                ParseError::Encoding("token".into()),
            ),
            (
                "pkcs11:token;serial=1",
                ParseError::NotAnAttribute("token".into()),
            ),
        ] {
            assert_eq!(uri.parse::<TokenSelector>(), Err(error), "{uri}");
        }
    }
}
