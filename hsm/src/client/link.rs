//! The socket to a worker that serves: what waits goes out in one write, what comes back is handed out.

use std::{collections::VecDeque, io, pin::pin};

use tokio::{
    io::AsyncReadExt as _,
    net::unix::{ReadHalf, WriteHalf},
    sync::oneshot,
    time::{Instant, sleep_until},
};
use zeroize::Zeroize as _;

use super::{
    driver::{Driver, End, Place, Request},
    key::Keys,
    start::Worker,
};
use crate::{
    Error,
    wire::{self, Answer, Done, Inbox},
};

/// Requests per session that a worker has at a time. The rest wait here, where they can
/// be answered when their time is over.
const WINDOW: usize = 16;
/// Requests that are taken from the queue at a time.
const BATCH: usize = 64;

/// A request that the worker has.
struct Sent {
    reply: Option<oneshot::Sender<Result<Done, Error>>>,
    by: Instant,
    at: Instant,
    _place: Place,
}

/// What the worker has, by number.
struct InFlight {
    sent: VecDeque<Option<Sent>>,
    first: u64,
    window: usize,
}

/// Bytes on their way out.
struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Driver {
    /// Serves until the worker is lost or everybody wants it to stop.
    pub(super) async fn serve(&mut self, worker: &mut Worker) -> End {
        let mut flight = InFlight {
            sent: VecDeque::new(),
            first: 0,
            window: WINDOW * self.settings.sessions.get(),
        };
        let end = self.converse(worker, &mut flight).await;
        for sent in flight.sent.into_iter().flatten() {
            sent.answer(Err(Error::Restarting));
        }
        end
    }

    async fn converse(&mut self, worker: &mut Worker, flight: &mut InFlight) -> End {
        let (mut reader, writer) = worker.stream.split();
        let inbox = &mut worker.inbox;
        let mut out = Outbox::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut alarm = pin!(sleep_until(Instant::now()));
        let mut armed = false;
        loop {
            self.fill(flight, &mut out);
            if let Err(error) = out.send(&writer) {
                return End::Lost(error.to_string());
            }
            if !self.stopping.is_empty() && flight.sent.is_empty() && self.waiting.is_empty() {
                return End::Stop;
            }
            if !armed && let Some(soonest) = self.soonest(flight) {
                alarm.as_mut().reset(soonest);
                armed = true;
            }
            tokio::select! {
                biased;
                read = receive(&mut reader, inbox) => {
                    match read.and_then(|()| flight.hand_out(inbox, &self.keys)) {
                        Ok(()) => {}
                        Err(error) => return End::Lost(error.to_string()),
                    }
                }
                count = self.queue.recv_many(&mut batch, BATCH), if self.stopping.is_empty() => {
                    if count == 0 {
                        return End::Stop;
                    }
                    for command in batch.drain(..) {
                        self.accept(command);
                    }
                }
                ready = writer.writable(), if !out.is_empty() => {
                    if let Err(error) = ready {
                        return End::Lost(error.to_string());
                    }
                }
                () = alarm.as_mut(), if armed => {
                    armed = false;
                    self.expire(&Error::Deadline);
                    flight.expire();
                    if flight.is_stuck(self.settings.deadline) {
                        return End::Lost("a request was not answered in time".to_owned());
                    }
                }
            }
        }
    }

    /// Gives the worker as much as it may have.
    fn fill(&mut self, flight: &mut InFlight, out: &mut Outbox) {
        if !out.is_empty() {
            return;
        }
        while flight.sent.len() < flight.window
            && let Some(request) = self.waiting.pop_front()
        {
            let Request {
                op,
                reply,
                by,
                place,
            } = request;
            if reply.is_closed() {
                continue;
            }
            let message = wire::Request {
                id: flight.next(),
                op: Some(op),
            };
            if let Err(error) = wire::put(&mut out.bytes, &message) {
                let _gone = reply.send(Err(Error::WorkerUnusable(error.to_string())));
                continue;
            }
            flight.sent.push_back(Some(Sent {
                reply: Some(reply),
                by,
                at: Instant::now(),
                _place: place,
            }));
        }
    }

    /// When something is due at the earliest. Requests come in the order of their deadlines.
    fn soonest(&self, flight: &InFlight) -> Option<Instant> {
        let waiting = self.waiting.front().map(|request| request.by);
        let oldest = flight.sent.front().and_then(Option::as_ref);
        let unanswered = flight
            .sent
            .iter()
            .flatten()
            .find(|sent| sent.reply.is_some());
        let due = unanswered.map(|sent| sent.by);
        let stuck = oldest.map(|sent| sent.at + self.settings.deadline);
        [waiting, due, stuck].into_iter().flatten().min()
    }
}

async fn receive(reader: &mut ReadHalf<'_>, inbox: &mut Inbox) -> io::Result<()> {
    match reader.read(inbox.space()).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            inbox.filled(count);
            Ok(())
        }
    }
}

impl InFlight {
    fn next(&self) -> u64 {
        self.first + u64::try_from(self.sent.len()).unwrap_or(u64::MAX)
    }

    /// Hands out all answers that have arrived.
    fn hand_out(&mut self, inbox: &mut Inbox, keys: &Keys) -> io::Result<()> {
        let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        while let Some(Answer { id, done }) =
            inbox.take().map_err(|error| broken(&error.to_string()))?
        {
            let at = id
                .checked_sub(self.first)
                .and_then(|at| usize::try_from(at).ok());
            let sent = at
                .and_then(|at| self.sent.get_mut(at))
                .and_then(Option::take);
            let sent = sent.ok_or_else(|| broken("it answered what was not asked"))?;
            let outcome = match done.ok_or_else(|| broken("it answered nothing"))? {
                Done::Problem(problem) => Err(problem.into()),
                done => {
                    keys.remember_made(&done);
                    Ok(done)
                }
            };
            sent.answer(outcome);
            while let Some(None) = self.sent.front() {
                self.sent.pop_front();
                self.first += 1;
            }
        }
        Ok(())
    }

    /// Answers the requests whose time is over. The worker may still be at them.
    fn expire(&mut self) {
        let now = Instant::now();
        for sent in self.sent.iter_mut().flatten() {
            if sent.by <= now
                && let Some(reply) = sent.reply.take()
            {
                let _gone = reply.send(Err(Error::Deadline));
            }
        }
    }

    /// Whether the worker has had a request for longer than any may take.
    fn is_stuck(&self, deadline: std::time::Duration) -> bool {
        let oldest = self.sent.front().and_then(Option::as_ref);
        oldest.is_some_and(|sent| sent.at.elapsed() >= deadline)
    }
}

impl Sent {
    fn answer(self, outcome: Result<Done, Error>) {
        if let Some(reply) = self.reply {
            // Whoever asked may be gone; key bytes in an answer nobody takes are wiped.
            let _gone = reply.send(outcome);
        }
    }
}

impl Outbox {
    fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(wire::MAX_FRAME),
            written: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes as much as goes without waiting, and wipes what is written.
    fn send(&mut self, writer: &WriteHalf<'_>) -> io::Result<()> {
        while self.written < self.bytes.len() {
            match writer.try_write(&self.bytes[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.bytes.as_mut_slice().zeroize();
        self.bytes.clear();
        self.written = 0;
        Ok(())
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}
