//! Selectors, as an operator writes them: printing undoes parsing.
#![no_main]

use custody::selector::Selector;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(selector) = text.parse::<Selector>() {
        assert_eq!(selector.to_string(), canonical(text));
        assert_eq!(selector.to_string().parse(), Ok(selector));
    }
});

/// The one freedom there is: zeros before a number.
fn canonical(text: &str) -> String {
    for kind in ["unix:uid:", "unix:gid:"] {
        if let Some(digits) = text.strip_prefix(kind) {
            let number = digits.trim_start_matches('0');
            return format!("{kind}{}", if number.is_empty() { "0" } else { number });
        }
    }
    text.to_owned()
}
