//! Dotenv files, as `custodyctl` reads them: what is read, and written for delivery in single
//! quotes, is read again as the same.
#![no_main]

#[rustfmt::skip]
#[path = "../../client/src/bin/custodyctl/content/dotenv.rs"]
mod dotenv;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let Ok(variables) = dotenv::parse(file) else {
        return;
    };
    let mut written = String::new();
    for (name, value) in &variables {
        let value = str::from_utf8(value).expect("it is read from text");
        // No escape makes a quotation mark within single quotes.
        if value.contains('\'') {
            return;
        }
        written += &format!("export {name}='{value}'\n");
    }
    let again = dotenv::parse(written.as_bytes()).expect("it is written as it is read");
    assert!(again == variables);
});
