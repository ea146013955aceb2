//! The tools that people make key stores with, for tests, and what they are given.

use std::{env, fs, io::Write as _, process::Command, thread};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SignatureAlgorithm,
};
use tempfile::TempDir;

use super::{Accepted, Fields, Kind, Properties, Refused};

/// Fields by name.
pub(super) fn fields(values: &[(&str, &[u8])]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in values {
        fields.push((*name).into(), value.to_vec());
    }
    fields
}

pub(super) fn accept(kind: &str, values: &[(&str, &[u8])]) -> Result<Accepted, Refused> {
    Kind::from_name(kind)?.accept(fields(values))
}

/// The message with which it is refused.
pub(super) fn refusal(kind: &str, values: &[(&str, &[u8])]) -> String {
    accept(kind, values).unwrap_err().to_string()
}

pub(super) fn property<'a>(properties: &'a Properties, name: &str) -> &'a str {
    let found = properties.iter().find(|(property, _)| property == name);
    found.map_or("", |(_, value)| value)
}

pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A self-signed authority.
pub(super) fn root(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

/// An authority below another.
pub(super) fn intermediate(name: &str, issuer: &Authority) -> Authority {
    let key = KeyPair::generate().unwrap();
    CertifiedIssuer::signed_by(authority_params(name), key, issuer).unwrap()
}

/// A certificate for www.example.org and its key, in PEM.
pub(super) fn leaf(issuer: &Authority, algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let params = CertificateParams::new(vec!["www.example.org".into()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Takes note that a test is not run for want of `tool`, where `make test` lists that. Where
/// every test must be run, fails.
fn skip(tool: &str) {
    let no_skips = env::var_os("CUSTODYD_NO_SKIPS").is_some();
    assert!(!no_skips, "a test must be run here, and needs {tool}");
    if let Some(list) = env::var_os("CUSTODYD_SKIPPED") {
        let list = fs::OpenOptions::new().create(true).append(true).open(list);
        let thread = thread::current();
        // Each test has a thread that is called by its name.
        let line = format!("{} needs {tool}\n", thread.name().unwrap_or("a test"));
        list.and_then(|mut list| list.write_all(line.as_bytes()))
            .unwrap();
    }
}

/// A folder to run a tool in.
pub(super) struct Bench(TempDir);

impl Bench {
    /// `None`, and the test is skipped, if `tool` is not installed here.
    pub(super) fn with(tool: &str) -> Option<Self> {
        if Command::new(tool).arg("-help").output().is_err() {
            skip(tool);
            return None;
        }
        Some(Self(tempfile::tempdir().unwrap()))
    }

    pub(super) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    pub(super) fn take(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap()
    }

    /// Runs a command of words separated by spaces, and gives what it prints.
    pub(super) fn run(&self, command: &str) -> String {
        let (output, is_success) = self.try_run(command);
        assert!(is_success, "{command}: {output}");
        output
    }

    pub(super) fn try_run(&self, command: &str) -> (String, bool) {
        let mut words = command.split_whitespace();
        let output = Command::new(words.next().unwrap())
            .args(words.map(|word| if word == "''" { "" } else { word }))
            .env("LC_ALL", "C")
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (
            String::from_utf8_lossy(&printed).into_owned(),
            output.status.success(),
        )
    }
}
