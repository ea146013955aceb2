//! What the workers are asked, how long that takes, and what the token answers when it goes wrong.

use std::{ops::Deref, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::wire::{Amiss, Op};

/// Upper bounds of the times that are told apart, in seconds.
const BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

type Labels<V> = [(&'static str, V); 3];
type OfToken = [(&'static str, String); 1];

/// What is counted of a token, by all of its workers, since the client was started; but for
/// operations whose worker was lost. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Meters {
    token: String,
    seconds: Family<Labels<String>, Histogram, fn() -> Histogram>,
    errors: Family<Labels<String>, Counter>,
    shared: Family<OfToken, Counter>,
    hedged: Family<OfToken, Counter>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            token: String::new(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            errors: Family::default(),
            shared: Family::default(),
            hedged: Family::default(),
        }
    }
}

/// What an operation is called in the meters.
pub(super) fn name(op: &Op) -> &'static str {
    match op {
        Op::Protect(_) => "protect",
        Op::Reveal(_) => "reveal",
        Op::Rewrap(_) => "rewrap",
        Op::Sign(_) => "sign",
        Op::CheckCanary(_) => "canary",
        Op::Load(_) => "load",
        Op::Generate(_) | Op::Destroy(_) => "manage",
        Op::Random(_) => "random",
    }
}

impl Meters {
    /// The same, counted for the token of that serial number.
    #[must_use]
    pub fn of(&self, serial: &str) -> Self {
        Self {
            token: serial.to_owned(),
            ..self.clone()
        }
    }

    fn labels(&self, [one, other]: [(&'static str, &str); 2]) -> Labels<String> {
        let labels = [("token", self.token.as_str()), one, other];
        labels.map(|(name, value)| (name, value.to_owned()))
    }

    /// An operation waited so long for a worker, which then took so long.
    pub(super) fn note(&self, operation: &'static str, queue: Duration, exec: Duration) {
        for (phase, time) in [("queue", queue), ("exec", exec)] {
            let labels = self.labels([("operation", operation), ("phase", phase)]);
            self.seconds
                .get_or_create(&labels)
                .observe(time.as_secs_f64());
        }
    }

    pub(super) fn note_amiss(&self, amiss: Vec<Amiss>) {
        for Amiss { function, code } in amiss {
            let labels = self.labels([("function", &function), ("code", &code)]);
            self.errors.get_or_create(&labels).inc();
        }
    }

    /// An unwrap was not asked of the token, since another waited for the same.
    pub(super) fn note_shared(&self) {
        self.of_token(&self.shared).inc();
    }

    /// The token was asked to unwrap what another has not answered.
    pub(super) fn note_hedged(&self) {
        self.of_token(&self.hedged).inc();
    }

    fn of_token<'a>(
        &self,
        family: &'a Family<OfToken, Counter>,
    ) -> impl Deref<Target = Counter> + use<'a> {
        family.get_or_create(&[("token", self.token.clone())])
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> u64 {
        self.of_token(&self.shared).get()
    }

    /// Has `registry` tell of them, with names that begin with `token_`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "token_operation",
            "How long operations of the token took: until a worker was given them (queue) and \
             until it had answered (exec)",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "token_errors",
            "What the token answered other than CKR_OK, got over or not",
            self.errors.clone(),
        );
        registry.register(
            "token_unwraps_shared",
            "Unwraps for which the token was not asked, since it was being asked for the same",
            self.shared.clone(),
        );
        registry.register(
            "token_unwraps_hedged",
            "Unwraps that the token was asked for since another took long to answer",
            self.hedged.clone(),
        );
    }
}
