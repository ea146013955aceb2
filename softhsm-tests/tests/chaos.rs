//! Every code that PKCS#11 has, answered by each function on the way of a request: each
//! answer is right or says to try later, no try of the PIN is wasted, and there is full
//! service once the token behaves again, without a restart of the daemon.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use client::{Error, Manager, Provider};
use faulty_pkcs11::{Code, Fault, code::CODES};
use softhsm_tests::{
    Site,
    kind::Kind,
    load::{fetch, put, runtime},
};

const CONTENT: &[u8] = b"the content of the secret";

/// The vendor's own code that stands for all of them.
const VENDORS: (&str, u64) = ("vendor-defined", 0x8000_0042);

/// So often a code is answered in a row: to one call; and to that, to the canary that it is
/// put to, and to what is tried then.
const STRIKES: [u64; 2] = [1, 4];

struct Oracle {
    provider: Provider,
    manager: Manager,
    written: u32,
}

impl Oracle {
    /// Fetches and writes. Says whether both were done.
    async fn ask(&mut self, what: &str) -> bool {
        let fetched = match fetch(&self.provider, "key").await {
            Ok((content, _)) => {
                assert_eq!(content, CONTENT, "{what}");
                true
            }
            Err(Error::Unavailable(_)) => false,
            Err(other) => panic!("{what}: a fetch: {other:?}"),
        };
        let content = format!("content {}", self.written);
        let written = match put(&self.manager, "other", content.as_bytes()).await {
            Ok(number) => {
                self.written += 1;
                assert_eq!(number, self.written, "{what}: a version was lost");
                true
            }
            Err(Error::Unavailable(_)) => false,
            Err(other) => panic!("{what}: a put: {other:?}"),
        };
        fetched && written
    }

    /// Asks until both are done, as often as a client would.
    async fn is_served(&mut self, what: &str) {
        for _ in 0..100 {
            if self.ask(what).await {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{what}: no service once the token behaves");
    }
}

fn every_code_from(function: &str) {
    let site = Site::faulty("deadline = \"2s\"\nlongest-wait = \"100ms\"\n");
    let daemon = site.start();
    site.furnish(CONTENT);
    let runtime = runtime();
    runtime.block_on(async {
        let mut oracle = Oracle {
            provider: site.provider().await,
            manager: site.manager().await,
            written: 0,
        };
        let named = CODES.iter().map(|(name, code)| (*name, code.0));
        for (name, code) in named.chain([VENDORS]).filter(|(_, code)| *code != 0) {
            let what = format!("{function} × {name}");
            for strikes in STRIKES {
                site.fault(Fault {
                    function: function.to_owned(),
                    answer: Some(Code(code)),
                    times: Some(strikes),
                    ..Fault::default()
                });
                oracle.ask(&what).await;
            }
            site.mend();
            oracle.is_served(&what).await;
        }
    });
    assert!(!site.log().contains("refused the PIN"), "{}", site.log());
    assert!(!site.path("state/pin-refused").exists());
    daemon.stop_unharmed();
}

#[test]
fn every_code_from_c_decrypt_init() {
    every_code_from("C_DecryptInit");
}

#[test]
fn every_code_from_c_decrypt() {
    every_code_from("C_Decrypt");
}

#[test]
fn every_code_from_c_encrypt_init() {
    if !Kind::has(
        "every_code_from_c_encrypt_init",
        "master keys that encrypt in the token",
    ) {
        return;
    }
    every_code_from("C_EncryptInit");
}

#[test]
fn every_code_from_c_encrypt() {
    if !Kind::has(
        "every_code_from_c_encrypt",
        "master keys that encrypt in the token",
    ) {
        return;
    }
    every_code_from("C_Encrypt");
}
