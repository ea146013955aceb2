//! Kubernetes manifests, as `custodyctl import` reads them. What a Secret holds is decoded
//! once, by names that are each there once, and shows in no `Debug`.
#![no_main]
#![allow(dead_code, reason = "of the command, only the parser is here")]

#[rustfmt::skip]
#[path = "../../client/src/bin/custodyctl/import/manifest.rs"]
mod manifest;
#[rustfmt::skip]
#[path = "../../client/src/bin/custodyctl/import/yaml.rs"]
mod yaml;

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use manifest::What;

fuzz_target!(|file: &[u8]| {
    for object in manifest::read(file).unwrap_or_default() {
        if let What::Secret(secret) = &object.what {
            let names: BTreeSet<_> = secret.values.names().collect();
            assert_eq!(names.len(), secret.values.len());
            assert!(!secret.name.is_empty());
        }
        drop(format!("{object:?}"));
    }
});
