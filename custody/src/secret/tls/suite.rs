//! The cipher suites that rustls and OpenSSL know.

/// A cipher suite, by both its names.
pub(super) struct Suite {
    pub(super) iana: &'static str,
    openssl: &'static str,
    /// Whether rustls has it, besides OpenSSL.
    pub(super) is_in_rustls: bool,
}

const fn both(iana: &'static str, openssl: &'static str) -> Suite {
    Suite {
        iana,
        openssl,
        is_in_rustls: true,
    }
}

const fn openssl(iana: &'static str, openssl: &'static str) -> Suite {
    Suite {
        iana,
        openssl,
        is_in_rustls: false,
    }
}

/// Those with forward secrecy and authenticated encryption. The first nine are
/// `rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES` of rustls 0.23; the others are the
/// suites of `openssl ciphers -stdname ALL` of OpenSSL 3.0 that use (EC)DHE with RSA or
/// ECDSA, and AES-GCM, AES-CCM with a whole tag, or ChaCha20.
const SUITES: &[Suite] = &[
    both("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    both("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
    both(
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
    both(
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    both(
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    both(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ),
    both(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    both(
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    both(
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ),
    openssl("TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_SHA256"),
    openssl("TLS_ECDHE_ECDSA_WITH_AES_256_CCM", "ECDHE-ECDSA-AES256-CCM"),
    openssl("TLS_ECDHE_ECDSA_WITH_AES_128_CCM", "ECDHE-ECDSA-AES128-CCM"),
    openssl(
        "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
        "DHE-RSA-AES256-GCM-SHA384",
    ),
    openssl(
        "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
        "DHE-RSA-AES128-GCM-SHA256",
    ),
    openssl(
        "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "DHE-RSA-CHACHA20-POLY1305",
    ),
    openssl("TLS_DHE_RSA_WITH_AES_256_CCM", "DHE-RSA-AES256-CCM"),
    openssl("TLS_DHE_RSA_WITH_AES_128_CCM", "DHE-RSA-AES128-CCM"),
];

impl Suite {
    /// The one of that name, in the form of IANA, OpenSSL or rustls (`TLS13_…`).
    pub(super) fn from_name(name: &str) -> Option<&'static Self> {
        let iana = match name.strip_prefix("TLS13_") {
            Some(rest) => &format!("TLS_{rest}"),
            None => name,
        };
        SUITES
            .iter()
            .find(|suite| suite.iana == iana || suite.openssl == name)
    }

    pub(super) fn example() -> &'static str {
        SUITES[0].iana
    }

    /// Whether it is of TLS 1.2, or else of 1.3. Only suites of TLS 1.2 name how keys are agreed on.
    pub(super) fn is_tls12(&self) -> bool {
        self.iana.contains("_WITH_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::tool::Bench;

    #[test]
    fn every_suite_is_known_to_openssl_by_both_names() {
        let Some(bench) = Bench::with("openssl") else {
            return;
        };
        let listed = bench.run("openssl ciphers -stdname -v ALL:COMPLEMENTOFALL");
        let listed = listed
            + &bench.run("openssl ciphers -stdname -v -ciphersuites TLS_AES_128_CCM_SHA256 ALL");
        for suite in SUITES {
            let version = if suite.is_tls12() {
                "TLSv1.2"
            } else {
                "TLSv1.3"
            };
            let is_it = |line: &str| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.get(..4) == Some(&[suite.iana, "-", suite.openssl, version])
            };
            assert!(listed.lines().any(is_it), "{}", suite.iana);
        }
    }
}
