//! The file as it is written, and the checks that make a [`Config`] of it.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use custody::{invocation, journal::chain::CheckpointPolicy};
use hsm::Reads;
use jiff::SignedDuration;
use serde::Deserialize;

use super::{Attestation, Config, Limits, Live, Problem, Rate, Senders};
use crate::{attest, log};

mod token;

use token::RawTokens;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw {
    state_directory: PathBuf,
    #[serde(default)]
    reads: RawReads,
    listen: RawListen,
    token: RawTokens,
    #[serde(default)]
    journal: RawJournal,
    #[serde(default)]
    log: RawLog,
    #[serde(default)]
    attestation: RawAttestation,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    metrics: RawMetrics,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawReads {
    #[default]
    First,
    Balanced,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawListen {
    manager: PathBuf,
    provider: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawJournal {
    segment_size: String,
    checkpoint_entries: u64,
    checkpoint_interval: SignedDuration,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawLog {
    format: log::Format,
    level: log::Level,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawAttestation {
    strict: bool,
    recheck: SignedDuration,
    legacy_kernel: bool,
    hash_limit: String,
    traced: RawTraced,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawTraced {
    Refuse,
    Allow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawLimits {
    connections: usize,
    connections_per_uid: usize,
    handshake: SignedDuration,
    requests_per_second: u32,
    burst: u32,
    drain: SignedDuration,
    rewrap_share: u32,
    key_invocations: u64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawMetrics {
    socket: Option<PathBuf>,
}

impl Default for RawJournal {
    fn default() -> Self {
        Self {
            segment_size: "64MiB".to_owned(),
            checkpoint_entries: 1000,
            checkpoint_interval: SignedDuration::from_mins(5),
        }
    }
}

impl Default for RawAttestation {
    fn default() -> Self {
        Self {
            strict: true,
            recheck: SignedDuration::from_mins(5),
            legacy_kernel: false,
            hash_limit: "256MiB".to_owned(),
            traced: RawTraced::Refuse,
        }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_uid: 256,
            handshake: SignedDuration::from_secs(5),
            requests_per_second: 1000,
            burst: 2000,
            drain: SignedDuration::from_secs(10),
            rewrap_share: 25,
            key_invocations: invocation::BOUND,
        }
    }
}

impl Raw {
    pub(super) fn check(self, path: &Path) -> Result<Config, Problem> {
        let state_directory = absolute("state-directory", self.state_directory)?;
        let manager = absolute("listen.manager", self.listen.manager)?;
        let provider = absolute("listen.provider", self.listen.provider)?;
        let metrics = self.metrics.socket;
        let metrics = metrics
            .map(|socket| absolute("metrics.socket", socket))
            .transpose()?;
        let is_other = |socket: &PathBuf| *socket != manager && *socket != provider;
        if manager == provider || !metrics.as_ref().is_none_or(is_other) {
            return Err(Problem::OneSocket);
        }
        if self.journal.checkpoint_entries == 0 {
            return Err(Problem::Zero("journal.checkpoint-entries"));
        }
        let checkpoint = CheckpointPolicy {
            entries: self.journal.checkpoint_entries,
            interval: positive(
                "journal.checkpoint-interval",
                self.journal.checkpoint_interval,
            )?,
        };
        let (tokens, workers) = self.token.check()?;
        Ok(Config {
            state_directory,
            manager,
            provider,
            metrics,
            tokens,
            reads: match self.reads {
                RawReads::First => Reads::First,
                RawReads::Balanced => Reads::Balanced,
            },
            key_invocations: self.limits.key_invocations()?,
            segment_size: size("journal.segment-size", &self.journal.segment_size)?,
            attestation: self.attestation.check()?,
            log_format: self.log.format,
            live: Live {
                checkpoint,
                log_level: self.log.level,
                drain: positive("limits.drain", self.limits.drain)?,
                rewrap_share: self.limits.share()?,
                limits: self.limits.check()?,
                workers,
            },
            path: path.to_owned(),
        })
    }
}

impl RawAttestation {
    fn check(self) -> Result<Attestation, Problem> {
        Ok(Attestation {
            senders: if self.strict {
                Senders::Checked
            } else {
                Senders::Unchecked
            },
            recheck: positive("attestation.recheck", self.recheck)?,
            attestor: attest::Settings {
                legacy_kernel: self.legacy_kernel,
                hash_limit: size("attestation.hash-limit", &self.hash_limit)?,
                tracers: match self.traced {
                    RawTraced::Refuse => attest::Tracers::Refused,
                    RawTraced::Allow => attest::Tracers::Allowed,
                },
            },
        })
    }
}

impl RawLimits {
    fn key_invocations(&self) -> Result<u64, Problem> {
        match self.key_invocations {
            bound @ LEAST_INVOCATIONS..=invocation::BOUND => Ok(bound),
            bound => Err(Problem::KeyInvocations(bound)),
        }
    }

    fn share(&self) -> Result<u32, Problem> {
        match self.rewrap_share {
            share @ 1..=100 => Ok(share),
            other => Err(Problem::Share(other)),
        }
    }

    fn check(&self) -> Result<Limits, Problem> {
        let some = |key, number: usize| match number {
            0 => Err(Problem::Zero(key)),
            _ => Ok(number),
        };
        let rate = |key, number| NonZeroU32::new(number).ok_or(Problem::Zero(key));
        Ok(Limits {
            connections: some("limits.connections", self.connections)?,
            connections_per_uid: some("limits.connections-per-uid", self.connections_per_uid)?,
            handshake: positive("limits.handshake", self.handshake)?,
            rate: Rate {
                per_second: rate("limits.requests-per-second", self.requests_per_second)?,
                burst: rate("limits.burst", self.burst)?,
            },
        })
    }
}

fn absolute(key: &'static str, path: PathBuf) -> Result<PathBuf, Problem> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Problem::Relative(key, path))
    }
}

fn positive(key: &'static str, duration: SignedDuration) -> Result<Duration, Problem> {
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(Problem::Zero(key)),
    }
}

/// With fewer a key would be replaced all the time.
const LEAST_INVOCATIONS: u64 = 64 * invocation::PER_WRAP;

/// The least size: smaller segments would cost more in folders than they hold, and no
/// executable is smaller.
const MIN_SIZE: u64 = 4096;

fn size(key: &'static str, text: &str) -> Result<u64, Problem> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    units
        .iter()
        .find_map(|(unit, shift)| {
            let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            number.checked_mul(1 << shift)
        })
        .filter(|&bytes| bytes >= MIN_SIZE)
        .ok_or_else(|| Problem::Size(key, text.to_owned()))
}
