//! The workers of a token, each with a queue of its own, and which of them a request goes to.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use custody::release::Urgency;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    Error, Settings,
    wire::{Done, Op},
};

/// What the driver of a worker is asked.
pub(super) enum Command {
    Request(Request),
    /// Put another worker in its place, which is used as is said here.
    Renew(Arc<Settings>),
    Stop(oneshot::Sender<()>),
}

/// Something for a worker to do, and who waits for it.
pub(super) struct Request {
    pub(super) op: Op,
    pub(super) reply: oneshot::Sender<Result<Done, Error>>,
    pub(super) asked: Instant,
    pub(super) by: Instant,
    pub(super) place: Place,
    pub(super) ties: Ties,
    pub(super) urgency: Urgency,
}

/// Whether a request may go to another worker than the one that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ties {
    /// Any worker may do it, and no harm is done if two do.
    None,
    /// As above, but it was begun elsewhere already. What makes one worker hang or crash gets
    /// at no more than two.
    Moved,
    /// It is for this worker, or is not to be done twice.
    Worker,
}

impl Ties {
    /// Those of a request that is for whichever worker has time.
    fn of(op: &Op) -> Self {
        match op {
            Op::Protect(_)
            | Op::Reveal(_)
            | Op::Rewrap(_)
            | Op::Sign(_)
            | Op::CheckCanary(_)
            | Op::Random(_) => Self::None,
            Op::Load(_) | Op::Generate(_) | Op::Destroy(_) => Self::Worker,
        }
    }
}

/// How soon a request is to be done, unless it is known to have time.
fn urgency(op: &Op) -> Urgency {
    match op {
        // Nothing is delivered that is not on record, and nothing at all by a token in doubt.
        Op::Reveal(_) | Op::Sign(_) | Op::CheckCanary(_) => Urgency::Delivery,
        Op::Protect(_) | Op::Random(_) | Op::Load(_) | Op::Generate(_) | Op::Destroy(_) => {
            Urgency::Management
        }
        Op::Rewrap(_) => Urgency::Upkeep,
    }
}

/// How much a worker has to do.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Requests that wait for it or that it has, those included that nobody waits for.
    asked: AtomicUsize,
    serving: AtomicBool,
    slow: AtomicBool,
}

impl Status {
    pub(super) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
        self.set_slow(false);
    }

    /// It has had a request for longer than is usual: others go elsewhere.
    pub(super) fn set_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
    }

    fn serves(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// The less, the better.
    fn reluctance(&self) -> (bool, bool, usize) {
        let asked = self.asked.load(Ordering::Relaxed);
        (!self.serves(), self.is_slow(), asked)
    }
}

/// A place among the requests that may wait, given back when dropped.
pub(super) struct Place {
    taken: Arc<AtomicUsize>,
    status: Arc<Status>,
}

impl Place {
    fn of(taken: &Arc<AtomicUsize>, status: &Arc<Status>) -> Self {
        taken.fetch_add(1, Ordering::Relaxed);
        status.asked.fetch_add(1, Ordering::Relaxed);
        Self {
            taken: Arc::clone(taken),
            status: Arc::clone(status),
        }
    }

    /// One more in the same lane.
    pub(super) fn another(&self) -> Self {
        Self::of(&self.taken, &self.status)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.status.asked.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Lane {
    queue: mpsc::UnboundedSender<Command>,
    status: Arc<Status>,
}

/// The ways to the workers. The drivers end when it is dropped.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    taken: Arc<AtomicUsize>,
    places: usize,
}

/// A driver's end of its lane.
pub(super) struct Arrivals {
    pub(super) queue: mpsc::UnboundedReceiver<Command>,
    pub(super) status: Arc<Status>,
}

/// Which workers a request that is moved may go to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room {
    /// Any that serves.
    Any,
    /// One that is not slow, either.
    Brisk,
}

impl Lanes {
    pub(super) fn new(settings: &Settings) -> (Arc<Self>, Vec<Arrivals>) {
        let workers = settings.workers.get();
        let mut arrivals = Vec::with_capacity(workers);
        let lanes = (0..workers).map(|_| {
            let (queue, receiver) = mpsc::unbounded_channel();
            let status = Arc::new(Status::default());
            arrivals.push(Arrivals {
                queue: receiver,
                status: Arc::clone(&status),
            });
            Lane { queue, status }
        });
        let sessions = settings.sessions.get().saturating_mul(workers);
        let lanes = Self {
            lanes: lanes.collect(),
            taken: Arc::default(),
            places: settings.queue.get().saturating_add(sessions),
        };
        (Arc::new(lanes), arrivals)
    }

    pub(super) fn waiting(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether each worker that serves has had a request for longer than is usual.
    pub(super) fn are_slow(&self) -> bool {
        let mut serving = self.lanes.iter().filter(|lane| lane.status.serves());
        serving.all(|lane| lane.status.is_slow())
    }

    /// Queues a request for the worker that has least to do, of those that serve if any does; no more
    /// urgent than `most`.
    pub(super) fn ask(&self, op: Op, by: Instant, most: Urgency) -> Result<Answer, Error> {
        let lane = self
            .lanes
            .iter()
            .min_by_key(|lane| lane.status.reluctance());
        let ties = Ties::of(&op);
        let urgency = urgency(&op).max(most);
        self.send(lane.ok_or(Error::Stopped)?, op, by, ties, urgency)
    }

    /// Queues what `op` gives for each worker that serves.
    pub(super) fn ask_each(&self, op: impl Fn() -> Op, by: Instant) -> Vec<Result<Answer, Error>> {
        let serving = self.lanes.iter().filter(|lane| lane.status.serves());
        serving.map(|lane| self.send_to(lane, op(), by)).collect()
    }

    /// Queues a request for the worker of one lane.
    pub(super) fn ask_one(&self, lane: usize, op: Op, by: Instant) -> Result<Answer, Error> {
        let lane = self.lanes.get(lane).ok_or(Error::Stopped)?;
        self.send_to(lane, op, by)
    }

    fn send_to(&self, lane: &Lane, op: Op, by: Instant) -> Result<Answer, Error> {
        let urgency = urgency(&op);
        self.send(lane, op, by, Ties::Worker, urgency)
    }

    fn send(
        &self,
        lane: &Lane,
        op: Op,
        by: Instant,
        ties: Ties,
        urgency: Urgency,
    ) -> Result<Answer, Error> {
        if self.waiting() >= self.places_for(urgency) {
            return Err(Error::Busy);
        }
        let (reply, answer) = oneshot::channel();
        let request = Request {
            op,
            reply,
            asked: Instant::now(),
            by,
            place: self.place(lane),
            ties,
            urgency,
        };
        let sent = lane.queue.send(Command::Request(request));
        sent.map_err(|_| Error::Stopped)?;
        Ok(Answer(answer))
    }

    /// However much of what has time waits, there is room for what has none.
    fn places_for(&self, urgency: Urgency) -> usize {
        match urgency {
            Urgency::Delivery => self.places,
            Urgency::Management => self.places - self.places / 4,
            Urgency::Upkeep => self.places.div_ceil(2),
        }
    }

    fn place(&self, lane: &Lane) -> Place {
        Place::of(&self.taken, &lane.status)
    }

    /// A lane other than `but`, whose worker serves and has the least to do.
    fn other(&self, but: usize, room: Room) -> Option<&Lane> {
        let others = self.lanes.iter().enumerate();
        let others = others.filter(|(index, lane)| *index != but && lane.status.serves());
        let (_, lane) = others.min_by_key(|(_, lane)| lane.status.reluctance())?;
        let (_, slow, _) = lane.status.reluctance();
        match room {
            Room::Brisk if slow => None,
            Room::Any | Room::Brisk => Some(lane),
        }
    }

    /// Whether a request of lane `from` could go elsewhere.
    pub(super) fn has_other(&self, from: usize, room: Room) -> bool {
        self.other(from, room).is_some()
    }

    /// Queues a request of lane `from` for another worker, or gives it back.
    pub(super) fn pass_on(&self, from: usize, mut request: Request, room: Room) -> Option<Request> {
        let Some(lane) = self.other(from, room) else {
            return Some(request);
        };
        request.place = self.place(lane);
        match lane.queue.send(Command::Request(request)) {
            Err(mpsc::error::SendError(Command::Request(request))) => Some(request),
            // What comes back is what was sent.
            Ok(()) | Err(_) => None,
        }
    }

    /// Has each worker replaced by another.
    pub(super) fn renew(&self, settings: &Arc<Settings>) {
        for lane in &self.lanes {
            // A driver that has ended has nothing to replace.
            let _ended = lane.queue.send(Command::Renew(Arc::clone(settings)));
        }
    }

    /// Has each worker end, and waits until they are gone.
    pub(super) async fn stop(&self) {
        let ends: Vec<_> = self
            .lanes
            .iter()
            .filter_map(|lane| {
                let (stopped, wait) = oneshot::channel();
                lane.queue.send(Command::Stop(stopped)).ok()?;
                Some(wait)
            })
            .collect();
        for end in ends {
            // The driver dropped the sender when it ended, which is as good as an answer.
            let _ended = end.await;
        }
    }
}

/// An answer to come.
pub(super) struct Answer(oneshot::Receiver<Result<Done, Error>>);

impl Answer {
    pub(super) async fn wait(self) -> Result<Done, Error> {
        self.0.await.unwrap_or(Err(Error::Stopped))
    }
}
