//! What is printed.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

use crate::{
    attest,
    groups::Groups,
    load::{Measured, Row},
    machine,
    rotation::Rotation,
    scale::{Scale, Start},
    settings::{CONTENT, FEW, Part, Settings},
    token::Rates,
};

/// The table of rates, row by row.
#[derive(Debug)]
pub(crate) struct Report {
    lines: Vec<[String; 7]>,
    token: Option<f64>,
    calls: Vec<Row>,
}

impl Report {
    pub(crate) fn begin(settings: &Settings) -> Self {
        println!("{}", machine::describe());
        println!(
            "custodyd {}, tonic {}, tokio {}, cryptoki {}, rusqlite {}{}",
            env!("CARGO_PKG_VERSION"),
            machine::locked("tonic"),
            machine::locked("tokio"),
            machine::locked("cryptoki"),
            machine::locked("rusqlite"),
            if cfg!(debug_assertions) {
                "; NOT OPTIMISED"
            } else {
                ""
            },
        );
        println!(
            "each row {} x {:?}, in turns; the callers share the cores with what they call; \
             to repeat: make bench",
            settings.rounds, settings.time,
        );
        Self {
            lines: Vec::new(),
            token: None,
            calls: Vec::new(),
        }
    }

    pub(crate) fn token(&mut self, rates: &Rates) {
        println!("token: {}", rates.module);
        for (threads, measured) in &rates.rows {
            let who = plural(*threads, "thread");
            self.line("a  unwrap in process", &who, "-", measured, None);
        }
        let rates = rates.rows.iter().map(|(_, measured)| measured.rate());
        self.token = Some(rates.fold(0.0, f64::max));
    }

    pub(crate) fn calls(&mut self, calls: Vec<Row>) {
        self.calls = calls;
    }

    /// The best of both, one after the other: L = 1 / (1/a + 1/b).
    fn bound(&self) -> Option<f64> {
        let empty = self.calls.iter().filter(|row| row.part == Part::Empty);
        let best = empty.map(|row| row.measured.rate()).reduce(f64::max)?;
        Some(1.0 / (1.0 / self.token? + 1.0 / best))
    }

    /// Prints the table and the limit.
    pub(crate) fn limit(&mut self) {
        let bound = self.bound();
        if self.lines.is_empty() && self.calls.is_empty() {
            return;
        }
        for row in std::mem::take(&mut self.calls) {
            let (what, bound) = match row.part {
                Part::Empty => ("b  empty call", None),
                Part::Fetch => ("c  fetch", bound),
                _ => ("d  fetch, state in memory", bound),
            };
            let callers = plural(row.shape.callers, "caller");
            let connections = row.shape.connections.to_string();
            self.line(what, &callers, &connections, &row.measured, bound);
        }
        let mut table = table([
            "",
            "",
            "connections",
            "per second",
            "p50 ms",
            "p99 ms",
            "of L",
        ]);
        table.add_rows(&self.lines);
        align_right(&mut table, 2);
        println!("\n{table}");
        println!(
            "a: AES-256-GCM, 32 bytes with AAD, token object, handle kept. b: another process, \
             the same tonic stack on a Unix socket.\n\
             c: {} KiB, one of {FEW} secrets, a token unwrap and a durable journal entry each. \
             d: as c, with database and journal on tmpfs: a diagnostic.",
            CONTENT / 1024,
        );
        if let Some(bound) = bound {
            println!("L = 1 / (1/a + 1/b) with the best a and b: {bound:.0} per second");
        }
    }

    fn line(
        &mut self,
        what: &str,
        who: &str,
        connections: &str,
        measured: &Measured,
        bound: Option<f64>,
    ) {
        let share = |bound| format!("{:.0} %", 100.0 * measured.rate() / bound);
        self.lines.push([
            what.to_owned(),
            who.to_owned(),
            connections.to_owned(),
            format!("{:.0}", measured.rate()),
            milliseconds(measured.quantile(0.5)),
            milliseconds(measured.quantile(0.99)),
            bound.map_or(String::new(), share),
        ]);
    }

    /// Prints what many secrets cost.
    pub(crate) fn scale(&self, scale: &Scale) {
        let (secrets, time) = scale.filled;
        println!(
            "\n{secrets} secrets of {} KiB put one by one in {:.1} s: {:.0} per second",
            CONTENT / 1024,
            time.as_secs_f64(),
            f64::from(secrets) / time.as_secs_f64(),
        );
        let mut fetches = table([
            "secrets",
            "callers",
            "fetches per second",
            "p50 ms",
            "p99 ms",
        ]);
        for (secrets, callers, measured) in &scale.fetches {
            let counts = [secrets.to_string(), callers.to_string()];
            fetches.add_row(counts.into_iter().chain(rates(measured)));
        }
        align_right(&mut fetches, 0);
        println!("{fetches}");
        let mut starts = table(["secrets", "start s", "daemon MiB", "worker MiB"]);
        for (secrets, start) in &scale.starts {
            starts.add_row([secrets.to_string()].into_iter().chain(figures(start)));
        }
        align_right(&mut starts, 0);
        println!("{starts}");
        println!(
            "a start is from the command to `serving`, files in the page cache; memory is VmRSS then"
        );
    }
}

/// Prints what many groups cost.
pub(crate) fn groups(groups: &Groups) {
    let (count, each, time) = groups.filled;
    println!(
        "\n{count} groups of {each} secrets of {} KiB made in {:.1} s, with database and journal \
         on tmpfs",
        CONTENT / 1024,
        time.as_secs_f64(),
    );
    let mut starts = table(["groups", "secrets", "start s", "daemon MiB", "worker MiB"]);
    let mut fetches = table([
        "secrets",
        "callers",
        "fetches per second",
        "p50 ms",
        "p99 ms",
    ]);
    for step in &groups.steps {
        let counts = [step.groups.to_string(), step.secrets.to_string()];
        starts.add_row(counts.into_iter().chain(figures(&step.start)));
        for (callers, measured) in &step.fetches {
            let counts = [step.secrets.to_string(), callers.to_string()];
            fetches.add_row(counts.into_iter().chain(rates(measured)));
        }
    }
    align_right(&mut starts, 0);
    align_right(&mut fetches, 0);
    println!("{starts}\n{fetches}");
    let mut looks = table([
        "an operator looks for",
        "per second",
        "p50 ms",
        "p99 ms",
        "fetches per second",
        "p50 ms",
        "p99 ms",
    ]);
    for look in &groups.looks {
        let what = [look.what.to_owned()];
        let rates = rates(&look.looks).into_iter().chain(rates(&look.fetches));
        looks.add_row(what.into_iter().chain(rates));
    }
    align_right(&mut looks, 1);
    println!("{looks}");
}

/// Prints what a master key's rotation costs.
pub(crate) fn rotation(rotation: &Rotation) {
    let (versions, time) = rotation.moved;
    println!(
        "\n{versions} versions moved to a new master key in {:.1} s, {:.0} per second, with \
         database and journal on tmpfs; the old key destroyed, each was fetched once more",
        time.as_secs_f64(),
        f64::from(versions) / time.as_secs_f64(),
    );
    let mut fetches = table(["fetches", "per second", "p50 ms", "p99 ms"]);
    for (when, measured) in &rotation.fetches {
        fetches.add_row([(*when).to_owned()].into_iter().chain(rates(measured)));
    }
    align_right(&mut fetches, 1);
    println!("{fetches}");
}

fn figures(start: &Start) -> [String; 3] {
    let mebibytes = |bytes: u64| (bytes >> 20).to_string();
    [
        format!("{:.2}", start.time.as_secs_f64()),
        mebibytes(start.daemon),
        mebibytes(start.worker),
    ]
}

fn rates(measured: &Measured) -> [String; 3] {
    [
        format!("{:.0}", measured.rate()),
        milliseconds(measured.quantile(0.5)),
        milliseconds(measured.quantile(0.99)),
    ]
}

/// Prints what it costs to know who asks.
pub(crate) fn attest(rows: &[attest::Row]) {
    let mut table = table(["attested, by one caller", "per second", "p50 ms", "p99 ms"]);
    for (what, measured) in rows {
        table.add_row([(*what).to_owned()].into_iter().chain(rates(measured)));
    }
    align_right(&mut table, 1);
    println!("\n{table}");
}

fn plural(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(header);
    table
}

fn align_right(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}
