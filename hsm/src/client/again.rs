//! Keys that were refused, or that a worker lacks, tried again and again: what is wrong with one may
//! be over without a change of workers.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::sleep;

use super::{Shared, key::Turn, lanes::Lanes};

/// The first wait after a key was refused.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Tries refused keys again as long as there is a client.
pub(super) async fn load_again(shared: Arc<Shared>, lanes: Weak<Lanes>) {
    tokio::select! {
        () = shared.driver_ended() => {}
        () = tries(&shared, &lanes) => {}
    }
}

async fn tries(shared: &Shared, lanes: &Weak<Lanes>) {
    loop {
        shared.keys.refusal().await;
        let longest = shared.settings.longest_wait;
        let mut wait = FIRST_WAIT.min(longest);
        loop {
            sleep(wait).await;
            let amiss = shared.keys.amiss();
            if amiss.is_empty() {
                break;
            }
            for id in amiss {
                let Some(lanes) = lanes.upgrade() else {
                    return;
                };
                let outcome = shared.load(&lanes, &id).await;
                let turn = shared.keys.settle(&id, &outcome);
                turn.into_iter().for_each(Turn::log);
            }
            wait = (wait * 2).min(longest);
        }
    }
}
