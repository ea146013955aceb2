//! Names of groups, secrets and keys: what is accepted is safe as the name of a file.
#![no_main]

use custody::name::{GroupName, KeyId, MAX_LEN, SecretName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let group = text.parse::<GroupName>();
    assert_eq!(group.is_ok(), text.parse::<SecretName>().is_ok());
    if let Ok(group) = group {
        assert_eq!(group.as_str(), text);
        assert!(!text.is_empty() && text.len() <= MAX_LEN && text.is_ascii());
        assert!(!text.starts_with(['.', '-', '_']) && !text.contains(['/', '\0']));
    }
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
});
