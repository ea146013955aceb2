//! `custodyctl types`: what secrets can hold, as this custodyctl knows it.

use custody::secret::{Kind, Shape};
use serde::Serialize;

use crate::{
    args::Global,
    failure::Failure,
    output::{self, View, columns, or_dash},
};

#[derive(Debug, Serialize)]
struct Types {
    types: Vec<Type>,
}

#[derive(Debug, Serialize)]
struct Type {
    name: &'static str,
    fields: Vec<Field>,
    /// Whether its fields have names that people choose.
    free: bool,
    inputs: &'static [&'static str],
    properties: &'static [&'static str],
}

#[derive(Debug, Serialize)]
struct Field {
    name: &'static str,
    required: bool,
    public: bool,
}

pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    let types = Kind::all().map(Type::from).collect();
    output::show(global.output, &Types { types })
}

impl From<Kind> for Type {
    fn from(kind: Kind) -> Self {
        let (fields, free) = match kind.shape() {
            Shape::Fields(fields) => (fields, false),
            Shape::Free => (&[][..], true),
        };
        let field = |field: &custody::secret::Field| Field {
            name: field.name,
            required: field.is_required,
            public: kind.is_public(field.name),
        };
        Self {
            name: kind.name(),
            fields: fields.iter().map(field).collect(),
            free,
            inputs: kind.inputs(),
            properties: kind.publishes(),
        }
    }
}

impl Type {
    /// Its fields; those it may do without in brackets.
    fn shape(&self) -> String {
        if self.free {
            return "any".to_owned();
        }
        let shown = self.fields.iter().map(|field| match field.required {
            true => field.name.to_owned(),
            false => format!("[{}]", field.name),
        });
        shown.collect::<Vec<_>>().join("\n")
    }
}

impl View for Types {
    fn text(&self) -> Option<String> {
        columns(
            ["TYPE", "FIELDS", "OR MADE OF", "PUBLIC METADATA"],
            self.types.iter().map(|kind| {
                [
                    kind.name.to_owned(),
                    kind.shape(),
                    or_dash(Some(&kind.inputs.join("\n"))),
                    or_dash(Some(&kind.properties.join(", "))),
                ]
            }),
        )
    }
}
