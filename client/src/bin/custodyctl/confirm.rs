//! Asks before what cannot be taken back.

use std::io::{self, IsTerminal as _};

use crate::{failure::Failure, output};

/// Goes on only if content may go to standard output: to a program, or before the eyes of a
/// person who says so.
pub(crate) fn show_content(format: output::Format, what: &str) -> Result<(), Failure> {
    if format == output::Format::Json {
        return Err(Failure::JsonContent);
    }
    if !io::stdout().is_terminal() {
        return Ok(());
    }
    confirm(
        &format!("print {what} to this terminal"),
        "redirect standard output, or write to a file with --out",
    )
}

/// Goes on only if a person says yes; without one, says what would do instead.
pub(crate) fn confirm(question: &str, way_out: &'static str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::NobodyToAsk {
            question: question.to_owned(),
            way_out,
        });
    }
    output::ask(&format!("{}? [y/N]", output::plain(question))).map_err(Failure::Terminal)?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(Failure::Terminal)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Declined),
    }
}
