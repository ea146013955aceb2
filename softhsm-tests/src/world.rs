//! What most tests need in a daemon: a group, a secret, a grant to whoever runs the test.

use std::process::Output;

use nix::unistd::getuid;
use rcgen::{CertificateParams, KeyPair};

use crate::{Site, text};

/// A TLS key pair in PEM.
#[derive(Debug)]
pub struct TlsPair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl TlsPair {
    /// Makes one for `localhost`.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Default for TlsPair {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// Runs `custodyctl` with `arguments`, which must succeed; gives what it printed.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = self.try_ctl(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs `custodyctl` with `arguments`.
    pub fn try_ctl(&self, arguments: &[&str]) -> Output {
        let mut command = self.custodyctl();
        command.args(arguments).output().expect("custodyctl runs")
    }

    /// Writes `content` as a new version of the blob `secret`.
    pub fn put(&self, secret: &str, content: &[u8]) -> Output {
        let file = tempfile::NamedTempFile::new_in(self.folder()).expect("a file");
        std::fs::write(file.path(), content).expect("written");
        let path = file.path().to_str().expect("text");
        self.try_ctl(&["secret", "put", secret, "--type", "blob", path])
    }

    /// Makes the group of `secret` and stores a TLS key pair there; the private key's file
    /// is gone afterwards, the certificate is in `cert.pem`.
    pub fn put_tls(&self, secret: &str) -> TlsPair {
        let (group, _) = secret.split_once('/').expect("a group and a name");
        self.ctl(&["group", "create", group]);
        let pair = TlsPair::new();
        let put = self.try_put_tls(secret, &pair);
        assert!(put.status.success(), "{}", text(&put));
        pair
    }

    /// Stores `pair` at `secret`; leaves the files that [`put_tls`](Self::put_tls) leaves.
    pub fn try_put_tls(&self, secret: &str, pair: &TlsPair) -> Output {
        std::fs::write(self.path("cert.pem"), &pair.certificate).expect("written");
        std::fs::write(self.path("key.pem"), &pair.key).expect("written");
        let chain = format!("certificate-chain={}", self.path("cert.pem").display());
        let key = format!("private-key={}", self.path("key.pem").display());
        let put = self.try_ctl(&["secret", "put", secret, "--type", "keystore", &chain, &key]);
        std::fs::remove_file(self.path("key.pem")).expect("removed");
        put
    }

    /// Makes the group `web`, the blob `web/key` with `content`, and a grant of all of
    /// `web` to the user who runs the test.
    pub fn furnish(&self, content: &[u8]) {
        self.ctl(&["group", "create", "web"]);
        let output = self.put("web/key", content);
        assert!(output.status.success(), "{}", text(&output));
        self.ctl(&[
            "grant",
            "add",
            "--allow-weak",
            "web",
            "*",
            "--uid",
            &getuid().to_string(),
        ]);
    }

    /// Fetches `secret`.
    pub fn fetch(&self, secret: &str) -> Output {
        self.try_ctl(&["fetch", secret])
    }
}
