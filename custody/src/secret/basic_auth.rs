//! `basic-auth`: a user name and its password, as HTTP takes them (RFC 7617).

use super::{
    Fields, Properties, Refused, Shape, Type,
    make::{self, Makes},
    public, required,
    text::{Form, text},
};

const USERNAME: &str = "username";
const PASSWORD: &str = "password";

/// RFC 7617 §2: a user-id without a colon, and no control characters in either.
const NAME: Form = Form {
    max: 255,
    holds: "characters other than a colon and control characters",
    allows: |c| c != ':' && !c.is_control(),
};
const SECRET: Form = Form {
    max: 4096,
    holds: "characters other than control characters, such as a line end,",
    allows: |c| !c.is_control(),
};

pub(super) struct BasicAuth;

impl Type for BasicAuth {
    fn name(&self) -> &'static str {
        "basic-auth"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(USERNAME), required(PASSWORD)] })
    }

    fn lines(&self) -> &'static [&'static str] {
        &[USERNAME, PASSWORD]
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[USERNAME]
    }

    fn makes(&self) -> Makes {
        Makes::New(|order, _, mut fields, random| {
            let password = make::text(order, &make::PASSWORD, random)?;
            fields.push_wiped(PASSWORD.to_owned(), password);
            Ok(fields)
        })
    }

    fn inspect(&self, values: &Fields) -> Result<Properties, Refused> {
        text(values, PASSWORD, &SECRET)?;
        Ok(public(USERNAME, text(values, USERNAME, &NAME)?).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::tests::accept;

    #[test]
    fn the_username_is_public_and_the_password_is_not() {
        let given = [("password", "päss wörd:1"), ("username", "jörg")];
        let (stored, properties) = accept("basic-auth", &given).unwrap();
        assert_eq!(stored.get(PASSWORD), Some("päss wörd:1".as_bytes()));
        assert_eq!(stored.names().collect::<Vec<_>>(), [USERNAME, PASSWORD]);
        assert_eq!(properties, [("username".into(), "jörg".into())]);
    }

    #[test]
    fn what_http_cannot_carry_is_refused_by_field() {
        for (username, password, field) in [
            ("a:b", "x", USERNAME),
            ("a\tb", "x", USERNAME),
            (&*"a".repeat(256), "x", USERNAME),
            ("a", "x\n", PASSWORD),
            ("a", "x\u{85}", PASSWORD),
            ("a", &"x".repeat(4097), PASSWORD),
        ] {
            let given = [(USERNAME, username), (PASSWORD, password)];
            let refusal = accept("basic-auth", &given).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("{field:?} ")), "{refusal}");
        }
        let no_password = accept("basic-auth", &[(USERNAME, "a"), (PASSWORD, "")]);
        assert_eq!(no_password.err(), Some(Refused::Empty(PASSWORD)));
    }
}
