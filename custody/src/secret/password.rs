//! `password`: one password, byte for byte.

use super::{Fields, Properties, Refused, Shape, Type, required};

pub(super) struct Password;

impl Type for Password {
    fn name(&self) -> &'static str {
        "password"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required("password")] })
    }

    fn lines(&self) -> &'static [&'static str] {
        &["password"]
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[]
    }

    // Not even its length is public.
    fn inspect(&self, _values: &Fields) -> Result<Properties, Refused> {
        Ok(Properties::new())
    }
}
