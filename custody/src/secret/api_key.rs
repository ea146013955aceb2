//! `api-key`: a key that a service takes in a header or a parameter.

use super::{
    Fields, Properties, Refused, Shape, Type,
    make::{self, Makes},
    optional, public, required,
    text::{Form, TOKEN, text},
};

const KEY: &str = "key";
const ID: &str = "id";
const HEADER: &str = "header";

const IDENTIFIER: Form = Form { max: 255, ..TOKEN };

/// A token of RFC 9110 §5.6.2, which is what a header's name is.
const HEADER_NAME: Form = Form {
    max: 100,
    holds: "what the name of a header may: letters, digits and !#$%&'*+-.^_`|~",
    allows: |c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c),
};

pub(super) struct ApiKey;

impl Type for ApiKey {
    fn name(&self) -> &'static str {
        "api-key"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(KEY), optional(ID), optional(HEADER)] })
    }

    fn lines(&self) -> &'static [&'static str] {
        &[KEY, ID, HEADER]
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[ID, HEADER]
    }

    fn makes(&self) -> Makes {
        Makes::New(|order, _, mut fields, random| {
            let key = make::text(order, &make::TOKEN, random)?;
            fields.push_wiped(KEY.to_owned(), key);
            Ok(fields)
        })
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        text(values, KEY, &TOKEN)?;
        let id = public(ID, text(values, ID, &IDENTIFIER)?);
        let header = public(HEADER, text(values, HEADER, &HEADER_NAME)?);
        Ok(id.chain(header).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::tests::accept;

    #[test]
    fn the_id_and_the_header_are_public_and_the_key_is_not() {
        let (_, properties) = accept("api-key", &[(KEY, "sk_live_1")]).unwrap();
        assert_eq!(properties, []);
        let given = [(HEADER, "X-Api-Key"), (KEY, "sk_live_1"), (ID, "billing")];
        let (stored, properties) = accept("api-key", &given).unwrap();
        assert_eq!(stored.names().collect::<Vec<_>>(), [KEY, ID, HEADER]);
        assert_eq!(
            properties,
            [
                ("id".into(), "billing".into()),
                ("header".into(), "X-Api-Key".into())
            ]
        );
    }

    #[test]
    fn what_a_request_cannot_carry_is_refused_by_field() {
        for (field, value) in [
            (KEY, "two words"),
            (KEY, "line\n"),
            (ID, "two words"),
            (ID, &*"x".repeat(256)),
            (HEADER, "X-Api-Key:"),
            (HEADER, "X Api Key"),
            (HEADER, &*"x".repeat(101)),
        ] {
            let key = (field != KEY).then_some((KEY, "k"));
            let given: Vec<_> = key.into_iter().chain([(field, value)]).collect();
            let refusal = accept("api-key", &given).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("{field:?} ")), "{refusal}");
        }
    }
}
