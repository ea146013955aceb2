//! What the journal's thread counts of what it wrote.

use std::time::Duration;

use custody::journal::Event;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds of the times that are told apart, in seconds.
const BUCKETS: [f64; 10] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];

type Label = [(&'static str, &'static str); 1];

/// The journal's meters. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Meters {
    entries: Family<Label, Counter>,
    denials: Family<Label, Counter>,
    failures: Counter,
    took: Histogram,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            entries: Family::default(),
            denials: Family::default(),
            failures: Counter::default(),
            took: Histogram::new(BUCKETS),
        }
    }
}

impl Meters {
    /// These are durable, together, after that long.
    pub(super) fn written(&self, events: &[Event], took: Duration) {
        for event in events {
            self.entries.get_or_create(&[("kind", event.kind())]).inc();
            if let Event::Deny { reason, .. } = event {
                let reason = [("reason", reason.name())];
                self.denials.get_or_create(&reason).inc();
            }
        }
        self.took.observe(took.as_secs_f64());
    }

    /// Entries could not be written.
    pub(super) fn failed(&self) {
        self.failures.inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "journal_entries",
            "Entries of the journal that this daemon wrote, by kind",
            self.entries.clone(),
        );
        registry.register(
            "denials",
            "Requests for secrets that were denied, by the reason in the journal",
            self.denials.clone(),
        );
        registry.register(
            "journal_failures",
            "Times that the journal could not be written; nothing is released then",
            self.failures.clone(),
        );
        registry.register_with_unit(
            "journal_write",
            "How long it took until entries that were written together were durable",
            Unit::Seconds,
            self.took.clone(),
        );
    }
}
