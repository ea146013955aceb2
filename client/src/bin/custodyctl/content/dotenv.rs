//! Dotenv files, read as their readers agree on them.
//!
//! They do not agree on substitutions, nor on quotes and backslashes in a value without
//! quotes: that is refused, with the line and the variable, rather than stored as something
//! that a service would not have seen.

use std::collections::BTreeMap;

use custody::secret::is_field_name;
use zeroize::Zeroizing;

/// Why a text is no dotenv file; never with a value in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("line {0} is no NAME=VALUE, where a name has letters, digits, '.', '_' and '-'")]
    NoName(usize),
    #[error("{name} is given twice, in line {first} and line {second}")]
    Twice {
        name: String,
        first: usize,
        second: usize,
    },
    #[error("line {line}: {name} {wrong}")]
    Value {
        line: usize,
        name: String,
        wrong: Wrong,
    },
}

/// What is wrong with a value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Wrong {
    #[error("has a quotation mark that is not closed")]
    Open,
    #[error("has something after its closing quotation mark")]
    After,
    #[error("has a backslash with something other than n, r, t, $, `, \", or a backslash after it")]
    Escape,
    #[error("has a substitution ($ or `), which is not made; put the value in single quotes")]
    Substitution,
    #[error("has a quotation mark, a backslash or a leading #; put the value in single quotes")]
    Ambiguous,
}

type Variable = (String, Zeroizing<Vec<u8>>);

/// The variables of a dotenv file, in its order.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Variable>, Error> {
    let text = str::from_utf8(bytes).map_err(|_| Error::NotText)?;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut line, mut lines) = (1, BTreeMap::new());
    let mut variables = Vec::new();
    while !rest.is_empty() {
        let (statement, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let written = statement.trim();
        if written.is_empty() || written.starts_with('#') {
            (rest, line) = (after, line + 1);
            continue;
        }
        let (name, after) = name(rest).ok_or(Error::NoName(line))?;
        if let Some(first) = lines.insert(name, line) {
            return Err(Error::Twice {
                name: name.to_owned(),
                first,
                second: line,
            });
        }
        let (value, after) = value(after).map_err(|wrong| Error::Value {
            line,
            name: name.to_owned(),
            wrong,
        })?;
        variables.push((name.to_owned(), value));
        line += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    Ok(variables)
}

/// The name that a line begins with, and what comes after its '='.
fn name(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.split_once('=')?;
    let name = name.trim_matches([' ', '\t']);
    let exported = name
        .strip_prefix("export")
        .filter(|name| name.starts_with([' ', '\t']));
    let name = exported.unwrap_or(name).trim_start_matches([' ', '\t']);
    is_field_name(name).then_some((name, after))
}

/// The value that a text begins with, and the lines after it.
fn value(text: &str) -> Result<(Zeroizing<Vec<u8>>, &str), Wrong> {
    let start = text.trim_start_matches([' ', '\t']);
    if let Some(inner) = start.strip_prefix('\'') {
        let (value, after) = inner.split_once('\'').ok_or(Wrong::Open)?;
        return Ok((Zeroizing::new(value.as_bytes().to_vec()), end(after)?));
    }
    if let Some(inner) = start.strip_prefix('"') {
        let (value, after) = escaped(inner)?;
        return Ok((value, end(after)?));
    }
    let (bare, after) = text.split_once('\n').unwrap_or((text, ""));
    // A comment begins after white space.
    let comment = bare.find(" #").into_iter().chain(bare.find("\t#")).min();
    let value = bare[..comment.unwrap_or(bare.len())].trim();
    if value.contains(['\'', '"', '\\']) || value.starts_with('#') {
        return Err(Wrong::Ambiguous);
    }
    if value.contains('`') || (0..value.len()).any(|at| substitutes(&value.as_bytes()[at..])) {
        return Err(Wrong::Substitution);
    }
    Ok((Zeroizing::new(value.as_bytes().to_vec()), after))
}

/// A value up to its closing quotation mark, and what comes after that.
fn escaped(text: &str) -> Result<(Zeroizing<Vec<u8>>, &str), Wrong> {
    let bytes = text.as_bytes();
    let mut length = 0;
    while *bytes.get(length).ok_or(Wrong::Open)? != b'"' {
        length += if bytes[length] == b'\\' { 2 } else { 1 };
    }
    // Enough room from the start, so that growing leaves no copies behind.
    let mut value = Zeroizing::new(Vec::with_capacity(length));
    let mut written = bytes[..length].iter().enumerate();
    while let Some((at, &byte)) = written.next() {
        value.push(match byte {
            b'\\' => match written.next() {
                Some((_, b'n')) => b'\n',
                Some((_, b'r')) => b'\r',
                Some((_, b't')) => b'\t',
                Some((_, &same @ (b'$' | b'`' | b'"' | b'\\'))) => same,
                _ => return Err(Wrong::Escape),
            },
            b'`' => return Err(Wrong::Substitution),
            b'$' if substitutes(&bytes[at..length]) => return Err(Wrong::Substitution),
            byte => byte,
        });
    }
    Ok((value, &text[length + 1..]))
}

/// Whether a shell would put something else in place of what `text` begins with.
fn substitutes(text: &[u8]) -> bool {
    let opens = |byte: u8| byte.is_ascii_alphanumeric() || b"_{($".contains(&byte);
    matches!(text, [b'$', next, ..] if opens(*next))
}

/// The lines after one that may have a comment left, and nothing else.
fn end(text: &str) -> Result<&str, Wrong> {
    let (left, after) = text.split_once('\n').unwrap_or((text, ""));
    let is_comment = left.starts_with([' ', '\t']) && left.trim_start().starts_with('#');
    if is_comment || left.trim().is_empty() {
        Ok(after)
    } else {
        Err(Wrong::After)
    }
}

#[cfg(test)]
mod tests;
