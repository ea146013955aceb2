//! One login, with the PIN that the token has: of two, the one that is on record.

use std::os::fd::OwnedFd;

use custody::envelope::Wrapping;

use super::{
    pin::{Pin, Source},
    token::{Found, Token},
    unclear,
};
use crate::{
    Error, PinProblem,
    latch::Latch,
    succession::{Pair, Stand, Succession, Turn},
    wire::{Hello, PinFrom, problem},
};

/// Where the PINs are, and what is on disk about them.
pub(super) struct Login {
    latch: Latch,
    succession: Succession,
    present: PinFrom,
    pin: Source,
    next: Option<Next>,
    keeps_pins: bool,
    allowed: Vec<Wrapping>,
}

/// The PIN that the token is to have next.
pub(super) struct Next {
    source: Source,
    pair: Pair,
}

impl Next {
    pub(super) fn read(&self, found: &Found) -> Result<Pin, PinProblem> {
        self.source.read(found.description())
    }

    /// How far the change to it has come.
    pub(super) fn stand(&self, turn: &Turn<'_>) -> Result<Option<Stand>, Error> {
        turn.stand(&self.pair)
    }

    pub(super) fn note(&self, turn: &Turn<'_>, stand: Stand) -> Result<(), Error> {
        turn.note(stand, &self.pair)
    }
}

impl Login {
    pub(super) fn new(
        hello: &Hello,
        descriptors: Vec<OwnedFd>,
        allowed: Vec<Wrapping>,
    ) -> Result<Self, Error> {
        let latch = problem::path(hello.pin_latch.clone());
        let present = hello.pin.clone().ok_or_else(unclear)?;
        let next = match &hello.next_pin {
            Some(next) => {
                let from = next.from.as_ref().ok_or_else(unclear)?;
                Some(Next {
                    source: Source::new(from, Vec::new()),
                    pair: Pair::new(&present, from),
                })
            }
            None => None,
        };
        Ok(Self {
            latch: Latch::new(&latch),
            succession: Succession::new(&latch),
            pin: Source::new(&present, descriptors),
            present,
            next,
            keeps_pins: hello.keeps_pins,
            allowed,
        })
    }

    pub(super) fn latch(&self) -> &Latch {
        &self.latch
    }

    pub(super) fn next(&self) -> Option<&Next> {
        self.next.as_ref()
    }

    /// Refuses if the latch is there.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.latch.check()
    }

    /// Waits until nobody else logs in, if it matters what the others do. Before the module is
    /// initialised: SoftHSM 2.6 knows the PIN of then.
    pub(super) fn turn(&self) -> Result<Option<Turn<'_>>, Error> {
        let is_one_of_two = self.succession.is_there()
            && matches!(self.present, PinFrom::Credential(_) | PinFrom::File(_));
        let matters = self.next.is_some() || is_one_of_two;
        matters.then(|| self.succession.turn()).transpose()
    }

    /// Reads the PIN that the token has, and logs in with it, once. `asking` is told when a
    /// person is asked for it, and when the answer is there.
    pub(super) fn log_in(
        &self,
        turn: Option<&Turn<'_>>,
        found: Found,
        asking: impl FnMut(bool) -> Result<(), Error>,
    ) -> Result<Token, Error> {
        self.check()?;
        let stand = match (&self.next, turn) {
            (Some(next), Some(turn)) => next.stand(turn)?.map(|stand| (next, turn, stand)),
            _ => None,
        };
        match stand {
            Some((next, _, Stand::Done)) => {
                let pin = next.read(&found)?;
                found.log_in(pin, &self.latch, self.allowed.clone())
            }
            Some((next, turn, Stand::Begun)) => self.log_in_doubting(turn, next, found),
            Some((_, _, Stand::Staged)) => {
                let pin = self.read(&found, asking)?;
                found.log_in(pin, &self.latch, self.allowed.clone())
            }
            None => {
                let pin = self.read(&found, asking)?;
                let next = self.next.as_ref().map(|next| next.read(&found));
                let token = found.log_in(pin, &self.latch, self.allowed.clone())?;
                if let (Some(turn), true) = (turn, self.keeps_pins) {
                    self.prepare(turn, next);
                }
                Ok(token)
            }
        }
    }

    /// The token has the PIN; `next` is what came of reading the next one, if there is to be one.
    fn prepare(&self, turn: &Turn<'_>, next: Option<Result<Pin, PinProblem>>) {
        let outcome = match (&self.next, next) {
            (Some(next), Some(Ok(_))) => next.note(turn, Stand::Staged),
            (_, Some(Err(problem))) => Err(problem.into()),
            _ => turn.conclude(&self.present),
        };
        match outcome {
            Ok(()) if self.next.is_some() => {
                tracing::info!("the next PIN is there, and can be changed to");
            }
            outcome => warn_of(outcome),
        }
    }

    /// The token was told to take the next PIN, and has most likely done so.
    fn log_in_doubting(&self, turn: &Turn<'_>, next: &Next, found: Found) -> Result<Token, Error> {
        let pin = next.read(&found)?;
        let outcome = found.log_in(pin, &self.latch.in_doubt(), self.allowed.clone());
        match &outcome {
            Ok(_) => {
                tracing::info!("the change of the PIN that was cut off had been made");
                warn_of(next.note(turn, Stand::Done));
            }
            // The latch is closed: what is with the other PIN is the operator's to begin.
            Err(Error::PinRefused { .. }) => next.note(turn, Stand::Staged)?,
            Err(_) => {}
        }
        outcome
    }

    fn read(
        &self,
        found: &Found,
        mut asking: impl FnMut(bool) -> Result<(), Error>,
    ) -> Result<Pin, Error> {
        let asks = self.pin.asks();
        if asks {
            asking(true)?;
        }
        let pin = self.pin.read(found.description())?;
        if asks {
            asking(false)?;
        }
        Ok(pin)
    }

    /// The PIN that the token has until it changes.
    pub(super) fn present_pin(&self, found: &Found) -> Result<Pin, PinProblem> {
        self.pin.read(found.description())
    }
}

/// A login that was made is not given up for this.
fn warn_of(kept: Result<(), Error>) {
    if let Err(error) = kept {
        let error = super::recovery::chain(&error);
        tracing::warn!(%error, "the change to the next PIN cannot be prepared or concluded");
    }
}
