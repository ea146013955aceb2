//! A worker that serves is replaced by another that has come to serve: because it has grown, or
//! is old, or is to be used otherwise. Nothing that was asked of it is lost.

use std::{fmt, pin::Pin, time::Duration};

use tokio::time::Instant;

use super::{
    driver::{Driver, jittered},
    process::Process,
    start::Worker,
};
use crate::{Error, Settings};

/// How often a worker is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The first wait after a worker did not come to take another's place, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Why a worker is to be replaced.
#[derive(Clone, Copy, Debug)]
enum Reason {
    Order,
    Age(Duration),
    Growth(u64),
}

/// One that is on its way.
pub(super) type Start = Pin<Box<dyn Future<Output = Result<Worker, Error>> + Send>>;

/// The one that is to take a worker's place.
pub(super) struct Renewal {
    ordered: bool,
    /// Whether whoever is on its way was started before that was ordered.
    is_late: bool,
    coming: Option<Start>,
    ready: Option<Worker>,
    next_look: Instant,
    old_at: Option<Instant>,
    /// What the worker had when it came to serve, in bytes.
    at_first: Option<u64>,
    not_before: Instant,
    wait: Duration,
}

impl Renewal {
    pub(super) fn none() -> Self {
        let now = Instant::now();
        Self {
            ordered: false,
            is_late: false,
            coming: None,
            ready: None,
            next_look: now,
            old_at: None,
            at_first: None,
            not_before: now,
            wait: FIRST_WAIT,
        }
    }

    /// Watches a worker that has just come to serve.
    pub(super) fn begin_watch(&mut self, worker: &Worker, settings: &Settings) {
        *self = Self::none();
        self.old_at = settings
            .worker_age
            .map(|age| Instant::now() + jittered(age));
        self.next_look = self.look_after(Instant::now());
        self.at_first = worker.process.resident();
    }

    /// It is to be replaced as soon as can be. One that is on its way already is let come, since
    /// it may be in the middle of a login, and then makes way for another.
    pub(super) fn order(&mut self) {
        self.ordered = true;
        self.is_late = self.coming.is_some();
        self.ready = None;
        self.not_before = Instant::now();
        self.next_look = self.not_before;
        self.wait = FIRST_WAIT;
    }

    /// Whether another is there, so that this one is given nothing more to do.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// The one that is on its way, if one is.
    pub(super) fn take_coming(&mut self) -> Option<Start> {
        self.coming.take_if(|_| !self.is_late)
    }

    /// The other, if it is there.
    pub(super) fn take_ready(&mut self) -> Option<Worker> {
        self.ready.take()
    }

    fn reason(&self, resident: Option<u64>, settings: &Settings) -> Option<Reason> {
        let now = Instant::now();
        if now < self.not_before {
            return None;
        }
        if self.ordered {
            return Some(Reason::Order);
        }
        if let (Some(age), Some(old_at)) = (settings.worker_age, self.old_at)
            && now >= old_at
        {
            return Some(Reason::Age(age));
        }
        let grown = resident?.saturating_sub(self.at_first?);
        (grown >= settings.worker_growth?).then_some(Reason::Growth(grown))
    }

    fn look_after(&self, now: Instant) -> Instant {
        let look = now + LOOK;
        match self.old_at {
            Some(old_at) if old_at > now => look.min(old_at),
            _ => look,
        }
    }

    fn put_off(&mut self) {
        self.not_before = Instant::now() + jittered(self.wait);
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    /// When the worker is to be looked at, unless another is on its way.
    pub(super) fn next_look(&self) -> Option<Instant> {
        (self.coming.is_none() && self.ready.is_none()).then_some(self.next_look)
    }

    /// Waits until whoever is on its way is there, or will not come.
    pub(super) async fn arrival(&mut self) -> Result<Worker, Error> {
        match &mut self.coming {
            Some(coming) => {
                let outcome = coming.await;
                self.coming = None;
                outcome
            }
            None => std::future::pending().await,
        }
    }
}

impl Driver {
    /// Starts another worker if it is time to look and there is reason to.
    pub(super) fn look_at(&mut self, process: &Process) {
        let now = Instant::now();
        if self.renewal.next_look().is_none_or(|look| now < look) {
            return;
        }
        self.renewal.next_look = self.renewal.look_after(now);
        if let Some(reason) = self.renewal.reason(process.resident(), &self.settings) {
            tracing::info!(%reason, "a worker is started that is to take another's place");
            self.renewal.coming = Some(Box::pin(self.start()));
        }
    }

    /// Takes in what [`Renewal::arrival`] gave.
    pub(super) fn receive_arrival(&mut self, arrival: Result<Worker, Error>) {
        let is_late = std::mem::take(&mut self.renewal.is_late);
        match arrival {
            Ok(worker) if is_late => drop(tokio::spawn(worker.end())),
            Ok(worker) => self.renewal.ready = Some(worker),
            Err(error) => {
                let problem = error.to_string();
                tracing::warn!(%problem, "no worker could take another's place, which serves on");
                self.note_renewal(Some(problem));
                if !is_late {
                    self.renewal.put_off();
                }
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order => f.write_str("it is to be used otherwise"),
            Self::Age(age) => write!(f, "it has served for {} s", age.as_secs()),
            Self::Growth(bytes) => write!(f, "it has grown by {} MiB", bytes >> 20),
        }
    }
}
