//! Bars on standard error that show how much of a work is done; none but on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Of bytes.
pub(crate) fn bytes(what: &'static str, length: u64) -> ProgressBar {
    let template = "{msg:10} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}";
    bar(template, what, length)
}

/// Of things.
pub(crate) fn things(what: &'static str, length: u64) -> ProgressBar {
    bar("{msg:10} {bar:30} {pos}/{len} {per_sec}", what, length)
}

fn bar(template: &str, what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    let bar = ProgressBar::new(length).with_message(what);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}
