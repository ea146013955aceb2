//! Keys that were refused, tried again and again: what is wrong with one may be over without
//! a change of workers.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc::WeakUnboundedSender, time::sleep};

use super::{Shared, driver::Command, key::Turn};
use crate::wire::Op;

/// The first wait after a key was refused.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Tries refused keys again as long as there is a client.
pub(super) async fn load_again(shared: Arc<Shared>, queue: WeakUnboundedSender<Command>) {
    tokio::select! {
        () = shared.driver_ended() => {}
        () = tries(&shared, &queue) => {}
    }
}

async fn tries(shared: &Shared, queue: &WeakUnboundedSender<Command>) {
    loop {
        shared.keys.refusal().await;
        let longest = shared.settings.longest_wait;
        let mut wait = FIRST_WAIT.min(longest);
        loop {
            sleep(wait).await;
            let refused = shared.keys.refused_loads();
            if refused.is_empty() {
                break;
            }
            for (id, load) in refused {
                let Some(queue) = queue.upgrade() else {
                    return;
                };
                let outcome = shared.ask(&queue, Op::Load(load)).await;
                let turn = shared.keys.settle(&id, &outcome.map(|_good| ()));
                turn.into_iter().for_each(Turn::log);
            }
            wait = (wait * 2).min(longest);
        }
    }
}
