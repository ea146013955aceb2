//! PKCS#12 files, and what looks like them, under the passphrase "changeit".
#![no_main]

use custody::secret::{Kind, fields::Fields};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    for name in ["keystore", "truststore"] {
        let mut fields = Fields::default();
        fields.push("pkcs12".to_owned(), file.to_vec());
        fields.push("passphrase".to_owned(), b"changeit".to_vec());
        let kind = Kind::from_name(name).expect("there is that type");
        if let Ok(accepted) = kind.accept(fields) {
            let stored = Fields::decode(&accepted.content).expect("what was encoded");
            assert!(kind.accept(stored).is_ok());
        }
    }
});
