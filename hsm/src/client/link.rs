//! The socket to a worker that serves: what waits goes out in one write, what comes back is handed out.

use std::{io, pin::pin, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    net::unix::{ReadHalf, WriteHalf},
    time::{Instant, sleep_until},
};
use zeroize::Zeroize as _;

use super::{
    driver::{Driver, End},
    flight::Flight,
    lanes::{Request, Room},
    start::Worker,
};
use crate::{
    Error,
    wire::{self, Inbox},
};

/// Requests per session that a worker has at a time. The rest wait here, where they can
/// be answered when their time is over.
pub(crate) const WINDOW: usize = 16;
/// Requests that are taken from the queue at a time.
const BATCH: usize = 64;
/// A worker that has had a request for this part of the deadline is slow: what waits for it
/// goes to another that is not, and what comes then to another token if there is one.
const PATIENCE: u32 = 10;
/// How often that is looked at, as a part of the patience.
const RELIEF: u32 = 4;

/// Bytes on their way out.
struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Driver {
    /// Serves until the worker is lost or replaced, or everybody wants it to stop.
    pub(super) async fn serve(&mut self, worker: &mut Worker) -> End {
        let mut flight = Flight::new(WINDOW * self.settings.sessions.get());
        let end = self.converse(worker, &mut flight).await;
        for request in flight.abandon() {
            self.give_away(request, Error::Restarting);
        }
        end
    }

    async fn converse(&mut self, worker: &mut Worker, flight: &mut Flight) -> End {
        let process = &worker.process;
        let (mut reader, writer) = worker.stream.split();
        let inbox = &mut worker.inbox;
        let mut out = Outbox::new();
        let mut batch = Vec::with_capacity(BATCH);
        let mut alarm = pin!(sleep_until(Instant::now()));
        let mut armed: Option<Instant> = None;
        loop {
            if !self.renewal.is_ready() {
                self.fill(flight, &mut out);
            } else if flight.is_empty()
                && out.is_empty()
                && let Some(successor) = self.renewal.take_ready()
            {
                return End::Replaced(Box::new(successor));
            }
            if let Err(error) = out.send(&writer) {
                return End::Lost(error.to_string());
            }
            if !self.stopping.is_empty() && flight.is_empty() && self.waiting.is_empty() {
                return End::Stop;
            }
            if let Some(soonest) = self.soonest(flight, armed) {
                alarm.as_mut().reset(soonest);
                armed = Some(soonest);
            }
            tokio::select! {
                biased;
                read = receive(&mut reader, inbox) => {
                    let mut strays = Vec::new();
                    let handed =
                        read.and_then(|()| flight.hand_out(inbox, &self.crew, &mut strays));
                    for (stray, error) in strays {
                        self.give_away(stray, error);
                    }
                    if let Err(error) = handed {
                        return End::Lost(error.to_string());
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
                arrival = self.renewal.arrival() => self.receive_arrival(arrival),
                () = alarm.as_mut(), if armed.is_some() => {
                    armed = None;
                    self.expire(&Error::Deadline);
                    flight.expire();
                    if flight.has_one_of(self.settings.deadline) {
                        return End::Lost("a request was not answered in time".to_owned());
                    }
                    self.relieve(flight);
                    self.look_at(process);
                }
            }
        }
    }

    /// Gives the worker as much as it may have.
    fn fill(&mut self, flight: &mut Flight, out: &mut Outbox) {
        if !out.is_empty() {
            return;
        }
        while flight.has_room()
            && let Some(request) = self.waiting.next()
        {
            flight.add(request, &mut out.bytes);
        }
    }

    /// When something is due, if that is before the alarm goes off.
    fn soonest(&self, flight: &Flight, armed: Option<Instant>) -> Option<Instant> {
        let waiting = self.waiting.due();
        let look = self.renewal.next_look();
        let stuck = flight.oldest().map(|at| at + self.settings.deadline);
        // To go through all of them is for when the alarm went off.
        let due = match armed {
            Some(_) => None,
            None => flight.due(),
        };
        let soonest = [waiting, look, stuck, due, self.relief(flight)];
        let soonest = soonest.into_iter().flatten().min();
        soonest.filter(|soonest| armed.is_none_or(|armed| *soonest < armed))
    }

    fn patience(&self) -> Duration {
        self.settings.deadline / PATIENCE
    }

    /// When it is time to see whether the worker is slow.
    fn relief(&self, flight: &Flight) -> Option<Instant> {
        let oldest = flight.oldest()?;
        let again = Instant::now() + self.patience() / RELIEF;
        Some(again.max(oldest + self.patience()))
    }

    /// Has others do what a slow worker has not come to.
    fn relieve(&mut self, flight: &mut Flight) {
        let patience = self.patience();
        let slow = flight.has_one_of(patience);
        self.status.set_slow(slow);
        if !slow {
            return;
        }
        let Some(lanes) = self.lanes.upgrade() else {
            return;
        };
        let room = Room::Brisk;
        while lanes.has_other(self.lane, room) {
            let request = match flight.take_one_of(patience) {
                Some(request) => request,
                None => match self.waiting.next() {
                    Some(request) => request,
                    None => return,
                },
            };
            if let Some(request) = lanes.pass_on(self.lane, request, room) {
                self.waiting.put_back(request);
                return;
            }
        }
    }

    /// Has another worker do what this one cannot, or answers it with `error`.
    fn give_away(&self, request: Request, error: Error) {
        let kept = match self.lanes.upgrade() {
            Some(lanes) => lanes.pass_on(self.lane, request, Room::Any),
            None => Some(request),
        };
        if let Some(request) = kept {
            let _gone = request.reply.send(Err(error));
        }
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
