//! The columns of one row, as the types of the rules.

use custody::{
    cache::Terms,
    envelope::{KeyWrap, WrappedDek},
    group::{Blob, KeyState},
    label::About,
    name::{KeyId, SecretId, VersionId},
    row::{Row, Tag, Tagged},
    secret::version::VersionState,
};
use rusqlite::types::FromSql;

use super::{super::super::Error, from_json};

/// Takes the columns of one row, in order.
pub(super) struct Columns<'a, 'stmt> {
    pub(super) table: &'static str,
    pub(super) row: &'a rusqlite::Row<'stmt>,
    pub(super) next: usize,
}

impl Columns<'_, '_> {
    pub(super) fn take<T: FromSql>(&mut self) -> Result<T, Error> {
        let value = self.row.get(self.next).map_err(|error| self.wrong(error))?;
        self.next += 1;
        Ok(value)
    }

    /// A value that no row of ours has is the row's fault, and not the database's.
    fn wrong(&self, error: rusqlite::Error) -> Error {
        match error {
            rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::FromSqlConversionFailure(..) => {
                let column = self.row.as_ref().column_name(self.next);
                Error::Malformed {
                    table: self.table,
                    column: column.unwrap_or("a column").to_owned(),
                }
            }
            error => error.into(),
        }
    }

    pub(super) fn parse<T>(
        &mut self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Error> {
        let text: String = self.take()?;
        parse(&text).ok_or(Error::Malformed {
            table: self.table,
            column: column.to_owned(),
        })
    }

    pub(super) fn name<T: std::str::FromStr>(&mut self, column: &'static str) -> Result<T, Error> {
        self.parse(column, |text| text.parse().ok())
    }

    pub(super) fn optional<T>(
        &mut self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let text: Option<String> = self.take()?;
        let malformed = || Error::Malformed {
            table: self.table,
            column: column.to_owned(),
        };
        text.map(|text| parse(&text).ok_or_else(malformed))
            .transpose()
    }

    pub(super) fn bytes<T>(
        &mut self,
        column: &'static str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Error> {
        let bytes: Vec<u8> = self.take()?;
        parse(&bytes).ok_or(Error::Malformed {
            table: self.table,
            column: column.to_owned(),
        })
    }

    pub(super) fn wrapped(&mut self) -> Result<WrappedDek, Error> {
        self.take::<Vec<u8>>().map(WrappedDek::from_blob)
    }

    pub(super) fn secret_id(&mut self) -> Result<SecretId, Error> {
        Ok(SecretId {
            group: self.name("group")?,
            name: self.name("name")?,
        })
    }

    pub(super) fn version_id(&mut self) -> Result<VersionId, Error> {
        Ok(VersionId {
            secret: self.secret_id()?,
            number: self.take()?,
        })
    }

    /// The two columns of what is said about a thing.
    pub(super) fn about(&mut self) -> Result<About, Error> {
        Ok(About {
            description: self.name("description")?,
            labels: self.parse("labels", from_json)?,
        })
    }

    /// The two columns that a version's state is in.
    pub(super) fn state(&mut self) -> Result<VersionState, Error> {
        let name: String = self.take()?;
        let doom = self.take()?;
        VersionState::from_parts(&name, doom).ok_or(Error::Malformed {
            table: self.table,
            column: "state".to_owned(),
        })
    }

    /// The three columns that a master key's state is in.
    pub(super) fn key_state(&mut self) -> Result<KeyState, Error> {
        let name: String = self.take()?;
        let (emptied, doom) = (self.take()?, self.take()?);
        KeyState::from_parts(&name, emptied, doom).ok_or(Error::Malformed {
            table: self.table,
            column: "state".to_owned(),
        })
    }

    /// The three columns of a master key that is kept outside its token.
    pub(super) fn blob(&mut self) -> Result<Option<Blob>, Error> {
        let root: Option<Vec<u8>> = self.take()?;
        let by: Option<String> = self.take()?;
        let blob = match (root, by, self.take::<Option<Vec<u8>>>()?) {
            (None, None, None) => return Ok(None),
            (Some(root), Some(by), Some(wrapped)) => KeyId::from_bytes(&root)
                .zip(KeyWrap::from_name(&by))
                .map(|(root, by)| Blob { root, by, wrapped }),
            _ => None,
        };
        blob.map(Some).ok_or_else(|| Error::Malformed {
            table: self.table,
            column: "root".to_owned(),
        })
    }

    /// The three columns of how long data keys are kept.
    pub(super) fn cache(&mut self) -> Result<Option<Terms>, Error> {
        let terms = match (self.take()?, self.take()?, self.take()?) {
            (None, None, None) => return Ok(None),
            (Some(seconds), Some(uses), Some(outage)) => Terms::new(seconds, uses, outage).ok(),
            _ => None,
        };
        terms.map(Some).ok_or_else(|| Error::Malformed {
            table: self.table,
            column: "cache_seconds".to_owned(),
        })
    }

    pub(super) fn tag(&mut self) -> Result<Tag, Error> {
        self.bytes("tag", |bytes| bytes.try_into().ok().map(Tag::from_bytes))
    }

    /// The two columns at the end of every row.
    pub(super) fn tagged(&mut self, row: Row) -> Result<Tagged, Error> {
        Ok(Tagged {
            row,
            change: self.take()?,
            tag: self.tag()?,
        })
    }
}
