//! Certificates and keys, as an operator hands them in: what is stored is accepted again
//! and stored the same. The input is a chain, a byte 0, and a key.
#![no_main]

use custody::secret::{Kind, fields::Fields};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (chain, key) = match input.iter().position(|&byte| byte == 0) {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (input, &[][..]),
    };
    let mut fields = Fields::default();
    fields.push("certificate-chain".to_owned(), chain.to_vec());
    fields.push("private-key".to_owned(), key.to_vec());
    let keystore = Kind::from_name("keystore").expect("there is that type");
    if let Ok(accepted) = keystore.accept(fields) {
        let stored = Fields::decode(&accepted.content).expect("what was encoded");
        let again = keystore.accept(stored).expect("what was stored");
        assert_eq!(again.content.expose(), accepted.content.expose());
    }
});
