//! What people give for a secret, checked and brought into the form that is stored.

use std::collections::BTreeSet;

use super::{Kind, MAX_FREE, Properties, Refused, Shape, fields::Fields};
use crate::envelope::Content;

/// Content that its type has checked.
#[derive(Debug)]
pub struct Accepted {
    /// The type that checked it.
    pub kind: Kind,
    /// The fields, encoded.
    pub content: Content,
    /// Bytes in all fields together.
    pub size: u64,
    /// What anyone may know of it.
    pub properties: Properties,
}

impl Kind {
    /// Checks what was given and makes content of it, in the type's order.
    ///
    /// # Errors
    ///
    /// What is wrong, with which field.
    pub fn accept(self, given: Fields) -> Result<Accepted, Refused> {
        self.check_names(&given)?;
        let size = given.size();
        if size > Content::MAX_LEN {
            return Err(Refused::TooLarge(size));
        }
        let mut fields = self.0.take(given)?;
        self.check_presence(&fields)?;
        if let Shape::Fields(known) = self.shape() {
            fields.sort_by_key(|name| known.iter().position(|field| field.name == name));
        }
        let size = fields.size();
        if size > Content::MAX_LEN {
            return Err(Refused::TooLarge(size));
        }
        let properties = self.0.inspect(&fields)?;
        debug_assert!(
            properties
                .iter()
                .all(|(name, _)| self.publishes().contains(&&**name)),
            "{self:?} has a property that it does not say it publishes"
        );
        Ok(Accepted {
            kind: self,
            content: fields.encode(),
            size: size as u64,
            properties,
        })
    }

    /// Whether each name may be given, once.
    fn check_names(self, given: &Fields) -> Result<(), Refused> {
        if given.len() > MAX_FREE {
            return Err(Refused::ManyFields(given.len()));
        }
        let mut seen = BTreeSet::new();
        for name in given.names() {
            if !self.may_have(name) && !self.inputs().contains(&name) {
                return Err(match self.shape() {
                    Shape::Free => Refused::FieldName(name.to_owned()),
                    Shape::Fields(known) => Refused::Unknown {
                        kind: self.name(),
                        field: name.to_owned(),
                        known: known
                            .iter()
                            .map(|field| field.name)
                            .chain(self.inputs().iter().copied())
                            .collect(),
                    },
                });
            }
            if !seen.insert(name) {
                return Err(Refused::Twice(name.to_owned()));
            }
        }
        Ok(())
    }

    /// Whether everything is there that must be, and holds something.
    fn check_presence(self, fields: &Fields) -> Result<(), Refused> {
        if let Shape::Fields(known) = self.shape() {
            for field in known {
                match fields.get(field.name) {
                    None if field.is_required => {
                        return Err(Refused::Missing {
                            kind: self.name(),
                            field: field.name,
                        });
                    }
                    Some([]) => return Err(Refused::Empty(field.name)),
                    _ => {}
                }
            }
        } else if fields.is_empty() {
            return Err(Refused::NoField { kind: self.name() });
        }
        Ok(())
    }
}
