//! What answers have a place for, by the interface as it is described.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::{DescriptorProto, field_descriptor_proto::Type};
use softhsm_tests::raw;

/// Every message there is, by its full name with a dot before it.
fn messages() -> BTreeMap<String, DescriptorProto> {
    fn enter(all: &mut BTreeMap<String, DescriptorProto>, scope: &str, found: DescriptorProto) {
        let name = format!("{scope}.{}", found.name());
        for nested in found.nested_type.clone() {
            enter(all, &name, nested);
        }
        all.insert(name, found);
    }
    let mut all = BTreeMap::new();
    for file in raw::descriptors().file {
        let scope = format!(".{}", file.package());
        for message in file.message_type {
            enter(&mut all, &scope, message);
        }
    }
    all
}

/// Everything that an answer of the type `name` can have in it: the names of the
/// messages, and of the fields that are of type `bytes`.
fn reach(
    all: &BTreeMap<String, DescriptorProto>,
    name: &str,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut seen, mut bytes) = (BTreeSet::new(), BTreeSet::new());
    let mut left = vec![name.to_owned()];
    while let Some(name) = left.pop() {
        let message = all
            .get(&name)
            .unwrap_or_else(|| panic!("{name} is not described"));
        for field in &message.field {
            match field.r#type() {
                Type::Bytes => drop(bytes.insert(format!("{name}.{}", field.name()))),
                Type::Message | Type::Group => left.push(field.type_name().to_owned()),
                _ => {}
            }
            left.retain(|name| !seen.contains(name));
        }
        seen.insert(name);
    }
    (seen, bytes)
}

const CONTENT: &str = ".custody.v1.Field";

/// The files of the database and the journal, which hold content as ciphertext alone: that is
/// looked for in what the calls below answer.
const ARCHIVE: &str = ".custody.v1.BackupResponse.data";

#[test]
fn no_answer_of_the_manager_has_a_place_for_content() {
    let all = messages();
    let methods = raw::methods("Manager");
    assert!(methods.len() >= 12);
    for (method, described) in methods {
        let (seen, mut bytes) = reach(&all, described.output_type());
        assert!(!seen.contains(CONTENT), "{method} can answer with content");
        if method == "Backup" {
            bytes.retain(|field| field != ARCHIVE);
        }
        assert!(bytes.is_empty(), "{method} can answer with {bytes:?}");
        // It could hold anything.
        assert!(!seen.contains(".google.protobuf.Any"), "{method}");
    }
}

#[test]
fn content_comes_from_fetch_and_from_no_other_method_of_the_provider() {
    let all = messages();
    for (method, described) in raw::methods("Provider") {
        let (seen, bytes) = reach(&all, described.output_type());
        let releases = method == "Fetch";
        assert_eq!(seen.contains(CONTENT), releases, "{method}");
        assert_eq!(!bytes.is_empty(), releases, "{method}: {bytes:?}");
    }
}
