//! A key is loaded by every worker that serves; those that come to serve load all keys.

use custody::{name::KeyId, release::Urgency};

use super::{
    Shared,
    lanes::{Answer, Lanes},
    unexpected,
};
use crate::{
    Error,
    wire::{Done, Op},
};

impl Shared {
    /// Has a key loaded, and says how that went: well if one worker has it now.
    pub(super) async fn load(&self, lanes: &Lanes, id: &KeyId) -> Result<(), Error> {
        let forgotten = || Error::KeyNotLoaded { id: *id };
        let load = self.keys.load_of(id).ok_or_else(forgotten)?;
        let asked = lanes.ask_each(|| Op::Load(load.clone()), self.by());
        if asked.is_empty() {
            let asked = lanes.ask(Op::Load(load), self.by(), Urgency::Management);
            return good(wait(asked).await).map(drop);
        }
        let (mut loaded, mut problems) = (false, Vec::new());
        for answer in asked {
            match good(wait(answer).await) {
                Ok(_) => loaded = true,
                Err(error) => problems.push(error),
            }
        }
        self.keys.note_lack(id, loaded && !problems.is_empty());
        if loaded {
            return Ok(());
        }
        let refusal = problems.iter().position(Error::refuses_key);
        Err(problems.swap_remove(refusal.unwrap_or(0)))
    }

    /// Has a key loaded that one worker has just made.
    pub(super) async fn share(&self, lanes: &Lanes, id: &KeyId) {
        if self.settings.workers.get() > 1
            && let Err(error) = self.load(lanes, id).await
        {
            tracing::warn!(key = %id, %error, "a new key is not loaded yet");
        }
    }

    /// Has every worker that serves destroy what it has of a key that is not in the token. Says
    /// whether one is in the token all the same.
    ///
    /// # Errors
    ///
    /// Why one of them did not. The others have been asked all the same.
    pub(super) async fn drop_everywhere(&self, lanes: &Lanes, id: &KeyId) -> Result<bool, Error> {
        let mut outcome = Ok(false);
        for answer in lanes.ask_each(|| Op::Destroy(id.as_bytes().to_vec()), self.by()) {
            let dropped = good(wait(answer).await);
            outcome = outcome.and_then(|before| Ok(before | dropped?));
        }
        outcome
    }

    /// Opens the canary of a key on every worker that serves, so that each connection is used.
    /// Well if it opened on one; `None` if that could not be found out.
    pub(super) async fn try_canary(&self, lanes: &Lanes, id: &KeyId) -> Option<Result<(), Error>> {
        let check = || Op::CheckCanary(id.as_bytes().to_vec());
        let (mut opened, mut problem) = (false, None);
        for answer in lanes.ask_each(check, self.by()) {
            match good(wait(answer).await) {
                Ok(_) => opened = true,
                Err(Error::KeyNotLoaded { .. }) => self.keys.note_lack(id, true),
                // What waits behind others says nothing about the token.
                Err(Error::Busy) => {}
                Err(error) => problem = Some(error),
            }
        }
        match opened {
            true => Some(Ok(())),
            false => problem.map(Err),
        }
    }
}

async fn wait(answer: Result<Answer, Error>) -> Result<Done, Error> {
    answer?.wait().await
}

fn good(done: Result<Done, Error>) -> Result<bool, Error> {
    match done? {
        Done::Good(good) => Ok(good),
        other => Err(unexpected(&other)),
    }
}
