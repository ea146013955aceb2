//! Canaries, opened again and again: whether the token is well is not known from a connection
//! that nobody uses.

use std::{sync::Arc, time::SystemTime};

use tokio::{
    sync::mpsc::WeakUnboundedSender,
    time::{MissedTickBehavior, interval},
};

use super::{Shared, driver::Command, health::WorkerState};
use crate::{
    Error,
    wire::{Done, Op},
};

/// So many keys are tried at a time, one after the other, so that requests have their turn.
const AT_A_TIME: usize = 32;

/// How the canary of a key did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// When it was tried last.
    pub at: SystemTime,
    /// Why it did not open, if it did not.
    pub problem: Option<String>,
}

impl Canary {
    pub(super) fn now(problem: Option<String>) -> Self {
        Self {
            at: SystemTime::now(),
            problem,
        }
    }
}

/// Has canaries opened as long as there is a client.
pub(super) async fn open_canaries(shared: Arc<Shared>, queue: WeakUnboundedSender<Command>) {
    tokio::select! {
        () = shared.driver_ended() => {}
        () = tries(&shared, &queue) => {}
    }
}

async fn tries(shared: &Shared, queue: &WeakUnboundedSender<Command>) {
    let mut ticks = interval(shared.settings.canary_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, when keys have just been loaded.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        for id in shared.keys.oldest_canaries(AT_A_TIME) {
            if shared.health.borrow().state != WorkerState::Serving {
                break;
            }
            let Some(queue) = queue.upgrade() else {
                return;
            };
            let op = Op::CheckCanary(id.as_bytes().to_vec());
            let outcome = match shared.ask(&queue, op).await {
                Ok(Done::Good(_)) => Ok(()),
                Ok(other) => Err(super::unexpected(&other)),
                // What waits behind others says nothing about the token.
                Err(Error::Busy) => continue,
                Err(error) => Err(error),
            };
            shared.keys.note_canary(&id, &outcome);
        }
    }
}
