//! `password`: one password, byte for byte.

use super::{
    Fields, Properties, Refused, Shape, Type,
    make::{self, Makes},
    required,
};

const PASSWORD: &str = "password";

pub(super) struct Password;

impl Type for Password {
    fn name(&self) -> &'static str {
        "password"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(PASSWORD)] })
    }

    fn lines(&self) -> &'static [&'static str] {
        &[PASSWORD]
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[]
    }

    fn makes(&self) -> Makes {
        Makes::New(|order, _, mut fields, random| {
            let password = make::text(order, &make::PASSWORD, random)?;
            fields.push_wiped(PASSWORD.to_owned(), password);
            Ok(fields)
        })
    }

    // Not even its length is public.
    fn inspect(&self, _values: &Fields) -> Result<Properties, Refused> {
        Ok(Properties::new())
    }
}
