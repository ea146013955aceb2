//! The task that owns a worker: one after another, with the requests that wait for them.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use aws_lc_rs::rand;
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use super::{
    health::{Health, WorkerState},
    key::Keys,
    lanes::{Arrivals, Command, Lanes, Room, Status, Ties},
    meters::Meters,
    process::PinHandover,
    renewal::Renewal,
    start::Worker,
    waiting::Waiting,
};
use crate::{Error, Settings};

/// The first wait between two workers, but for the very first, which is none.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A worker that served for this long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// What the drivers of a token share.
pub(super) struct Crew {
    pub(super) keys: Arc<Keys>,
    pub(super) meters: Meters,
    pub(super) health: watch::Sender<Health>,
    /// Held while a worker logs in: a wrong PIN is tried once, however many workers there are.
    pub(super) logins: Mutex<()>,
}

/// Why a worker no longer serves.
pub(super) enum End {
    /// It was told to.
    Stop,
    /// It ended, or was not worth keeping.
    Lost(String),
    /// Another has taken its place.
    Replaced(Box<Worker>),
}

/// The owner of a worker.
pub(super) struct Driver {
    pub(super) crew: Arc<Crew>,
    pub(super) settings: Arc<Settings>,
    pub(super) lanes: Weak<Lanes>,
    /// The number of its lane.
    pub(super) lane: usize,
    pub(super) queue: mpsc::UnboundedReceiver<Command>,
    pub(super) status: Arc<Status>,
    pub(super) waiting: Waiting,
    pub(super) stopping: Vec<oneshot::Sender<()>>,
    pub(super) renewal: Renewal,
    pin: Arc<PinHandover>,
    wait: Duration,
}

impl Driver {
    pub(super) fn new(
        crew: &Arc<Crew>,
        settings: &Arc<Settings>,
        pin: &Arc<PinHandover>,
        lanes: &Arc<Lanes>,
        (lane, arrivals): (usize, Arrivals),
    ) -> Self {
        Self {
            crew: Arc::clone(crew),
            settings: Arc::clone(settings),
            lanes: Arc::downgrade(lanes),
            lane,
            queue: arrivals.queue,
            status: arrivals.status,
            waiting: Waiting::default(),
            stopping: Vec::new(),
            renewal: Renewal::none(),
            pin: Arc::clone(pin),
            wait: Duration::ZERO,
        }
    }

    /// Runs workers until it is told to stop: `first`, or one that it starts, and successors.
    pub(super) async fn run(mut self, first: Option<Worker>) {
        let mut next = match first {
            Some(first) => Some(first),
            None => self.successor().await,
        };
        while let Some(mut worker) = next {
            self.take_over(&worker);
            let since = Instant::now();
            match self.serve(&mut worker).await {
                End::Stop => {
                    worker.end().await;
                    break;
                }
                End::Replaced(successor) => {
                    tracing::info!("another worker has taken the place of one that served");
                    self.succeed(WorkerState::Serving);
                    // What it was asked is answered; how long it takes to go holds nobody up.
                    tokio::spawn(worker.end());
                    next = Some(*successor);
                }
                End::Lost(why) => {
                    self.status.set_serving(false);
                    self.succeed(WorkerState::Starting);
                    let how = worker.kill().await;
                    tracing::error!(%why, %how, "the worker is replaced");
                    if !self.stopping.is_empty() {
                        break;
                    }
                    if since.elapsed() >= GOOD {
                        self.wait = Duration::ZERO;
                    }
                    next = match self.renewal.take_ready() {
                        Some(successor) => Some(successor),
                        None => self.successor().await,
                    };
                }
            }
        }
        self.refuse_the_rest();
    }

    /// Says that its worker serves.
    pub(super) fn serves(&self) {
        self.status.set_serving(true);
        self.set(WorkerState::Serving);
    }

    /// Has a worker that serves take requests.
    fn take_over(&mut self, worker: &Worker) {
        self.serves();
        self.renewal.begin_watch(worker, &self.settings);
        self.catch_up(worker);
    }

    /// Has it load the keys that came to be while it started, and destroy what it has of those
    /// that went.
    fn catch_up(&self, worker: &Worker) {
        let Some(lanes) = self.lanes.upgrade() else {
            return;
        };
        for (id, order) in self.crew.keys.orders_since(worker.keys()) {
            let by = Instant::now() + self.settings.deadline;
            let asked = lanes.ask_one(self.lane, order, by);
            let keys = Arc::clone(&self.crew.keys);
            tokio::spawn(async move {
                let outcome = match asked {
                    Ok(answer) => answer.wait().await,
                    Err(error) => Err(error),
                };
                if let Err(error) = outcome {
                    tracing::warn!(key = %id, %error, "a worker that came to serve is not up to date");
                    keys.note_lack(&id, true);
                }
            });
        }
    }

    /// Whoever waits, or comes late, hears that there is nobody.
    fn refuse_the_rest(&mut self) {
        self.status.set_serving(false);
        self.queue.close();
        while let Ok(command) = self.queue.try_recv() {
            self.accept(command);
        }
        for request in self.waiting.take_all() {
            let _gone = request.reply.send(Err(Error::Stopped));
        }
    }

    /// A worker that is being started as things are now.
    pub(super) fn start(&self) -> impl Future<Output = Result<Worker, Error>> + Send + 'static {
        let (settings, pin, crew) = (
            Arc::clone(&self.settings),
            Arc::clone(&self.pin),
            Arc::clone(&self.crew),
        );
        async move { Worker::start(&settings, &pin, &crew).await }
    }

    /// Starts workers until one serves. `None` if it was told to stop.
    async fn successor(&mut self) -> Option<Worker> {
        if let Some(coming) = self.renewal.take_coming()
            && let Ok(worker) = self.meanwhile(coming).await?
        {
            return Some(worker);
        }
        loop {
            let from = Instant::now() + self.next_wait();
            self.meanwhile(sleep_until(from)).await?;
            let start = self.start();
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
                        self.refuse_all(&error).await?;
                    }
                }
            }
        }
    }

    /// Waits for `what`, taking requests in, giving them to workers that serve, and answering
    /// those whose time is over.
    async fn meanwhile<F: Future>(&mut self, what: F) -> Option<F::Output> {
        let mut what = pin!(what);
        let mut health = self.crew.health.subscribe();
        loop {
            self.hand_over_waiting();
            let soonest = self.waiting.due();
            tokio::select! {
                biased;
                output = &mut what => return Some(output),
                command = self.queue.recv() => self.accept(command?),
                // It ends with this driver.
                _ = health.changed() => {}
                () = sleep_until(soonest.unwrap_or_else(Instant::now)), if soonest.is_some() => {
                    self.expire(&Error::Restarting);
                }
            }
            if !self.stopping.is_empty() {
                return None;
            }
        }
    }

    /// Gives what waits here to workers that serve; if none does and that is not going to be
    /// otherwise soon, it is refused.
    pub(super) fn hand_over_waiting(&mut self) {
        let Some(lanes) = self.lanes.upgrade() else {
            return;
        };
        let outage = self.crew.outage();
        if outage.is_none() && !lanes.has_other(self.lane, Room::Any) {
            return;
        }
        for request in self.waiting.take_all() {
            let kept = match request.ties {
                Ties::Worker => Some(request),
                _ => lanes.pass_on(self.lane, request, Room::Any),
            };
            match (kept, &outage) {
                (None, _) => {}
                (Some(request), Some(outage)) => {
                    let _gone = request.reply.send(Err(outage.clone()));
                }
                (Some(request), None) => self.waiting.add(request),
            }
        }
    }

    /// Answers all requests with `error`, until it is told to try again. `None` if it is told
    /// to stop.
    async fn refuse_all(&mut self, error: &Error) -> Option<()> {
        loop {
            self.hand_over_waiting();
            for request in self.waiting.take_all() {
                let _gone = request.reply.send(Err(error.clone()));
            }
            let command = self.queue.recv().await?;
            let renewed = matches!(command, Command::Renew(_));
            self.accept(command);
            if !self.stopping.is_empty() {
                return None;
            }
            if renewed {
                return Some(());
            }
        }
    }

    pub(super) fn accept(&mut self, command: Command) {
        match command {
            Command::Request(request) => self.waiting.add(request),
            Command::Renew(settings) => self.renew(settings),
            Command::Stop(stopped) => self.stopping.push(stopped),
        }
    }

    fn renew(&mut self, settings: Arc<Settings>) {
        if settings.pin != self.settings.pin {
            match PinHandover::new(&settings.pin) {
                Ok(pin) => self.pin = Arc::new(pin),
                Err(error) => {
                    let problem = error.to_string();
                    tracing::error!(%problem, "the worker serves on as it was");
                    self.note_renewal(Some(problem));
                    return;
                }
            }
        }
        self.settings = settings;
        self.renewal.order();
    }

    /// Answers the waiting requests whose time is over.
    pub(super) fn expire(&mut self, error: &Error) {
        for request in self.waiting.take_due(Instant::now()) {
            let _gone = request.reply.send(Err(error.clone()));
        }
    }

    /// None the first time, then ever longer, and never twice the same.
    fn next_wait(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).max(FIRST_WAIT).min(self.settings.longest_wait);
        jittered(wait)
    }

    fn set(&self, state: WorkerState) {
        let lane = self.lane;
        self.crew
            .health
            .send_modify(|health| health.turn(lane, state));
    }

    fn succeed(&self, state: WorkerState) {
        let lane = self.lane;
        self.crew
            .health
            .send_modify(|health| health.succeed(lane, state));
    }

    /// Notes why a worker that was to be replaced is not.
    pub(super) fn note_renewal(&self, problem: Option<String>) {
        let lane = self.lane;
        self.crew
            .health
            .send_modify(|health| health.workers[lane].renewal_problem = problem);
    }
}

impl Crew {
    /// Why no request is worth sending now.
    pub(super) fn outage(&self) -> Option<Error> {
        match &self.health.borrow().state {
            WorkerState::Failed {
                problem,
                permanent: false,
            } => Some(Error::Outage {
                problem: problem.clone(),
            }),
            _ => None,
        }
    }
}

/// A quarter less to a quarter more.
pub(super) fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    // Without random numbers there is no jitter, which is no harm.
    let _plain = rand::fill(&mut byte);
    wait.mul_f64(0.75 + f64::from(byte[0]) / 512.0)
}
