//! `custodyctl secret rotate --csr`, `csr` and `certify`: keys that custodyd makes, and their
//! certificates.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::Args;
use client::v1;
use custody::{name::SecretId, secret::request::KeyAlgorithm};
use serde::Serialize;

use super::{
    life::{Terms, seconds},
    rotate,
    view::Version,
};
use crate::{
    about::About,
    args::Global,
    content::Error,
    failure::Failure,
    files,
    output::{self, View},
};

/// A key pair and a request for its certificate.
#[derive(Debug, Args)]
pub(crate) struct Csr {
    /// Make a key pair for a keystore, and write the request for its certificate to this
    /// file.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["length", "alphabet", "set", "expect", "pending", "overlap", "keep"]
    )]
    csr: Option<PathBuf>,
    /// What the key is for: ec-p256, ec-p384, ed25519, rsa-3072 or rsa-4096; like the one
    /// there is unless it is said.
    #[arg(long, value_name = "ALGORITHM", requires = "csr")]
    key_algorithm: Option<KeyAlgorithm>,
    /// The subject, such as 'CN=www.example.org,O=Example'; that of the certificate there is
    /// unless it is said.
    #[arg(long, value_name = "NAME", requires = "csr")]
    subject: Option<String>,
    /// A subject alternative name: dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS; those of
    /// the certificate there is unless some are given.
    #[arg(long, value_name = "KIND:NAME", requires = "csr")]
    san: Vec<String>,
}

impl Csr {
    /// What to ask for, and where the answer goes, if this is what is wanted.
    pub(super) fn into_request(
        self,
        secret: &SecretId,
        about: &About,
    ) -> Option<(v1::RequestCertificateRequest, PathBuf)> {
        let request = v1::RequestCertificateRequest {
            group: secret.group.to_string(),
            name: secret.name.to_string(),
            key_algorithm: self
                .key_algorithm
                .map(|algorithm| algorithm.name().to_owned()),
            subject: self.subject,
            names: self.san,
            description: about.description.clone(),
            labels: about.labels(),
        };
        Some((request, self.csr?))
    }
}

/// A request that waits for its certificate.
#[derive(Debug, Serialize)]
struct Request {
    group: String,
    name: String,
    version: Version,
    request: String,
    /// Where the request was written.
    file: Option<PathBuf>,
}

/// Has a key pair made, and writes the request for its certificate.
pub(super) async fn request(
    global: &Global,
    secret: SecretId,
    request: v1::RequestCertificateRequest,
    file: &Path,
) -> Result<(), Failure> {
    let answer = global.manager().await?.request_certificate(request).await;
    let answer = answer.map_err(|call| Failure::of_change(call, &secret))?;
    // If that fails the request is kept all the same: 'secret csr' gives it again.
    fs::write(file, &answer.pem).map_err(|error| files::Error::Write(file.to_owned(), error))?;
    let shown = Request::new(&secret, answer, Some(file));
    output::show(global.output, &shown)
}

/// Shows the request that waits for its certificate.
pub(super) async fn show(global: &Global, secret: &SecretId) -> Result<(), Failure> {
    let request = v1::GetCertificateRequestRequest {
        group: secret.group.to_string(),
        name: secret.name.to_string(),
    };
    let answer = global
        .manager()
        .await?
        .get_certificate_request(request)
        .await;
    let answer = answer.map_err(Failure::Manager)?;
    output::show(global.output, &Request::new(secret, answer, None))
}

/// Stores a certificate that was signed.
pub(super) async fn certify(
    global: &Global,
    secret: SecretId,
    chain: &Path,
    terms: Terms,
) -> Result<(), Failure> {
    let read = if chain == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(chain)
    };
    let certificate_chain =
        read.map_err(|error| Failure::Content(Error::Read(chain.display().to_string(), error)))?;
    let request = v1::CertifySecretRequest {
        group: secret.group.to_string(),
        name: secret.name.to_string(),
        certificate_chain,
        expected: terms.expect,
        pending: terms.pending,
        overlap_seconds: seconds(terms.overlap)?,
        keep: terms.keep,
    };
    let answer = global.manager().await?.certify_secret(request).await;
    let version = answer.map_err(|call| Failure::of_change(call, &secret))?;
    rotate::show(global, secret, version, terms.pending).await
}

impl Request {
    fn new(secret: &SecretId, answer: v1::CertificateRequest, file: Option<&Path>) -> Self {
        Self {
            group: secret.group.to_string(),
            name: secret.name.to_string(),
            version: answer.version.unwrap_or_default().into(),
            request: answer.pem,
            file: file.map(Path::to_owned),
        }
    }
}

impl View for Request {
    fn text(&self) -> Option<String> {
        let Some(file) = &self.file else {
            return Some(self.request.trim_end().to_owned());
        };
        let secret = format!("{}/{}", self.group, self.name);
        let next = format!("'custodyctl secret certify {secret} CERTIFICATE', once it is signed");
        let last = [
            ("request", Some(file.display().to_string())),
            ("next", Some(next)),
        ];
        self.version.with(&secret, last)
    }
}
