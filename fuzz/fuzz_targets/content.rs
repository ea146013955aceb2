//! Encoded fields, as they are stored: decoding takes any bytes.
#![no_main]

use custody::{envelope::Content, secret::fields::Fields};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(fields) = Fields::decode(&Content::take(bytes.to_vec())) {
        let size: usize = fields
            .into_iter()
            .map(|(name, value)| name.len() + value.len() + 8)
            .sum();
        assert_eq!(size + 4, bytes.len());
    }
});
