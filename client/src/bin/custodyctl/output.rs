//! The one place that writes to standard output and standard error.

use std::{
    error::Error,
    io::{self, Write as _},
};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use nix::errno::Errno;
use serde::Serialize;

use crate::failure::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
}

/// A result: a document for programs, and a text for people.
pub(crate) trait View: Serialize {
    /// The text, or `None` when there is nothing to show.
    fn text(&self) -> Option<String>;

    /// What to tell a person when there is nothing to show.
    fn nothing(&self) -> &'static str {
        "nothing"
    }

    /// Whether there is more than what a limit let through.
    fn is_cut(&self) -> bool {
        false
    }
}

pub(crate) fn show(format: Format, view: &impl View) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let document = serde_json::to_string_pretty(view)
                .map_err(|error| Failure::Output(error.into()))?;
            print(&document)
        }
        Format::Table => match view.text() {
            Some(text) => {
                print(&text)?;
                if view.is_cut() {
                    note("there are more: raise --limit to see them");
                }
                Ok(())
            }
            None => {
                note(view.nothing());
                Ok(())
            }
        },
    }
}

/// Prints a text and ends its line.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(Failure::Output)
}

/// Writes bytes as they are.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(Failure::Output)
}

/// Tells a person something that is no result.
pub(crate) fn note(text: &str) {
    // There is nowhere left to say that standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Asks on standard error, without ending the line.
pub(crate) fn ask(question: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question} ")?;
    stderr.flush()
}

/// A bar on standard error that shows how much of a work is done; none but on a terminal.
pub(crate) fn bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}");
    let bar = ProgressBar::new(length as u64);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// As [`bar`], of bytes that are transferred.
pub(crate) fn bytes_bar() -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg:10} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}",
    );
    let bar = ProgressBar::new(0);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// Prints the chain of errors on one line, and the way out on another.
pub(crate) fn report(failure: &Failure) {
    // The reader has gone: it has what it wanted.
    if matches!(failure, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
        return;
    }
    note(&format!("custodyctl: {}", plain(&chain(failure))));
    for line in failure.details() {
        note(&format!("  {}", plain(line)));
    }
    if let Some(hint) = failure.hint() {
        note(&format!("  hint: {}", plain(&hint)));
    }
}

fn chain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(error) = source {
        let kernel = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
            .map(|code| Errno::from_raw(code).desc().to_owned());
        text = format!("{text}: {}", kernel.unwrap_or_else(|| error.to_string()));
        source = error.source();
    }
    text
}

/// A table with a heading and as wide as the terminal; `None` without rows.
pub(crate) fn columns<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Option<String> {
    let mut table = bare();
    table.set_header(heading);
    for row in rows {
        table.add_row(row.map(|text| cell(&text)));
    }
    (!table.is_empty()).then(|| finish(table))
}

/// Names and their values, one a line; what has no value is left out.
pub(crate) fn properties<N: AsRef<str>>(
    pairs: impl IntoIterator<Item = (N, Option<String>)>,
) -> Option<String> {
    let mut table = bare();
    for (name, value) in pairs {
        if let Some(value) = value {
            table.add_row([plain(name.as_ref()), cell(&value)]);
        }
    }
    (!table.is_empty()).then(|| finish(table))
}

fn bare() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn finish(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Plain text of one or more lines, which stay within their column.
fn cell(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// One line without what would make a terminal do things: some of it was chosen by others.
pub(crate) fn plain(text: &str) -> String {
    let acts =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| {
            if acts(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn time(timestamp: Option<&prost_types::Timestamp>) -> Option<String> {
    jiff::Timestamp::from_second(timestamp?.seconds)
        .ok()
        .map(|time| time.to_string())
}

/// The value, or a dash for people to see that there is none.
pub(crate) fn or_dash(value: Option<&str>) -> String {
    value
        .filter(|text| !text.is_empty())
        .unwrap_or("-")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_description_cannot_move_the_cursor() {
        assert_eq!(plain("a\x1b[2Jb\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(plain("grüße\nzwei"), "grüße\u{fffd}zwei");
    }
}
