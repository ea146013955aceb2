//! Rows of the tables, as the types of the rules.

use std::num::NonZeroU32;

use custody::{
    compliance::rules::{Adopted, Rules},
    envelope::{SealedContent, SealedDigest, Wrapping},
    group::{Group, Keeping, MasterKey, Purpose},
    holder::TokenId,
    name::VersionId,
    policy::rule::Rule,
    role::Assignment,
    row::{Row, System, Tag, Tagged},
    secret::{
        Kind, Properties,
        version::{Fingerprint, Secret, Version, Wrap},
    },
    trustee::Trustee,
};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::de::DeserializeOwned;

use super::super::Error;
use columns::Columns;

mod columns;

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

pub(in crate::store) fn groups(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT name, business_group, environment, description, labels,
            cache_seconds, cache_uses, cache_outage_seconds, holders, keeping, created, created_by,
            change, tag
        FROM "group""#;
    read(connection, "group", query, each, |columns| {
        Ok(Row::Group(Group {
            name: columns.name("name")?,
            purpose: Purpose {
                business_group: columns.name("business_group")?,
                environment: columns.name("environment")?,
                about: columns.about()?,
            },
            cache: columns.cache()?,
            holders: columns.parse("holders", from_json)?,
            keeping: columns.parse("keeping", Keeping::from_name)?,
            created: columns.take()?,
            created_by: columns.take()?,
        }))
    })
}

pub(in crate::store) fn master_keys(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT "group", generation, id, state, emptied, doom, wrapping,
            canary, token_label, token_serial, root, root_wrapping, wrapped, reserved, created,
            change, tag
        FROM master_key"#;
    read(connection, "master_key", query, each, |columns| {
        Ok(Row::MasterKey(MasterKey {
            group: columns.name("group")?,
            generation: columns.take()?,
            id: columns.bytes("id", custody::name::KeyId::from_bytes)?,
            state: columns.key_state()?,
            wrapping: columns.parse("wrapping", Wrapping::from_name)?,
            canary: columns.wrapped()?,
            token: TokenId {
                label: columns.take()?,
                serial: columns.take()?,
            },
            blob: columns.blob()?,
            reserved: columns.take()?,
            created: columns.take()?,
        }))
    })
}

pub(in crate::store) fn secrets(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT "group", name, type, current, previous, pending, keep,
            description, labels, created, created_by, change, tag
        FROM secret"#;
    read(connection, "secret", query, each, |columns| {
        Ok(Row::Secret(Secret {
            id: columns.secret_id()?,
            kind: columns.parse("type", |text| Kind::from_name(text).ok())?,
            current: columns.take()?,
            previous: columns.take()?,
            pending: columns.take()?,
            keep: columns.take::<Option<u32>>()?.and_then(NonZeroU32::new),
            about: columns.about()?,
            created: columns.take()?,
            created_by: columns.take()?,
        }))
    })
}

pub(in crate::store) fn versions(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT "group", name, number, size, sealed, dek_generation, exposed, fingerprint,
            properties, state, doom, valid_until, created, created_by, change, tag
        FROM version
        ORDER BY "group", name, number"#;
    read(connection, "version", query, each, |columns| {
        Ok(Row::Version(Version {
            id: columns.version_id()?,
            size: columns.take()?,
            sealed: columns.bytes("sealed", |bytes| {
                bytes.try_into().ok().map(SealedDigest::from_bytes)
            })?,
            dek_generation: columns.take()?,
            exposed: columns.take()?,
            fingerprint: columns.bytes("fingerprint", |bytes| {
                bytes.try_into().ok().map(Fingerprint::from_bytes)
            })?,
            properties: columns.parse("properties", from_json::<Properties>)?,
            state: columns.state()?,
            valid_until: columns.take()?,
            created: columns.take()?,
            created_by: columns.take()?,
        }))
    })
}

pub(in crate::store) fn wraps(
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

pub(in crate::store) fn grants(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT id, "group", patterns, selectors, terms, created, created_by,
            change, tag
        FROM "grant""#;
    read(connection, "grant", query, each, |columns| {
        Ok(Row::Rule(Rule {
            id: columns.bytes("id", custody::name::RuleId::from_bytes)?,
            group: columns.name("group")?,
            patterns: columns.parse("patterns", from_json)?,
            selectors: columns.parse("selectors", from_json)?,
            terms: columns.parse("terms", from_json)?,
            created: columns.take()?,
            created_by: columns.take()?,
        }))
    })
}

pub(in crate::store) fn compliance(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT "group", rules, "set", set_by, change, tag
        FROM compliance"#;
    read(connection, "compliance", query, each, |columns| {
        Ok(Row::Compliance(Adopted {
            group: columns.name("group")?,
            rules: columns.parse("rules", Rules::from_json)?,
            set: columns.take()?,
            set_by: columns.take()?,
        }))
    })
}

pub(in crate::store) fn roles(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = r#"SELECT id, role, "group", selectors, created, created_by, change, tag
        FROM role"#;
    read(connection, "role", query, each, |columns| {
        Ok(Row::Assignment(Assignment {
            id: columns.bytes("id", custody::name::RuleId::from_bytes)?,
            role: columns.name("role")?,
            group: columns.optional("group", |text| text.parse().ok())?,
            selectors: columns.parse("selectors", from_json)?,
            created: columns.take()?,
            created_by: columns.take()?,
        }))
    })
}

pub(in crate::store) fn trustees(
    connection: &Connection,
    each: &mut dyn FnMut(Tagged),
) -> Result<(), Error> {
    let query = "SELECT label, serial, gmk, wrapping, canary, row_key, journal_key,
            journal_public_key, voucher, joined, lost, change, tag
        FROM trustee";
    read(connection, "trustee", query, each, |columns| {
        Ok(Row::Trustee(Trustee {
            token: TokenId {
                label: columns.take()?,
                serial: columns.take()?,
            },
            gmk: columns.bytes("gmk", custody::name::KeyId::from_bytes)?,
            wrapping: columns.parse("wrapping", Wrapping::from_name)?,
            canary: columns.wrapped()?,
            row_key: columns.wrapped()?,
            journal_key: columns.bytes("journal_key", custody::name::KeyId::from_bytes)?,
            journal_public_key: columns.take()?,
            voucher: columns.optional("voucher", from_json)?,
            joined: columns.take()?,
            lost: columns.take()?,
        }))
    })
}

pub(in crate::store) fn system(connection: &Connection) -> Result<Option<(System, Tag)>, Error> {
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

pub(in crate::store) fn content(
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

fn from_json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}
