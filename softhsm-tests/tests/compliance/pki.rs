//! Certificates that end when they are told to.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str, year: i32) -> CertificateParams {
    let mut params = CertificateParams::new(vec![format!("{name}.example.org")]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    params
}

/// An authority that ends in that year, below another or below none.
pub(crate) fn authority(name: &str, year: i32, issuer: Option<&Authority>) -> Authority {
    let mut params = params(name, year);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    match issuer {
        Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer).unwrap(),
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
    }
}

/// A certificate that ends in that year, and its key, in PEM.
pub(crate) fn leaf(issuer: &Authority, year: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = params("leaf", year).signed_by(&key, issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A revocation list whose next update is in that year.
pub(crate) fn crl(issuer: &Authority, year: i32) -> String {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2019, 1, 1),
        next_update: date_time_ymd(year, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}
