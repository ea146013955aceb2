//! What every type has in common.

use proptest::prelude::*;

use super::*;
use crate::envelope::Content;

fn fields(values: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in values {
        fields.push((*name).into(), value.as_bytes().to_vec());
    }
    fields
}

/// What is stored of `values` in a secret of the type `kind`, and what is public of it.
pub(super) fn accept(kind: &str, values: &[(&str, &str)]) -> Result<(Fields, Properties), Refused> {
    let accepted = Kind::from_name(kind)?.accept(fields(values))?;
    let stored = Fields::decode(&accepted.content).unwrap();
    Ok((stored, accepted.properties))
}

#[test]
fn every_type_is_found_by_its_name_and_has_fields() {
    for name in Kind::names() {
        let kind = Kind::from_name(name).unwrap();
        assert_eq!(kind.name(), name);
        assert!(!matches!(kind.shape(), Shape::Fields([])));
    }
    assert!(matches!(
        Kind::from_name("x"),
        Err(Refused::NoSuchType { .. })
    ));
}

#[test]
fn fields_that_do_not_fit_the_type_are_refused_by_name() {
    let password = Kind::from_name("password").unwrap();
    let refusal = |values: &[(&str, &str)]| password.accept(fields(values)).unwrap_err();
    assert!(matches!(
        refusal(&[]),
        Refused::Missing {
            field: "password",
            ..
        }
    ));
    assert!(matches!(
        refusal(&[("password", "x"), ("pin", "1")]),
        Refused::Unknown { field, .. } if field == "pin"
    ));
    assert_eq!(
        refusal(&[("password", "x"), ("password", "y")]),
        Refused::Twice("password".into())
    );
    assert_eq!(refusal(&[("password", "")]), Refused::Empty("password"));
    let huge = "x".repeat(Content::MAX_LEN + 1);
    assert_eq!(
        refusal(&[("password", &huge)]),
        Refused::TooLarge(huge.len())
    );
}

#[test]
fn accepted_content_comes_apart_again() {
    let blob = Kind::from_name("blob").unwrap();
    let accepted = blob.accept(fields(&[("content", "\0\u{ff}")])).unwrap();
    let decoded = Fields::decode(&accepted.content).unwrap();
    assert_eq!(decoded.get("content"), Some("\0\u{ff}".as_bytes()));
    assert_eq!(format!("{decoded:?}"), r#"{"content"}"#);
}

const MANUAL: &str = include_str!("../../../docs/types.md");

#[test]
fn the_manual_names_every_type_and_all_that_it_has() {
    for kind in Kind::all() {
        let begins = format!("| `{}` |", kind.name());
        let mut rows = MANUAL.lines().filter(|line| line.starts_with(&begins));
        let row = rows.next().unwrap_or_else(|| panic!("{kind:?} has no row"));
        let quoted = |names: &[&str]| {
            let names = names.iter().map(|name| format!("`{name}`"));
            names.collect::<Vec<_>>().join(", ")
        };
        let fields = match kind.shape() {
            Shape::Fields(fields) => {
                let shown = fields.iter().map(|field| match field.is_required {
                    true => format!("`{}`", field.name),
                    false => format!("[`{}`]", field.name),
                });
                shown.collect::<Vec<_>>().join(", ")
            }
            Shape::Free => "any".to_owned(),
        };
        let cells = [&*fields, &quoted(kind.inputs()), &quoted(kind.publishes())];
        let shown: Vec<_> = row.split('|').skip(2).map(str::trim).take(3).collect();
        assert_eq!(shown, cells, "{kind:?}");
        let section = format!("### `{}`\n", kind.name());
        assert!(MANUAL.contains(&section), "{kind:?} has no section");
    }
}

#[test]
fn the_example_of_the_manual_is_the_type_itself() {
    let (source, _tests) = include_str!("api_key.rs")
        .split_once("\n#[cfg(test)]")
        .unwrap();
    assert!(MANUAL.contains(&format!("```rust\n{}\n```", source.trim_end())));
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Fields::decode(&Content::take(bytes));
    }
}
