//! Canaries, opened again and again: whether the token is well is not known from a connection
//! that nobody uses.

use std::{
    sync::{Arc, Weak},
    time::SystemTime,
};

use tokio::time::{MissedTickBehavior, interval};

use super::{Shared, lanes::Lanes};

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
pub(super) async fn open_canaries(shared: Arc<Shared>, lanes: Weak<Lanes>) {
    tokio::select! {
        () = shared.driver_ended() => {}
        () = tries(&shared, &lanes) => {}
    }
}

async fn tries(shared: &Shared, lanes: &Weak<Lanes>) {
    let mut ticks = interval(shared.settings.canary_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, when keys have just been loaded.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        for id in shared.keys.oldest_canaries(AT_A_TIME) {
            let Some(lanes) = lanes.upgrade() else {
                return;
            };
            if let Some(outcome) = shared.try_canary(&lanes, &id).await {
                shared.keys.note_canary(&id, &outcome);
            }
        }
    }
}
