//! Files of any form that `custodyctl import` recognises, under the passphrase "changeit": what
//! is found as a key or a certificate is one that its type takes.
#![no_main]

use custody::secret::{
    Kind,
    fields::Fields,
    recognise::{Certificate, Found, chain, recognise},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let mut pool = Vec::new();
    for found in recognise(file, Some("changeit")) {
        match found {
            Found::Key(key) => {
                takes("private-key", "private-key", key.expose());
                pool.extend(key.chain().iter().cloned());
            }
            Found::Certificate(certificate) => pool.push(certificate),
            Found::Crl(_) | Found::Public(_) | Found::Refused(_) => {}
        }
    }
    for at in 0..pool.len() {
        let chain = chain(&pool, at);
        assert_eq!(chain.first(), Some(&at));
    }
    if !pool.is_empty() && pool.len() <= 1000 {
        let pem: Vec<_> = pool.iter().flat_map(Certificate::to_pem).collect();
        takes("truststore", "certificates", &pem);
    }
});

fn takes(kind: &str, field: &str, value: &[u8]) {
    let mut fields = Fields::default();
    fields.push(field.to_owned(), value.to_vec());
    let kind = Kind::from_name(kind).expect("there is that type");
    assert!(kind.accept(fields).is_ok(), "what is recognised is taken");
}
