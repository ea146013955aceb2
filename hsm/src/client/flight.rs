//! The requests that a worker has, by number, until it answers them.

use std::{collections::VecDeque, io, time::Duration};

use custody::release::Urgency;
use tokio::{sync::oneshot, time::Instant};

use super::{
    driver::Crew,
    lanes::{Place, Request, Ties},
    meters::{self, Meters},
};
use crate::{
    Error,
    wire::{self, Answer, BadFrame, Done, Inbox, Op},
};

/// A request that the worker has.
struct Sent {
    /// What it is and who waits for it, unless nobody does or another worker has it, too.
    open: Option<Open>,
    operation: &'static str,
    asked: Instant,
    at: Instant,
    /// Given back with the worker's answer.
    place: Place,
}

struct Open {
    /// As long as another worker may do it.
    op: Option<Op>,
    reply: oneshot::Sender<Result<Done, Error>>,
    by: Instant,
    urgency: Urgency,
}

/// What the worker has.
pub(super) struct Flight {
    sent: VecDeque<Option<Sent>>,
    first: u64,
    window: usize,
}

impl Flight {
    /// Of a worker that may have so many requests at a time.
    pub(super) fn new(window: usize) -> Self {
        Self {
            sent: VecDeque::new(),
            first: 0,
            window,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.sent.len() < self.window
    }

    /// Writes a request behind what is in `out`.
    pub(super) fn add(&mut self, request: Request, out: &mut Vec<u8>) {
        let Request {
            op,
            reply,
            asked,
            by,
            place,
            ties,
            urgency,
        } = request;
        if reply.is_closed() {
            return;
        }
        let operation = meters::name(&op);
        let at = u64::try_from(self.sent.len()).unwrap_or(u64::MAX);
        let message = wire::Request {
            id: self.first + at,
            op: Some(op),
        };
        if let Err(error) = wire::put(out, &message) {
            let _gone = reply.send(Err(Error::WorkerUnusable(error.to_string())));
            return;
        }
        let op = message.op.filter(|_| ties == Ties::None);
        self.sent.push_back(Some(Sent {
            open: Some(Open {
                op,
                reply,
                by,
                urgency,
            }),
            operation,
            at: Instant::now(),
            asked,
            place,
        }));
    }

    /// Hands out all answers that have arrived. What this worker lacks the key for is put among
    /// the `strays`, if another may do it.
    pub(super) fn hand_out(
        &mut self,
        inbox: &mut Inbox,
        crew: &Crew,
        strays: &mut Vec<(Request, Error)>,
    ) -> io::Result<()> {
        while let Some(Answer { id, done, amiss }) = inbox.take().map_err(broken)? {
            crew.meters.note_amiss(amiss);
            let done = done.ok_or_else(|| odd("it has lost its token"))?;
            let at = id
                .checked_sub(self.first)
                .and_then(|at| usize::try_from(at).ok());
            let sent = at
                .and_then(|at| self.sent.get_mut(at))
                .and_then(Option::take);
            let mut sent = sent.ok_or_else(|| odd("it answered what was not asked"))?;
            sent.note_times(&crew.meters);
            let outcome = match done {
                Done::Problem(problem) => Err(problem.into()),
                done => {
                    crew.keys.remember_made(&done);
                    Ok(done)
                }
            };
            match outcome {
                Err(error @ Error::KeyNotLoaded { .. }) if sent.may_move() => {
                    strays.extend(sent.again().map(|request| (request, error)));
                }
                outcome => sent.answer(outcome),
            }
            while let Some(None) = self.sent.front() {
                self.sent.pop_front();
                self.first += 1;
            }
        }
        Ok(())
    }

    /// Answers the requests whose time is over. The worker may still be at them.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        for sent in self.sent.iter_mut().flatten() {
            if let Some(open) = sent.open.take_if(|open| open.by <= now) {
                let _gone = open.reply.send(Err(Error::Deadline));
            }
        }
    }

    /// When the first of them is to be answered.
    pub(super) fn due(&self) -> Option<Instant> {
        let open = self
            .sent
            .iter()
            .flatten()
            .filter_map(|sent| sent.open.as_ref());
        open.map(|open| open.by).min()
    }

    /// Since when the worker has had the one that it has had longest.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.sent
            .front()
            .and_then(Option::as_ref)
            .map(|sent| sent.at)
    }

    /// Whether the worker has had a request for that long.
    pub(super) fn has_one_of(&self, age: Duration) -> bool {
        self.oldest().is_some_and(|at| at.elapsed() >= age)
    }

    /// A request that the worker has had for that long, and another may do.
    pub(super) fn take_one_of(&mut self, age: Duration) -> Option<Request> {
        let mut sent = self.sent.iter_mut().flatten();
        let sent = sent.find(|sent| sent.at.elapsed() >= age && sent.may_move())?;
        sent.again()
    }

    /// All that has no answer, of a worker that is lost: what another may do, and the rest is
    /// told to come again.
    pub(super) fn abandon(&mut self) -> Vec<Request> {
        let sent = self.sent.drain(..).flatten();
        let (mut movable, rest): (Vec<_>, Vec<_>) = sent.partition(Sent::may_move);
        rest.into_iter()
            .for_each(|sent| sent.answer(Err(Error::Restarting)));
        movable.iter_mut().filter_map(Sent::again).collect()
    }
}

impl Sent {
    fn note_times(&self, meters: &Meters) {
        let queue = self.at.saturating_duration_since(self.asked);
        meters.note(self.operation, queue, self.at.elapsed());
    }

    fn may_move(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|open| open.op.is_some() && !open.reply.is_closed())
    }

    /// The same for another worker, once. Its answer is awaited here no more.
    fn again(&mut self) -> Option<Request> {
        let Open {
            op,
            reply,
            by,
            urgency,
        } = self.open.take()?;
        Some(Request {
            op: op?,
            reply,
            urgency,
            asked: self.asked,
            by,
            place: self.place.another(),
            ties: Ties::Moved,
        })
    }

    fn answer(self, outcome: Result<Done, Error>) {
        if let Some(open) = self.open {
            // Whoever asked may be gone; key bytes in an answer nobody takes are wiped.
            let _gone = open.reply.send(outcome);
        }
    }
}

fn broken(error: BadFrame) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
