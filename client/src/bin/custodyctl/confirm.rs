//! Asks before what cannot be taken back.

use std::io::{self, IsTerminal as _};

use crate::{failure::Failure, output};

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
