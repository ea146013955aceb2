//! How the worker does.

/// The worker's state, and which worker it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What the worker does.
    pub state: WorkerState,
    /// 1 for the first worker, and one more for each successor.
    pub generation: u64,
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
