//! `crl-distributor`: certificate revocation lists, who signed them, and where newer ones
//! are found.

use x509_parser::{
    error::X509Error,
    prelude::{CertificateRevocationList, FromDer as _, X509Certificate},
};

use super::{
    Fields, Properties, Refused, Shape, Type, optional, required,
    x509::{
        MAX_COLLECTION, describe, encode, invalid, is_binary, parse, read, sections, to_pem,
        too_many,
    },
};

const CRLS: &str = "crls";
const ISSUERS: &str = "issuers";
const POINTS: &str = "distribution-points";

/// More lists than one set of authorities has.
const MAX_CRLS: usize = 100;
const LISTS: &str = "lists";

/// More places than anyone looks at.
const MAX_POINTS: usize = 100;

pub(super) struct CrlDistributor;

impl Type for CrlDistributor {
    fn name(&self) -> &'static str {
        "crl-distributor"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(CRLS), required(ISSUERS), optional(POINTS)] })
    }

    fn take(&self, given: Fields) -> Result<Fields, Refused> {
        let mut fields = Fields::default();
        for (name, value) in given {
            let stored = match name.as_str() {
                _ if value.is_empty() => Vec::new(),
                CRLS => {
                    let encode = |der: &Vec<u8>| encode("X509 CRL", der);
                    crls(&value)?.iter().map(encode).collect::<String>().into()
                }
                ISSUERS => to_pem(&read(ISSUERS, &value, MAX_COLLECTION)?),
                _ => (points(&value)?.join("\n") + "\n").into_bytes(),
            };
            fields.push(name, stored);
        }
        Ok(fields)
    }

    fn pem(&self) -> &'static [&'static str] {
        &[CRLS, ISSUERS]
    }

    fn publishes(&self) -> &'static [&'static str] {
        &["crls", "next-update", "crl", POINTS]
    }

    fn ends(&self) -> Option<&'static str> {
        Some("next-update")
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let issuers = values.get(ISSUERS).unwrap_or_default();
        let issuers = read(ISSUERS, issuers, MAX_COLLECTION)?;
        let issuers = parse(ISSUERS, &issuers)?;
        let ders = crls(values.get(CRLS).unwrap_or_default())?;
        let mut properties = vec![describe::property("crls", ders.len().to_string())];
        let (mut next, mut each) = (None, Vec::new());
        for (der, number) in ders.iter().zip(1..) {
            let Ok(([], crl)) = CertificateRevocationList::from_der(der) else {
                return Err(broken(number));
            };
            is_signed(&crl, number, &issuers)?;
            if let Some(this) = crl.next_update() {
                next = Some(next.map_or(this, |before| std::cmp::min(before, this)));
            }
            each.push(describe(&crl));
        }
        if let Some(next) = next {
            properties.push(describe::property("next-update", describe::time(next)));
        }
        let shown = each.into_iter().take(describe::SHOWN);
        properties.extend(shown.map(|crl| describe::property("crl", crl)));
        if let Some(places) = values.get(POINTS) {
            let places = describe::some_of(&points(places)?, " ");
            properties.push(describe::property(POINTS, places));
        }
        Ok(properties)
    }
}

fn broken(number: usize) -> Refused {
    invalid(format!(
        "CRL {number} of {CRLS:?} is not a well-formed certificate revocation list"
    ))
}

fn crls(value: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    if is_binary(value) {
        let mut found = Vec::new();
        let mut rest = value;
        while !rest.is_empty() {
            let (after, _) =
                CertificateRevocationList::from_der(rest).map_err(|_| broken(found.len() + 1))?;
            if found.len() == MAX_CRLS {
                return Err(too_many(CRLS, MAX_CRLS, LISTS));
            }
            found.push(rest[..rest.len() - after.len()].to_vec());
            rest = after;
        }
        return Ok(found);
    }
    let found: Vec<_> = sections(CRLS, value, MAX_CRLS, LISTS)?
        .into_iter()
        .filter(|pem| pem.tag() == "X509 CRL")
        .map(pem::Pem::into_contents)
        .collect();
    if found.is_empty() {
        return Err(invalid(format!(
            "{CRLS:?} holds no certificate revocation list in PEM or DER"
        )));
    }
    Ok(found)
}

/// Refuses a list that none of `issuers` signed: whoever can swap one could unrevoke.
fn is_signed(
    crl: &CertificateRevocationList<'_>,
    number: usize,
    issuers: &[X509Certificate<'_>],
) -> Result<(), Refused> {
    let name = describe::text(crl.issuer());
    let mut outcome = Err(invalid(format!(
        "{ISSUERS:?} lacks the certificate of {name:?}, which issued CRL {number} of {CRLS:?}"
    )));
    let namesakes = issuers
        .iter()
        .filter(|issuer| issuer.subject().as_raw() == crl.issuer().as_raw());
    for issuer in namesakes {
        outcome = match crl.verify_signature(issuer.public_key()) {
            Ok(()) => return Ok(()),
            Err(X509Error::SignatureUnsupportedAlgorithm) => Err(invalid(format!(
                "CRL {number} of {CRLS:?} is signed with {}, which is not checked here; have it \
                 signed with RSA, ECDSA (P-256, P-384) or Ed25519",
                describe::text(crl.signature_algorithm.algorithm.to_id_string())
            ))),
            Err(_) => Err(invalid(format!(
                "CRL {number} of {CRLS:?} is not signed by the key of {name:?} in {ISSUERS:?}"
            ))),
        };
    }
    outcome
}

fn describe(crl: &CertificateRevocationList<'_>) -> String {
    let next = crl.next_update().map_or("none".to_owned(), describe::time);
    format!(
        "{}; this-update {}; next-update {next}; {} revoked",
        describe::text(crl.issuer()),
        describe::time(crl.last_update()),
        crl.iter_revoked_certificates().count(),
    )
}

/// One address a line.
fn points(value: &[u8]) -> Result<Vec<String>, Refused> {
    let text = str::from_utf8(value).map_err(|_| invalid(format!("{POINTS:?} is not text")))?;
    let lines = text
        .lines()
        .zip(1..)
        .map(|(line, number)| (line.trim(), number));
    let points = lines
        .filter(|(line, _)| !line.is_empty())
        .map(|(line, number)| {
            is_url(line).then(|| line.to_owned()).ok_or_else(|| {
                invalid(format!(
                    "line {number} of {POINTS:?} is no address: one that begins with http://, \
                     https:// or ldap://, without user or password"
                ))
            })
        })
        .take(MAX_POINTS + 1)
        .collect::<Result<Vec<_>, _>>()?;
    match points.len() {
        0 => Err(invalid(format!("{POINTS:?} holds no address"))),
        1..=MAX_POINTS => Ok(points),
        _ => Err(invalid(format!(
            "{POINTS:?} has over {MAX_POINTS} addresses"
        ))),
    }
}

fn is_url(text: &str) -> bool {
    let rest = ["http://", "https://", "ldap://", "ldaps://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let is_plain = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_graphic());
    rest.is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        !host.is_empty() && !host.contains('@') && rest.len() <= 1000 && is_plain(rest)
    })
}

#[cfg(test)]
mod tests;
