//! The task that owns the worker: one after another, with the requests that wait for them.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::rand;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    health::{Health, WorkerState},
    key::Keys,
    process::PinHandover,
    start::Worker,
};
use crate::{
    Error, Settings,
    wire::{Done, Op},
};

/// The first wait between two workers, but for the very first, which is none.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A worker that served for this long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// What the driver is asked.
pub(super) enum Command {
    Request(Request),
    Stop(oneshot::Sender<()>),
}

/// Something for a worker to do, and who waits for it.
pub(super) struct Request {
    pub(super) op: Op,
    pub(super) reply: oneshot::Sender<Result<Done, Error>>,
    pub(super) by: Instant,
    pub(super) place: Place,
}

/// A place among the requests that may wait, given back when dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    pub(super) fn take(taken: &Arc<AtomicUsize>, places: usize) -> Option<Self> {
        if taken.fetch_add(1, Ordering::Relaxed) >= places {
            taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a worker no longer serves.
pub(super) enum End {
    /// It was told to.
    Stop,
    /// It ended, or was not worth keeping.
    Lost(String),
}

/// The owner of the worker.
pub(super) struct Driver {
    pub(super) settings: Arc<Settings>,
    pub(super) keys: Arc<Keys>,
    pub(super) queue: mpsc::UnboundedReceiver<Command>,
    pub(super) waiting: VecDeque<Request>,
    pub(super) stopping: Vec<oneshot::Sender<()>>,
    pin: Arc<PinHandover>,
    health: watch::Sender<Health>,
    wait: Duration,
}

impl Driver {
    /// Starts the first worker.
    pub(super) async fn start(
        settings: Arc<Settings>,
        keys: Arc<Keys>,
        queue: mpsc::UnboundedReceiver<Command>,
    ) -> Result<(Self, Worker), Error> {
        let pin = PinHandover::new(&settings.pin)?;
        let first = Worker::start(&settings, &pin, &keys).await?;
        let health = Health {
            state: WorkerState::Serving,
            generation: 1,
        };
        let driver = Self {
            settings,
            keys,
            queue,
            waiting: VecDeque::new(),
            stopping: Vec::new(),
            pin: Arc::new(pin),
            health: watch::Sender::new(health),
            wait: Duration::ZERO,
        };
        Ok((driver, first))
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Runs workers until it is told to stop.
    pub(super) async fn run(mut self, first: Worker) {
        let mut next = Some(first);
        while let Some(mut worker) = next {
            self.set(WorkerState::Serving);
            let since = Instant::now();
            match self.serve(&mut worker).await {
                End::Stop => {
                    worker.end().await;
                    break;
                }
                End::Lost(why) => {
                    self.succeed();
                    let how = worker.kill().await;
                    tracing::error!(%why, %how, "the worker is replaced");
                }
            }
            if !self.stopping.is_empty() {
                break;
            }
            if since.elapsed() >= GOOD {
                self.wait = Duration::ZERO;
            }
            next = self.successor().await;
        }
        // Whoever waits, or comes late, hears that there is nobody.
        self.queue.close();
        while let Ok(command) = self.queue.try_recv() {
            self.accept(command);
        }
        for request in self.waiting.drain(..) {
            let _gone = request.reply.send(Err(Error::Stopped));
        }
    }

    /// Starts workers until one serves. `None` if it was told to stop.
    async fn successor(&mut self) -> Option<Worker> {
        loop {
            let from = Instant::now() + self.next_wait();
            self.meanwhile(sleep_until(from)).await?;
            let (settings, pin, keys) = (
                Arc::clone(&self.settings),
                Arc::clone(&self.pin),
                Arc::clone(&self.keys),
            );
            let start = async move { Worker::start(&settings, &pin, &keys).await };
            match self.meanwhile(start).await? {
                Ok(worker) => return Some(worker),
                Err(error) => {
                    let permanent = error.is_permanent();
                    self.set(WorkerState::Failed {
                        problem: error.to_string(),
                        permanent,
                    });
                    if permanent {
                        tracing::error!(%error, "no further worker is started");
                        return self.refuse_all(&error).await;
                    }
                }
            }
        }
    }

    /// Waits for `what`, taking requests in and answering those whose time is over.
    async fn meanwhile<F: Future>(&mut self, what: F) -> Option<F::Output> {
        let mut what = pin!(what);
        loop {
            let soonest = self.waiting.front().map(|request| request.by);
            tokio::select! {
                biased;
                output = &mut what => return Some(output),
                command = self.queue.recv() => self.accept(command?),
                () = sleep_until(soonest.unwrap_or_else(Instant::now)), if soonest.is_some() => {
                    self.expire(&Error::Restarting);
                }
            }
            if !self.stopping.is_empty() {
                return None;
            }
        }
    }

    /// Answers all requests with `error`, from now on.
    async fn refuse_all(&mut self, error: &Error) -> Option<Worker> {
        loop {
            for request in self.waiting.drain(..) {
                let _gone = request.reply.send(Err(error.clone()));
            }
            let command = self.queue.recv().await?;
            self.accept(command);
            if !self.stopping.is_empty() {
                return None;
            }
        }
    }

    pub(super) fn accept(&mut self, command: Command) {
        match command {
            Command::Request(request) => self.waiting.push_back(request),
            Command::Stop(stopped) => self.stopping.push(stopped),
        }
    }

    /// Answers the waiting requests whose time is over.
    pub(super) fn expire(&mut self, error: &Error) {
        let now = Instant::now();
        let due = self
            .waiting
            .iter()
            .take_while(|request| request.by <= now)
            .count();
        for request in self.waiting.drain(..due) {
            let _gone = request.reply.send(Err(error.clone()));
        }
    }

    /// None the first time, then ever longer, and never twice the same.
    fn next_wait(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).max(FIRST_WAIT).min(self.settings.longest_wait);
        let mut byte = [0];
        // Without random numbers there is no jitter, which is no harm.
        let _plain = rand::fill(&mut byte);
        wait.mul_f64(0.75 + f64::from(byte[0]) / 512.0)
    }

    fn set(&self, state: WorkerState) {
        self.health.send_modify(|health| health.state = state);
    }

    fn succeed(&self) {
        self.health.send_modify(|health| {
            health.state = WorkerState::Starting;
            health.generation += 1;
        });
    }
}
