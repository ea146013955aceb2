//! How the workers do.

/// How a token's workers do, taken together and one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The best that one of them does: a token with a worker that serves, serves.
    pub state: WorkerState,
    /// How many workers the token has had, those included that are starting.
    pub generation: u64,
    /// Each place for a worker, of which there are as many as
    /// [`Settings::workers`](crate::Settings::workers) says.
    pub workers: Vec<WorkerHealth>,
}

/// How one worker does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerHealth {
    /// What it does.
    pub state: WorkerState,
    /// Its number among all workers that the token has had, from 1.
    pub number: u64,
    /// Why the worker that was to take its place could not, so that it serves on.
    pub renewal_problem: Option<String>,
}

/// What a worker does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It is not ready yet.
    Starting,
    /// It answers requests.
    Serving,
    /// It could not be started.
    Failed {
        /// Why, for the operator.
        problem: String,
        /// Whether no further attempt is made.
        permanent: bool,
    },
}

/// What becomes of a request to the token now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// A worker serves: it is done.
    Closed,
    /// A worker was lost and the first attempt at its successor is under way: it waits.
    HalfOpen,
    /// That failed: it is refused at once, until a later attempt has opened a canary.
    Open,
}

impl Breaker {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

impl Health {
    pub(super) fn of(workers: usize) -> Self {
        let workers = (1..).take(workers).map(|number| WorkerHealth {
            state: WorkerState::Starting,
            number,
            renewal_problem: None,
        });
        let workers: Vec<_> = workers.collect();
        Self {
            state: WorkerState::Starting,
            generation: u64::try_from(workers.len()).unwrap_or(u64::MAX),
            workers,
        }
    }

    /// What becomes of a request now.
    pub fn breaker(&self) -> Breaker {
        match self.state {
            WorkerState::Serving => Breaker::Closed,
            WorkerState::Starting => Breaker::HalfOpen,
            WorkerState::Failed { .. } => Breaker::Open,
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.state == WorkerState::Serving
    }

    /// A worker does something else than before.
    pub(super) fn turn(&mut self, worker: usize, state: WorkerState) {
        self.workers[worker].state = state;
        let rank = |state: &WorkerState| match state {
            WorkerState::Serving => 0,
            WorkerState::Failed {
                permanent: false, ..
            } => 2,
            WorkerState::Failed { .. } => 3,
            WorkerState::Starting => 1,
        };
        let states = self.workers.iter().map(|worker| &worker.state);
        if let Some(best) = states.min_by_key(|state| rank(state)) {
            self.state = best.clone();
        }
    }

    /// Another worker takes a place.
    pub(super) fn succeed(&mut self, worker: usize, state: WorkerState) {
        self.generation += 1;
        self.workers[worker].number = self.generation;
        self.workers[worker].renewal_problem = None;
        self.turn(worker, state);
    }
}
