//! `key-value`: any fields, such as the environment of a service.

use super::{Fields, Properties, Refused, Shape, Type};

/// The most bytes of names that are published; people find a secret by them, and a list
/// of secrets has to stay a list.
const MAX_SHOWN: usize = 4096;

pub(super) struct KeyValue;

impl Type for KeyValue {
    fn name(&self) -> &'static str {
        "key-value"
    }

    fn shape(&self) -> Shape {
        Shape::Free
    }

    fn publishes(&self) -> &'static [&'static str] {
        &["count", "names"]
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        let mut shown = String::new();
        for name in values.names() {
            if shown.len() + name.len() > MAX_SHOWN {
                shown.push_str(" …");
                break;
            }
            if !shown.is_empty() {
                shown.push(' ');
            }
            shown.push_str(name);
        }
        Ok(vec![
            ("count".to_owned(), values.len().to_string()),
            ("names".to_owned(), shown),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::tests::accept;

    #[test]
    fn names_are_public_and_values_are_not() {
        let given = [
            ("DB_URL", "postgres://x:y@z"),
            ("EMPTY", ""),
            ("a.b-c", "1"),
        ];
        let (stored, properties) = accept("key-value", &given).unwrap();
        assert_eq!(
            stored.names().collect::<Vec<_>>(),
            ["DB_URL", "EMPTY", "a.b-c"]
        );
        assert_eq!(stored.get("EMPTY"), Some(&[][..]));
        assert_eq!(
            properties,
            [
                ("count".into(), "3".into()),
                ("names".into(), "DB_URL EMPTY a.b-c".into())
            ]
        );
    }

    #[test]
    fn names_that_no_variable_has_are_refused_and_many_are_cut() {
        let long = "A".repeat(101);
        assert!(accept("key-value", &[(&long[1..], "x")]).is_ok());
        for (given, refusal) in [
            (vec![], Refused::NoField { kind: "key-value" }),
            (vec![("", "x")], Refused::FieldName(String::new())),
            (vec![("a b", "x")], Refused::FieldName("a b".into())),
            (vec![("A", "x"), ("A", "y")], Refused::Twice("A".into())),
            (vec![(&long, "x")], Refused::FieldName(long.clone())),
        ] {
            assert_eq!(accept("key-value", &given).err(), Some(refusal));
        }
        let names: Vec<_> = (0..1000)
            .map(|number| format!("NAME_{number:04}"))
            .collect();
        let given: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let (_, properties) = accept("key-value", &given).unwrap();
        assert_eq!(properties[0].1, "1000");
        assert!(properties[1].1.starts_with("NAME_0000 NAME_0001 "));
        assert!(properties[1].1.ends_with(" NAME_0408 …"));
        let more = [&given[..], &[("one-more", "x")]].concat();
        assert_eq!(
            accept("key-value", &more).err(),
            Some(Refused::ManyFields(1001))
        );
    }
}
