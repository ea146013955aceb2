//! Requests: how many, how they ended, how long they took.

use std::time::Duration;

use custody::journal::Surface;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use tonic::Code;

/// Upper bounds of the times that are told apart, in seconds.
const BUCKETS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// The meters of both surfaces. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Requests {
    answered: Family<Labels<3>, Counter>,
    took: Family<Labels<2>, Histogram, fn() -> Histogram>,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            took: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl Requests {
    /// A request came to an end.
    pub(crate) fn answered(
        &self,
        surface: Surface,
        operation: &'static str,
        code: Code,
        took: Duration,
    ) {
        let surface = ("surface", name_of(surface));
        let operation = ("operation", operation);
        let labels = [surface, operation, ("code", name_of_code(code))];
        self.answered.get_or_create(&labels).inc();
        let took = took.as_secs_f64();
        self.took.get_or_create(&[surface, operation]).observe(took);
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests that were answered, by how they ended",
            self.answered.clone(),
        );
        registry.register_with_unit(
            "request",
            "How long it took to answer",
            Unit::Seconds,
            self.took.clone(),
        );
    }
}

fn name_of(surface: Surface) -> &'static str {
    match surface {
        Surface::Manager => "manager",
        Surface::Provider => "provider",
    }
}

/// As the gRPC libraries of most languages write codes.
fn name_of_code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
