//! `blob`: any bytes.

use super::{Fields, Properties, Refused, Type};

pub(super) struct Blob;

impl Type for Blob {
    fn name(&self) -> &'static str {
        "blob"
    }

    fn fields(&self) -> &'static [&'static str] {
        &["content"]
    }

    fn inspect(&self, _values: &Fields) -> Result<Properties, Refused> {
        Ok(Properties::new())
    }
}
