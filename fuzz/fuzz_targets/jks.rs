//! Java key stores. Without a passphrase, so that what is read is not turned away for
//! its digest; private keys are then tried with an empty one.
#![no_main]

use custody::secret::{Kind, fields::Fields};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|entries: &[u8]| {
    let mut file = vec![0xfe, 0xed, 0xfe, 0xed];
    file.extend_from_slice(entries);
    for name in ["keystore", "truststore"] {
        let mut fields = Fields::default();
        fields.push("jks".to_owned(), file.clone());
        let kind = Kind::from_name(name).expect("there is that type");
        if let Ok(accepted) = kind.accept(fields) {
            let stored = Fields::decode(&accepted.content).expect("what was encoded");
            assert!(kind.accept(stored).is_ok());
        }
    }
});
