//! Rows of the tables, to and from the types of the rules.

use custody::{
    envelope::{SealedContent, SealedDigest, WrappedDek, Wrapping},
    group::{Group, KeyState, MasterKey},
    name::{SecretId, VersionId},
    policy::{Rule, Selectors},
    row::{Row, RowId, System, Tag, Tagged},
    secret::{Kind, Properties, Secret, Version, Wrap},
    selector::Selector,
};
use rusqlite::{Connection, OptionalExtension as _, params, types::FromSql};
use serde::{Serialize, de::DeserializeOwned};

use super::Error;

/// Takes the columns of one row, in order.
struct Columns<'a, 'stmt> {
    table: &'static str,
    row: &'a rusqlite::Row<'stmt>,
    next: usize,
}

impl Columns<'_, '_> {
    fn take<T: FromSql>(&mut self) -> Result<T, Error> {
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

    fn parse<T>(
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

    fn name<T: std::str::FromStr>(&mut self, column: &'static str) -> Result<T, Error> {
        self.parse(column, |text| text.parse().ok())
    }

    fn bytes<T>(
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

    fn wrapped(&mut self) -> Result<WrappedDek, Error> {
        self.take::<Vec<u8>>().map(WrappedDek::from_blob)
    }

    fn secret_id(&mut self) -> Result<SecretId, Error> {
        Ok(SecretId {
            group: self.name("group")?,
            name: self.name("name")?,
        })
    }

    fn version_id(&mut self) -> Result<VersionId, Error> {
        Ok(VersionId {
            secret: self.secret_id()?,
            number: self.take()?,
        })
    }

    fn tag(&mut self) -> Result<Tag, Error> {
        self.bytes("tag", |bytes| bytes.try_into().ok().map(Tag::from_bytes))
    }

    /// The two columns at the end of every row.
    fn tagged(&mut self, row: Row) -> Result<Tagged, Error> {
        Ok(Tagged {
            row,
            change: self.take()?,
            tag: self.tag()?,
        })
    }
}

fn read(
    connection: &Connection,
    table: &'static str,
    query: &str,
    each: &mut dyn FnMut(Tagged),
    row_of: impl Fn(&mut Columns<'_, '_>) -> Result<Row, Error>,
) -> Result<(), Error> {
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut columns = Columns {
            table,
            row,
            next: 0,
        };
        let row = row_of(&mut columns)?;
        each(columns.tagged(row)?);
    }
    Ok(())
}

pub(super) fn read_groups(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT name, description, created, created_by, change, tag
        FROM "group""#;
    read(connection, "group", query, each, |columns| {
        Ok(Row::Group(Group {
            name: columns.name("name")?,
            description: columns.take()?,
            created: columns.take()?,
            created_by: columns.take()?,
        }))
    })
}

pub(super) fn read_master_keys(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT "group", generation, id, state, wrapping, canary,
            token_label, token_serial, created, change, tag
        FROM master_key"#;
    read(connection, "master_key", query, each, |columns| {
        Ok(Row::MasterKey(MasterKey {
            group: columns.name("group")?,
            generation: columns.take()?,
            id: columns.bytes("id", custody::name::KeyId::from_bytes)?,
            state: columns.parse("state", KeyState::from_name)?,
            wrapping: columns.parse("wrapping", Wrapping::from_name)?,
            canary: columns.wrapped()?,
            token_label: columns.take()?,
            token_serial: columns.take()?,
            created: columns.take()?,
        }))
    })
}

pub(super) fn read_secrets(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT "group", name, type, current, created, created_by, change, tag
        FROM secret"#;
    read(connection, "secret", query, each, |columns| {
        Ok(Row::Secret(Secret {
            id: columns.secret_id()?,
            kind: columns.parse("type", |text| Kind::from_name(text).ok())?,
            current: columns.take()?,
            created: columns.take()?,
            created_by: columns.take()?,
        }))
    })
}

pub(super) fn read_versions(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT "group", name, number, size, sealed, properties,
            created, created_by, change, tag
        FROM version
        ORDER BY "group", name, number"#;
    read(connection, "version", query, each, |columns| {
        Ok(Row::Version(Version {
            id: columns.version_id()?,
            size: columns.take()?,
            sealed: columns.bytes("sealed", |bytes| {
                bytes.try_into().ok().map(SealedDigest::from_bytes)
            })?,
            properties: columns.parse("properties", from_json::<Properties>)?,
            created: columns.take()?,
            created_by: columns.take()?,
        }))
    })
}

pub(super) fn read_wraps(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT "group", name, number, gmk, wrapped, change, tag
        FROM wrap"#;
    read(connection, "wrap", query, each, |columns| {
        Ok(Row::Wrap(Wrap {
            version: columns.version_id()?,
            gmk: columns.bytes("gmk", custody::name::KeyId::from_bytes)?,
            wrapped: columns.wrapped()?,
        }))
    })
}

pub(super) fn read_grants(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT id, "group", pattern, selectors, created, created_by, change, tag
        FROM "grant""#;
    read(connection, "grant", query, each, |columns| {
        Ok(Row::Rule(Rule {
            id: columns.bytes("id", custody::name::RuleId::from_bytes)?,
            group: columns.name("group")?,
            pattern: columns.name("pattern")?,
            selectors: columns.parse("selectors", |text| {
                Selectors::new(from_json::<Vec<Selector>>(text)?).ok()
            })?,
            created: columns.take()?,
            created_by: columns.take()?,
        }))
    })
}

pub(super) fn read_system(connection: &Connection) -> Result<Option<(System, Tag)>, Error> {
    let query = "SELECT instance, gmk, wrapping, canary, row_key, journal_key,
            journal_public_key, token_label, token_serial, created, tag
        FROM system";
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let mut columns = Columns {
        table: "system",
        row,
        next: 0,
    };
    let system = System {
        instance: columns.bytes("instance", custody::name::InstanceId::from_bytes)?,
        gmk: columns.bytes("gmk", custody::name::KeyId::from_bytes)?,
        wrapping: columns.parse("wrapping", Wrapping::from_name)?,
        canary: columns.wrapped()?,
        row_key: columns.wrapped()?,
        journal_key: columns.bytes("journal_key", custody::name::KeyId::from_bytes)?,
        journal_public_key: columns.take()?,
        token_label: columns.take()?,
        token_serial: columns.take()?,
        created: columns.take()?,
    };
    Ok(Some((system, columns.tag()?)))
}

pub(super) fn write_system(
    connection: &Connection,
    system: &System,
    tag: Tag,
) -> Result<(), Error> {
    connection.execute(
        "INSERT INTO system (only, instance, gmk, wrapping, canary, row_key, journal_key,
            journal_public_key, token_label, token_serial, created, tag)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            system.instance.as_bytes(),
            system.gmk.as_bytes(),
            system.wrapping.name(),
            system.canary.blob(),
            system.row_key.blob(),
            system.journal_key.as_bytes(),
            system.journal_public_key,
            system.token_label,
            system.token_serial,
            system.created,
            tag.as_bytes(),
        ],
    )?;
    Ok(())
}

pub(super) fn write(connection: &Connection, tagged: &Tagged) -> Result<(), Error> {
    let (change, tag) = (tagged.change, tagged.tag.as_bytes());
    let run = |statement: &str, values: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(statement)?.execute(values)
    };
    match &tagged.row {
        Row::Group(group) => run(
            r#"INSERT INTO "group" (name, description, created, created_by, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT DO UPDATE SET description = excluded.description,
                change = excluded.change, tag = excluded.tag"#,
            params![
                group.name.as_str(),
                group.description,
                group.created,
                group.created_by,
                change,
                tag
            ],
        ),
        Row::MasterKey(key) => run(
            r#"INSERT INTO master_key ("group", generation, id, state, wrapping, canary,
                token_label, token_serial, created, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            ON CONFLICT ("group", generation) DO UPDATE SET state = excluded.state,
                change = excluded.change, tag = excluded.tag"#,
            params![
                key.group.as_str(),
                key.generation,
                key.id.as_bytes(),
                key.state.name(),
                key.wrapping.name(),
                key.canary.blob(),
                key.token_label,
                key.token_serial,
                key.created,
                change,
                tag
            ],
        ),
        Row::Secret(secret) => run(
            r#"INSERT INTO secret ("group", name, type, current, created, created_by,
                change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            ON CONFLICT DO UPDATE SET current = excluded.current,
                change = excluded.change, tag = excluded.tag"#,
            params![
                secret.id.group.as_str(),
                secret.id.name.as_str(),
                secret.kind.name(),
                secret.current,
                secret.created,
                secret.created_by,
                change,
                tag
            ],
        ),
        Row::Version(version) => run(
            r#"INSERT INTO version ("group", name, number, size, sealed, properties,
                created, created_by, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"#,
            params![
                version.id.secret.group.as_str(),
                version.id.secret.name.as_str(),
                version.id.number,
                version.size,
                version.sealed.as_bytes(),
                to_json(&version.properties),
                version.created,
                version.created_by,
                change,
                tag
            ],
        ),
        Row::Wrap(wrap) => run(
            r#"INSERT INTO wrap ("group", name, number, gmk, wrapped, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"#,
            params![
                wrap.version.secret.group.as_str(),
                wrap.version.secret.name.as_str(),
                wrap.version.number,
                wrap.gmk.as_bytes(),
                wrap.wrapped.blob(),
                change,
                tag
            ],
        ),
        Row::Rule(rule) => run(
            r#"INSERT INTO "grant" (id, "group", pattern, selectors, created, created_by,
                change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"#,
            params![
                rule.id.as_bytes(),
                rule.group.as_str(),
                rule.pattern.to_string(),
                to_json(&rule.selectors),
                rule.created,
                rule.created_by,
                change,
                tag
            ],
        ),
    }?;
    Ok(())
}

pub(super) fn delete(connection: &Connection, id: &RowId) -> Result<(), Error> {
    let run = |statement: &str, values: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(statement)?.execute(values)
    };
    match id {
        RowId::Group(name) => run(
            r#"DELETE FROM "group" WHERE name = ?1"#,
            params![name.as_str()],
        ),
        RowId::MasterKey(group, generation) => run(
            r#"DELETE FROM master_key WHERE "group" = ?1 AND generation = ?2"#,
            params![group.as_str(), generation],
        ),
        RowId::Secret(id) => run(
            r#"DELETE FROM secret WHERE "group" = ?1 AND name = ?2"#,
            params![id.group.as_str(), id.name.as_str()],
        ),
        RowId::Version(id) => run(
            r#"DELETE FROM version WHERE "group" = ?1 AND name = ?2 AND number = ?3"#,
            params![id.secret.group.as_str(), id.secret.name.as_str(), id.number],
        ),
        RowId::Wrap(id, gmk) => run(
            r#"DELETE FROM wrap
            WHERE "group" = ?1 AND name = ?2 AND number = ?3 AND gmk = ?4"#,
            params![
                id.secret.group.as_str(),
                id.secret.name.as_str(),
                id.number,
                gmk.as_bytes()
            ],
        ),
        RowId::Rule(_, id) => run(
            r#"DELETE FROM "grant" WHERE id = ?1"#,
            params![id.as_bytes()],
        ),
    }?;
    Ok(())
}

pub(super) fn write_content(
    connection: &Connection,
    id: &VersionId,
    sealed: &SealedContent,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            r#"INSERT INTO content ("group", name, number, nonce, ciphertext)
            VALUES (?1, ?2, ?3, ?4, ?5)"#,
        )?
        .execute(params![
            id.secret.group.as_str(),
            id.secret.name.as_str(),
            id.number,
            sealed.nonce,
            sealed.ciphertext
        ])?;
    Ok(())
}

pub(super) fn read_content(
    connection: &Connection,
    id: &VersionId,
) -> Result<Option<SealedContent>, Error> {
    connection
        .prepare_cached(
            r#"SELECT nonce, ciphertext FROM content
            WHERE "group" = ?1 AND name = ?2 AND number = ?3"#,
        )?
        .query_row(
            params![id.secret.group.as_str(), id.secret.name.as_str(), id.number],
            |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)),
        )
        .optional()?
        .map(|(nonce, ciphertext)| {
            let nonce = nonce.try_into().map_err(|_| Error::Malformed {
                table: "content",
                column: "nonce".to_owned(),
            })?;
            Ok(SealedContent { nonce, ciphertext })
        })
        .transpose()
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("lists of text have a JSON form")
}

fn from_json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}
