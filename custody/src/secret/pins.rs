//! `certificate-pin-set`: SHA-256 digests of public keys that peers must have (RFC 7469).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Fields, Properties, Refused, Shape, Type, required,
    x509::{MAX_COLLECTION, describe, invalid, parse, read},
};

const PINS: &str = "pins";
const CERTIFICATES: &str = "certificates";

pub(super) struct PinSet;

impl Type for PinSet {
    fn name(&self) -> &'static str {
        "certificate-pin-set"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(PINS)] })
    }

    fn inputs(&self) -> &'static [&'static str] {
        &[CERTIFICATES]
    }

    /// Pins that are given and those of certificates are put together.
    fn take(&self, mut given: Fields) -> Result<Fields, Refused> {
        let mut pins = match given.get(PINS) {
            Some([]) => return Ok(given),
            Some(value) => lines(value)?,
            None => Vec::new(),
        };
        if let Some(value) = given.remove(CERTIFICATES) {
            let found = read(CERTIFICATES, &value, MAX_COLLECTION)?;
            pins.extend(parse(CERTIFICATES, &found)?.iter().map(describe::pin));
        }
        let mut fields = Fields::default();
        if !pins.is_empty() {
            pins.sort_unstable();
            pins.dedup();
            fields.push(PINS.to_owned(), (pins.join("\n") + "\n").into_bytes());
        }
        Ok(fields)
    }

    fn publishes(&self) -> &'static [&'static str] {
        &["count", "pins"]
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let pins = lines(values.get(PINS).unwrap_or_default())?;
        Ok(vec![
            describe::property("count", pins.len().to_string()),
            describe::property("pins", describe::some_of(&pins, " ")),
        ])
    }
}

/// One pin a line; what curl writes, `sha256//`, is the same.
fn lines(value: &[u8]) -> Result<Vec<String>, Refused> {
    let text = str::from_utf8(value).map_err(|_| invalid(format!("{PINS:?} is not text")))?;
    let lines = text
        .lines()
        .zip(1..)
        .map(|(line, number)| (line.trim(), number));
    let pins = lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .take(MAX_COLLECTION + 1)
        .map(|(line, number)| {
            pin(line).ok_or_else(|| {
                invalid(format!(
                    "line {number} of {PINS:?} is no pin: sha256/ and the base64 of 32 bytes"
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    match pins.len() {
        0 => Err(invalid(format!("{PINS:?} holds no pin"))),
        1..=MAX_COLLECTION => Ok(pins),
        _ => Err(invalid(format!("{PINS:?} has over {MAX_COLLECTION} pins"))),
    }
}

fn pin(line: &str) -> Option<String> {
    const ENCODED: usize = 44;
    let encoded = line.strip_prefix("sha256/")?;
    // Base64 may itself begin with a slash, so the length tells.
    let is_of_curl = encoded.len() == ENCODED + 1;
    let encoded = if is_of_curl {
        encoded.strip_prefix('/')?
    } else {
        encoded
    };
    let digest = STANDARD.decode(encoded).ok()?;
    (digest.len() == 32).then(|| format!("sha256/{}", STANDARD.encode(digest)))
}

#[cfg(test)]
mod tests {
    use rcgen::PKCS_ECDSA_P256_SHA256;

    use super::*;
    use crate::secret::tool::{accept, leaf, property, refusal, root};

    #[test]
    fn pins_are_given_or_derived_and_stored_once_each() {
        let (certificate, _) = leaf(&root("root"), &PKCS_ECDSA_P256_SHA256);
        let given: &[(&str, &[u8])] = &[(CERTIFICATES, certificate.as_bytes())];
        let derived = accept("certificate-pin-set", given).unwrap();
        let pin = property(&derived.properties, "pins").to_owned();
        let zero = format!("sha256/{}", STANDARD.encode([0; 32]));
        let written = format!("# ours\n{zero}\n\n {}\n", pin.replacen('/', "//", 1));
        let given: &[(&str, &[u8])] = &[(PINS, written.as_bytes()), given[0]];
        let both = accept("certificate-pin-set", given).unwrap();
        assert_eq!(property(&both.properties, "count"), "2");
        let stored = Fields::decode(&both.content).unwrap();
        let mut pins = [zero, pin];
        pins.sort_unstable();
        let expected = pins.join("\n") + "\n";
        assert_eq!(stored.get(PINS), Some(expected.as_bytes()));
    }

    #[test]
    fn a_pin_that_begins_with_a_slash_stays_what_it_is() {
        let pin = format!("sha256/{}", STANDARD.encode([0xff; 32]));
        for written in [&pin, &pin.replacen('/', "//", 1)] {
            let accepted = accept("certificate-pin-set", &[(PINS, written.as_bytes())]).unwrap();
            assert_eq!(property(&accepted.properties, "pins"), pin);
        }
    }

    #[test]
    fn what_is_no_pin_is_refused_by_its_line() {
        let zero = STANDARD.encode([0; 32]);
        for line in [
            zero.clone(),
            format!("sha1/{zero}"),
            format!("sha256/{}", STANDARD.encode([0; 20])),
            "sha256/%".to_owned(),
        ] {
            let written = format!("sha256/{zero}\n{line}\n");
            let told = refusal("certificate-pin-set", &[(PINS, written.as_bytes())]);
            assert!(told.starts_with("line 2 of "), "{told}");
        }
        let many = format!("sha256/{zero}\n").repeat(MAX_COLLECTION + 1);
        let told = refusal("certificate-pin-set", &[(PINS, many.as_bytes())]);
        assert!(told.contains("over 1000 pins"), "{told}");
        let one = pem::parse(root("a").pem()).unwrap().into_contents();
        let many = one.repeat(MAX_COLLECTION + 1);
        let told = refusal("certificate-pin-set", &[(CERTIFICATES, &many)]);
        assert!(told.contains("over 1000 certificates"), "{told}");
        assert!(refusal("certificate-pin-set", &[(PINS, b"#\n")]).contains("holds no pin"));
        assert!(refusal("certificate-pin-set", &[]).contains("needs the field"));
    }
}
