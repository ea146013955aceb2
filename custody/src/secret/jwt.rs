//! `jwt`: a signed token (RFC 7519), whose registered claims are public and nothing else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Fields, Makes, Properties, Refused, Shape, Type, required, time::rfc3339};

const TOKEN: &str = "token";

/// More bytes than fit a request; HTTP servers take headers of 8 to 64 KiB.
const MAX_TOKEN: usize = 64 << 10;

/// The most characters of a claim that are shown.
const MAX_SHOWN: usize = 255;

/// The most audiences that are shown.
const MAX_AUDIENCES: usize = 16;

/// The last second that RFC 3339 has.
const LAST: f64 = 253_402_300_799.0;

pub(super) struct Jwt;

/// What is read of the header (RFC 7515 §4.1).
#[derive(Deserialize)]
struct Header {
    alg: Option<Value>,
    kid: Option<Value>,
}

/// What is read of the claims (RFC 7519 §4.1). Others may say anything about anyone.
#[derive(Deserialize)]
struct Claims {
    iss: Option<Value>,
    sub: Option<Value>,
    aud: Option<Value>,
    iat: Option<Value>,
    nbf: Option<Value>,
    exp: Option<Value>,
}

impl Type for Jwt {
    fn name(&self) -> &'static str {
        "jwt"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(TOKEN)] })
    }

    fn lines(&self) -> &'static [&'static str] {
        &[TOKEN]
    }

    fn makes(&self) -> Makes {
        Makes::Not("its issuer signs a new one; store that with 'custodyctl secret put'")
    }

    fn publishes(&self) -> &'static [&'static str] {
        &["alg", "kid", "iss", "sub", "aud", "iat", "nbf", "exp"]
    }

    fn ends(&self) -> Option<&'static str> {
        Some("exp")
    }

    fn validity(&self) -> Option<(&'static str, &'static str)> {
        Some(("iat", "exp"))
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let (header, claims, is_signed) = parse(values.get(TOKEN).unwrap_or_default())?;
        let alg = words("alg", header.alg)?;
        match alg.as_deref() {
            None => return invalid("has no \"alg\" in its header"),
            // RFC 8725 §3.1 and §3.2; some libraries compared without regard to case.
            Some(alg) if alg.eq_ignore_ascii_case("none") => {
                return invalid("is not signed (its \"alg\" is none), so anyone can write it");
            }
            Some(_) if !is_signed => {
                return invalid("is not signed (its signature is empty), so anyone can write it");
            }
            Some(_) => {}
        }
        let shown = [
            ("alg", alg),
            ("kid", words("kid", header.kid)?),
            ("iss", words("iss", claims.iss)?),
            ("sub", words("sub", claims.sub)?),
            ("aud", audience(claims.aud)?),
            ("iat", moment("iat", claims.iat)?),
            ("nbf", moment("nbf", claims.nbf)?),
            ("exp", moment("exp", claims.exp)?),
        ];
        let known = shown.into_iter();
        Ok(known
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect())
    }
}

/// The header, the claims, and whether there is a signature.
fn parse(token: &[u8]) -> Result<(Header, Claims, bool), Refused> {
    if token.len() > MAX_TOKEN {
        return invalid(format!("is longer than {MAX_TOKEN} bytes"));
    }
    let parts: Vec<_> = token.split(|&byte| byte == b'.').take(6).collect();
    let [header, claims, signature] = parts[..] else {
        return invalid(match parts.len() {
            5 => "is encrypted (it has five parts); a signed one has three",
            _ => "is no signed token: three parts in base64url, with a dot between them",
        });
    };
    let header = object(&part("a header", header)?)
        .ok_or_else(|| wrong("has a header that is no JSON object, or names a member twice"))?;
    let claims = object(&part("claims", claims)?)
        .ok_or_else(|| wrong("has claims that are no JSON object, or name a claim twice"))?;
    part("a signature", signature)?;
    Ok((header, claims, !signature.is_empty()))
}

/// What serde's own error says may quote the token.
fn object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    // An array of as many elements would be taken for the members in their order.
    let is_object = json.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(json).ok())?
}

/// RFC 7515 §2: without padding, line ends or anything else.
fn part(name: &str, text: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let decoded = URL_SAFE_NO_PAD.decode(text);
    let failed = |_| wrong(format!("has {name} that is not base64url without padding"));
    decoded.map(Zeroizing::new).map_err(failed)
}

/// A claim that is text, cut to what is shown.
fn words(name: &str, value: Option<Value>) -> Result<Option<String>, Refused> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(cut(&text))),
        Some(_) => invalid(format!("has a {name:?} that is no text")),
    }
}

/// Who the token is for: text, or a list of it.
fn audience(value: Option<Value>) -> Result<Option<String>, Refused> {
    let Some(Value::Array(all)) = value else {
        return words("aud", value);
    };
    let more = if all.len() > MAX_AUDIENCES {
        " …"
    } else {
        ""
    };
    let shown: Option<Vec<_>> = all
        .iter()
        .take(MAX_AUDIENCES)
        .map(|one| one.as_str().map(cut))
        .collect();
    match shown {
        Some(shown) => Ok(Some(shown.join(" ") + more)),
        None => invalid("has a \"aud\" that is neither text nor a list of it"),
    }
}

/// A `NumericDate`: seconds since 1970, perhaps with a fraction.
fn moment(name: &str, value: Option<Value>) -> Result<Option<String>, Refused> {
    let Some(value) = value else { return Ok(None) };
    match value.as_f64() {
        Some(seconds) if (0.0..=LAST).contains(&seconds) => {
            #[expect(clippy::cast_possible_truncation, reason = "it is in range")]
            let seconds = seconds as i64;
            Ok(Some(rfc3339(seconds)))
        }
        _ => invalid(format!(
            "has a {name:?} that is no time (seconds since 1970, before the year 10000)"
        )),
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn invalid<T>(what: impl AsRef<str>) -> Result<T, Refused> {
    Err(wrong(what))
}

fn wrong(what: impl AsRef<str>) -> Refused {
    Refused::Invalid(format!("{TOKEN:?} {}", what.as_ref()))
}

#[cfg(test)]
mod tests;
