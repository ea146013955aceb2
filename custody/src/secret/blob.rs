//! `blob`: any bytes.

use super::{Fields, Properties, Refused, Shape, Type, required};

pub(super) struct Blob;

impl Type for Blob {
    fn name(&self) -> &'static str {
        "blob"
    }

    fn shape(&self) -> Shape {
        Shape::Fields(const { &[required("content")] })
    }

    fn publishes(&self) -> &'static [&'static str] {
        &[]
    }

    fn inspect(&self, _values: &Fields) -> Result<Properties, Refused> {
        Ok(Properties::new())
    }
}
