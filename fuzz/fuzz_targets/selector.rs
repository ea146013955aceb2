//! Selectors, as an operator writes them: printing undoes parsing, and a name is no number.
#![no_main]

use custody::selector::{Selector, written::Written};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match text.parse::<Written>() {
        Ok(Written::Selector(selector)) => {
            assert_eq!(text.parse(), Ok(selector.clone()));
            assert_eq!(selector.to_string(), canonical(text));
            assert_eq!(selector.to_string().parse(), Ok(selector));
        }
        Ok(Written::User(name) | Written::Group(name) | Written::SupplementaryGroup(name)) => {
            assert!(text.ends_with(&name) && !name.is_empty());
            assert!(text.parse::<Selector>().is_err());
        }
        Err(_) => assert!(text.parse::<Selector>().is_err()),
    }
});

/// The one freedom there is: zeros before a number.
fn canonical(text: &str) -> String {
    for kind in ["unix:uid:", "unix:gid:", "unix:supplementary_gid:"] {
        if let Some(digits) = text.strip_prefix(kind) {
            let number = digits.trim_start_matches('0');
            return format!("{kind}{}", if number.is_empty() { "0" } else { number });
        }
    }
    text.to_owned()
}
