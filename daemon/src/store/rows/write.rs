//! The types of the rules, as rows of the tables.

use std::num::NonZeroU32;

use custody::{
    envelope::SealedContent,
    name::VersionId,
    row::{Row, RowId, System, Tag, Tagged},
};
use rusqlite::{Connection, params};
use serde::Serialize;

use super::super::Error;

pub(in crate::store) fn system(
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

pub(in crate::store) fn row(connection: &Connection, tagged: &Tagged) -> Result<(), Error> {
    let (change, tag) = (tagged.change, tagged.tag.as_bytes());
    let run = |statement: &str, values: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(statement)?.execute(values)
    };
    match &tagged.row {
        Row::Group(group) => run(
            r#"INSERT INTO "group" (name, business_group, environment, description, labels,
                cache_seconds, cache_uses, cache_outage_seconds, holders, keeping, created,
                created_by, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
            ON CONFLICT DO UPDATE SET business_group = excluded.business_group,
                environment = excluded.environment, description = excluded.description,
                labels = excluded.labels, cache_seconds = excluded.cache_seconds,
                cache_uses = excluded.cache_uses,
                cache_outage_seconds = excluded.cache_outage_seconds,
                holders = excluded.holders, keeping = excluded.keeping,
                change = excluded.change, tag = excluded.tag"#,
            params![
                group.name.as_str(),
                group.purpose.business_group.as_str(),
                group.purpose.environment.as_str(),
                group.purpose.about.description.as_str(),
                to_json(&group.purpose.about.labels),
                group.cache.map(|terms| terms.seconds()),
                group.cache.map(|terms| terms.uses()),
                group.cache.map(|terms| terms.outage_seconds()),
                to_json(&group.holders),
                group.keeping.name(),
                group.created,
                group.created_by,
                change,
                tag
            ],
        ),
        Row::MasterKey(key) => run(
            r#"INSERT INTO master_key ("group", generation, id, state, emptied, doom, wrapping,
                canary, token_label, token_serial, root, root_wrapping, wrapped, reserved, created, change,
                tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
            ON CONFLICT ("group", generation, id) DO UPDATE SET state = excluded.state,
                emptied = excluded.emptied, doom = excluded.doom, wrapped = excluded.wrapped,
                reserved = excluded.reserved, change = excluded.change, tag = excluded.tag"#,
            params![
                key.group.as_str(),
                key.generation,
                key.id.as_bytes(),
                key.state.name(),
                key.state.emptied(),
                key.state.doom(),
                key.wrapping.name(),
                key.canary.blob(),
                key.token.label,
                key.token.serial,
                key.blob.as_ref().map(|blob| blob.root.as_bytes()),
                key.blob.as_ref().map(|blob| blob.by.name()),
                key.blob.as_ref().map(|blob| &blob.wrapped),
                key.reserved,
                key.created,
                change,
                tag
            ],
        ),
        Row::Secret(secret) => run(
            r#"INSERT INTO secret ("group", name, type, current, previous, pending, keep,
                description, labels, created, created_by, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
            ON CONFLICT DO UPDATE SET current = excluded.current,
                previous = excluded.previous, pending = excluded.pending,
                keep = excluded.keep, description = excluded.description,
                labels = excluded.labels, change = excluded.change, tag = excluded.tag"#,
            params![
                secret.id.group.as_str(),
                secret.id.name.as_str(),
                secret.kind.name(),
                secret.current,
                secret.previous,
                secret.pending,
                secret.keep.map(NonZeroU32::get),
                secret.about.description.as_str(),
                to_json(&secret.about.labels),
                secret.created,
                secret.created_by,
                change,
                tag
            ],
        ),
        Row::Version(version) => run(
            r#"INSERT INTO version ("group", name, number, size, sealed, dek_generation,
                exposed, fingerprint, properties, state, doom, valid_until, created, created_by,
                change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
            ON CONFLICT DO UPDATE SET sealed = excluded.sealed,
                dek_generation = excluded.dek_generation, exposed = excluded.exposed,
                state = excluded.state, doom = excluded.doom,
                valid_until = excluded.valid_until, change = excluded.change,
                tag = excluded.tag"#,
            params![
                version.id.secret.group.as_str(),
                version.id.secret.name.as_str(),
                version.id.number,
                version.size,
                version.sealed.as_bytes(),
                version.dek_generation,
                version.exposed,
                version.fingerprint.as_bytes(),
                to_json(&version.properties),
                version.state.name(),
                version.state.doom(),
                version.valid_until,
                version.created,
                version.created_by,
                change,
                tag
            ],
        ),
        Row::Wrap(wrap) => run(
            r#"INSERT INTO wrap ("group", name, number, gmk, wrapped, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT DO UPDATE SET wrapped = excluded.wrapped, change = excluded.change,
                tag = excluded.tag"#,
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
            r#"INSERT INTO "grant" (id, "group", patterns, selectors, terms, created,
                created_by, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"#,
            params![
                rule.id.as_bytes(),
                rule.group.as_str(),
                to_json(&rule.patterns),
                to_json(&rule.selectors),
                to_json(&rule.terms),
                rule.created,
                rule.created_by,
                change,
                tag
            ],
        ),
        Row::Compliance(adopted) => run(
            r#"INSERT INTO compliance ("group", rules, "set", set_by, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT DO UPDATE SET rules = excluded.rules, "set" = excluded."set",
                set_by = excluded.set_by, change = excluded.change, tag = excluded.tag"#,
            params![
                adopted.group.as_str(),
                adopted.rules.to_json(),
                adopted.set,
                adopted.set_by,
                change,
                tag
            ],
        ),
        Row::Trustee(trustee) => run(
            "INSERT INTO trustee (label, serial, gmk, wrapping, canary, row_key, journal_key,
                journal_public_key, voucher, joined, lost, change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
            ON CONFLICT DO UPDATE SET lost = excluded.lost, change = excluded.change,
                tag = excluded.tag",
            params![
                trustee.token.label,
                trustee.token.serial,
                trustee.gmk.as_bytes(),
                trustee.wrapping.name(),
                trustee.canary.blob(),
                trustee.row_key.blob(),
                trustee.journal_key.as_bytes(),
                trustee.journal_public_key,
                trustee.voucher.as_ref().map(to_json),
                trustee.joined,
                trustee.lost,
                change,
                tag
            ],
        ),
        Row::Assignment(held) => run(
            r#"INSERT INTO role (id, role, "group", selectors, created, created_by,
                change, tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"#,
            params![
                held.id.as_bytes(),
                held.role.name(),
                held.group.as_ref().map(custody::name::GroupName::as_str),
                to_json(&held.selectors),
                held.created,
                held.created_by,
                change,
                tag
            ],
        ),
    }?;
    Ok(())
}

pub(in crate::store) fn delete(connection: &Connection, id: &RowId) -> Result<(), Error> {
    let run = |statement: &str, values: &[&dyn rusqlite::ToSql]| {
        connection.prepare_cached(statement)?.execute(values)
    };
    match id {
        RowId::Group(name) => run(
            r#"DELETE FROM "group" WHERE name = ?1"#,
            params![name.as_str()],
        ),
        RowId::MasterKey(group, generation, id) => run(
            r#"DELETE FROM master_key WHERE "group" = ?1 AND generation = ?2 AND id = ?3"#,
            params![group.as_str(), generation, id.as_bytes()],
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
        RowId::Compliance(group) => run(
            r#"DELETE FROM compliance WHERE "group" = ?1"#,
            params![group.as_str()],
        ),
        RowId::Trustee(token) => run(
            "DELETE FROM trustee WHERE label = ?1 AND serial = ?2",
            params![token.label, token.serial],
        ),
        RowId::Assignment(id) => run("DELETE FROM role WHERE id = ?1", params![id.as_bytes()]),
    }?;
    Ok(())
}

pub(in crate::store) fn content(
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

/// Removes the content of a version whose row stays.
pub(in crate::store) fn shred(connection: &Connection, id: &VersionId) -> Result<(), Error> {
    connection
        .prepare_cached(r#"DELETE FROM content WHERE "group" = ?1 AND name = ?2 AND number = ?3"#)?
        .execute(params![
            id.secret.group.as_str(),
            id.secret.name.as_str(),
            id.number
        ])?;
    Ok(())
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("lists and maps of text have a JSON form")
}
