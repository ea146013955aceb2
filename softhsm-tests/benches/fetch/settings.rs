//! How long and how much is measured: by the environment, so that a short run is possible.

use std::{env, str::FromStr, time::Duration};

/// How many secrets there are while calls are compared.
pub(crate) const FEW: u32 = 10;

/// Bytes of content in each secret.
pub(crate) const CONTENT: usize = 3 * 1024;

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The token alone.
    Token,
    /// A call that does nothing.
    Empty,
    /// A fetch, with the journal on disk.
    Fetch,
    /// A fetch, with the journal in memory.
    Memory,
    /// Ways to be known.
    Attest,
    /// Many secrets.
    Scale,
    /// Many groups.
    Groups,
    /// A master key's rotation.
    Rotation,
}

impl Part {
    const ALL: [(&'static str, Self); 8] = [
        ("token", Self::Token),
        ("empty", Self::Empty),
        ("fetch", Self::Fetch),
        ("memory", Self::Memory),
        ("attest", Self::Attest),
        ("scale", Self::Scale),
        ("groups", Self::Groups),
        ("rotation", Self::Rotation),
    ];
}

/// The parts that are measured unless it is said.
const PARTS: &str = "token,empty,fetch,memory,attest,scale,groups,rotation";

/// What the environment says.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `CUSTODYD_BENCH_SECRETS`: how many secrets are many.
    pub(crate) secrets: u32,
    /// `CUSTODYD_BENCH_GROUPS`: how many groups are many.
    pub(crate) groups: u32,
    /// `CUSTODYD_BENCH_EACH`: how many secrets there are in each of them.
    pub(crate) each: u32,
    /// `CUSTODYD_BENCH_SECONDS`: how long each row is measured in each round.
    pub(crate) time: Duration,
    /// `CUSTODYD_BENCH_ROUNDS`: how often each row has its turn.
    pub(crate) rounds: u32,
    /// `CUSTODYD_BENCH_CALLERS`: how many callers there are at a time.
    pub(crate) callers: Vec<usize>,
    /// `CUSTODYD_BENCH_PARTS`: which of [`PARTS`] are measured.
    parts: Vec<Part>,
}

impl Settings {
    pub(crate) fn from_environment() -> Self {
        let parts = list("PARTS", PARTS);
        let part = |name: &String| {
            let found = Part::ALL.into_iter().find(|(known, _)| known == name);
            found
                .unwrap_or_else(|| panic!("CUSTODYD_BENCH_PARTS: there is no part {name:?}"))
                .1
        };
        Self {
            secrets: one("SECRETS", 100_000),
            groups: one("GROUPS", 20),
            each: one("EACH", 100),
            time: Duration::from_secs_f64(one("SECONDS", 1.0)),
            rounds: one("ROUNDS", 3),
            callers: list("CALLERS", "1,16,64"),
            parts: parts.iter().map(part).collect(),
        }
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}

/// `CUSTODYD_BENCH_WORKERS`: how many workers the token has.
pub(crate) fn workers() -> u32 {
    one("WORKERS", 2)
}

/// `CUSTODYD_BENCH_KEEPING`: where the groups' master keys are kept, in the `token` or `wrapped`
/// outside.
pub(crate) fn keeping() -> String {
    one("KEEPING", "token".to_owned())
}

fn one<T: FromStr>(name: &str, default: T) -> T {
    let name = format!("CUSTODYD_BENCH_{name}");
    match env::var(&name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}: {text:?} makes no sense")),
        Err(_) => default,
    }
}

fn list<T: FromStr>(name: &str, default: &str) -> Vec<T> {
    let name = format!("CUSTODYD_BENCH_{name}");
    let text = env::var(&name).unwrap_or_else(|_| default.to_owned());
    text.split(',')
        .map(|item| {
            let item = item.trim().parse();
            item.unwrap_or_else(|_| panic!("{name}: {text:?} is no list"))
        })
        .collect()
}
