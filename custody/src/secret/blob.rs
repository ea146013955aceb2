//! `blob`: any bytes.

use super::{Fields, Properties, Refused, Shape, Type, required};

const CONTENT: &str = "content";

pub(super) struct Blob;

impl Type for Blob {
    fn name(&self) -> &'static str {
        "blob"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required(CONTENT)] })
    }

    fn pem(&self) -> &'static [&'static str] {
        &[CONTENT]
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[]
    }

    fn inspect(&self, _values: &Fields) -> Result<Properties, Refused> {
        Ok(Properties::new())
    }
}
