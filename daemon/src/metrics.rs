//! What monitoring is told: counts and times that the parts of the daemon keep, and how things
//! stand at the moment it asks.
//!
//! Each part has meters of its own and registers them here; there is nothing global.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, prometheus_text},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{custodian::Custodian, listen::Doors, run::About};

mod requests;
mod serve;
mod token;

pub(crate) use requests::Requests;
pub(crate) use serve::serve;

/// Everything that monitoring is told.
#[derive(Debug)]
pub(crate) struct Metrics(Registry);

impl Metrics {
    pub(crate) fn of(custodian: &Arc<Custodian>, doors: &Arc<Doors>, about: &Arc<About>) -> Self {
        let mut registry = Registry::with_prefix("custodyd");
        custodian.requests().register(&mut registry);
        custodian.journal().meters().register(&mut registry);
        custodian.tokens().meters().register(&mut registry);
        registry.register_collector(Box::new(Standing {
            custodian: Arc::clone(custodian),
            doors: Arc::clone(doors),
            about: Arc::clone(about),
        }));
        Self(registry)
    }

    /// All of it, in Prometheus' text format.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// How things stand now.
#[derive(Debug)]
struct Standing {
    custodian: Arc<Custodian>,
    doors: Arc<Doors>,
    about: Arc<About>,
}

/// Labels of one sample.
type Labels = Vec<(&'static str, String)>;

impl Collector for Standing {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        let development = u64::from(self.about.is_development());
        gauges(
            &mut encoder,
            "build",
            "Which custodyd this is",
            [(version, 1)],
        )?;
        gauge(
            &mut encoder,
            "development",
            "Whether this is a throw-away daemon",
            development,
        )?;
        gauge(
            &mut encoder,
            "start_time_seconds",
            "When it started, in seconds since 1970",
            self.about.started / 1000,
        )?;
        gauge(
            &mut encoder,
            "memory_locked",
            "Whether its memory is locked against swapping",
            u64::from(self.about.memory == crate::harden::Memory::Locked),
        )?;
        gauge(
            &mut encoder,
            "connections",
            "Connections that are open, on both sockets together",
            self.doors.connections() as u64,
        )?;
        self.stored(&mut encoder)?;
        self.outlook(&mut encoder)?;
        token::encode(self.custodian.tokens(), &mut encoder)?;
        self.data_keys(&mut encoder)?;
        let position = self.custodian.journal().position();
        gauge(
            &mut encoder,
            "journal_sequence",
            "Number of the newest durable entry of the journal",
            position.head.seq,
        )?;
        gauge(
            &mut encoder,
            "journal_signed_sequence",
            "Number of the newest entry that a signature covers",
            position.covered,
        )
    }
}

impl Standing {
    fn stored(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (counts, left) = {
            let state = self.custodian.state();
            (state.counts(), state.left())
        };
        gauge(encoder, "groups", "Groups", counts.groups)?;
        gauge(encoder, "secrets", "Secrets in all groups", counts.secrets)?;
        gauge(encoder, "grants", "Grants in all groups", counts.rules)?;
        gauge(
            encoder,
            "data_keys_to_move",
            "Data keys that a token is to have under its present master key, and has not",
            left.moves,
        )?;
        gauge(
            encoder,
            "versions_to_renew",
            "Versions whose content is to be sealed anew, since someone may know the data key",
            left.renewals,
        )
    }

    fn data_keys(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (kept, lent) = self.custodian.count_data_keys();
        gauge(
            encoder,
            "cached_data_keys",
            "Data keys that are kept, so that the token need not be asked",
            kept as u64,
        )?;
        gauge(
            encoder,
            "token_turns_waiting",
            "Deliveries that wait for their turn at the token",
            self.custodian.waiting_for_token() as u64,
        )?;
        counters(
            encoder,
            "cached_deliveries",
            "Deliveries whose data key was kept from an earlier one",
            [(Labels::new(), lent)],
        )
    }

    fn outlook(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (findings, ends) = {
            let outlook = self.custodian.outlook();
            let state = self.custodian.state();
            let findings: Vec<(Labels, u64)> = outlook
                .counts()
                .filter_map(|(group, code, count)| {
                    let mode = state.group(group)?.compliance()?.rules.mode;
                    let labels = vec![
                        ("group", group.to_string()),
                        ("code", code.name().to_owned()),
                        ("mode", mode.name().to_owned()),
                    ];
                    Some((labels, count))
                })
                .collect();
            let ends: Vec<(Labels, u64)> = outlook
                .soonest()
                .map(|(group, at)| (vec![("group", group.to_string())], at / 1000))
                .collect();
            (findings, ends)
        };
        gauges(
            encoder,
            "findings",
            "Secrets of a group of which the rules find something",
            findings,
        )?;
        gauges(
            encoder,
            "soonest_end_timestamp_seconds",
            "When the first current or pending content of a group ends, in seconds since 1970",
            ends,
        )
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(
        name,
        help,
        None,
        prometheus_client::metrics::MetricType::Gauge,
    )?)
}

/// One gauge for each set of labels.
fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, u64)>,
) -> Result<(), fmt::Error> {
    let kind = prometheus_client::metrics::MetricType::Gauge;
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// One counter for each set of labels.
fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, u64)>,
) -> Result<(), fmt::Error> {
    let kind = prometheus_client::metrics::MetricType::Counter;
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
