//! Which of the tokens that hold a data key is asked for it, and when another is.

use custody::{
    name::KeyId,
    release::{Unlock, Urgency},
};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::sleep;

use super::{
    Client,
    health::Breaker,
    reveal::{Question, Unopened, open},
};
use crate::Error;

/// A token that serves and has not answered a delivery for this part of its deadline is not waited for any
/// longer: the next is asked, too. It is more than a worker gets before another of the same token
/// is asked.
const PATIENCE: u32 = 5;

/// Which of the tokens that serve is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// The first.
    #[default]
    First,
    /// The one that has the least to do.
    Balanced,
}

/// A token that has a key that wraps what is to be opened, and that key.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The token.
    pub token: Client,
    /// The group master key.
    pub gmk: KeyId,
}

/// Has one of `holders` unwrap the data key of `claim`, and opens its content: the first that
/// `reads` says, and the next when it fails, or has a delivery wait, being slow or lost; then
/// whichever answers first.
///
/// # Errors
///
/// As for [`Client::unwrap_dek`], once each has failed: what may pass, if anything may.
pub async fn unwrap_dek<T: Unlock>(
    claim: T,
    holders: &[Holder],
    reads: Reads,
) -> Result<T::Opened, Unopened<T>> {
    let questions = holders
        .iter()
        .map(|Holder { token, gmk }| token.question(claim.locked(), gmk, T::URGENCY));
    let mut questions: Vec<_> = questions.collect();
    questions.sort_by_cached_key(|question| Reluctance::to_ask(question, reads));
    let mut rest = questions.iter();
    let mut asked = FuturesUnordered::new();
    let mut last = None;
    let mut problem = None;
    loop {
        let waits = rest.len() == 0 || T::URGENCY > Urgency::Delivery;
        let answer = match last {
            _ if asked.is_empty() => None,
            Some(token) if !waits => soon(token, asked.next()).await,
            _ => asked.next().await,
        };
        let Some(answer) = answer else {
            let Some(question) = rest.next() else {
                break;
            };
            let token = question.token();
            if !asked.is_empty() {
                token.shared.settings.meters.note_hedged();
            }
            last = Some(token);
            asked.push(question.ask());
            continue;
        };
        match answer.dek() {
            Err(error) => problem = Some(error.or_rather(problem)),
            dek => return open(claim, dek),
        }
    }
    Err(Unopened {
        error: problem.unwrap_or_else(Error::nobody),
        claim: Some(claim),
    })
}

/// The next answer, unless it takes long, or `token`, which was asked last, does not serve: what was
/// asked of a worker that is lost waits for its successor.
async fn soon<T>(token: &Client, answer: impl Future<Output = Option<T>>) -> Option<T> {
    let mut health = token.health();
    tokio::select! {
        biased;
        answer = answer => answer,
        _lost = health.wait_for(|health| health.breaker() != Breaker::Closed) => None,
        () = sleep(token.shared.settings.deadline / PATIENCE) => None,
    }
}

/// Who is least reluctant is asked first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reluctance {
    is_away: bool,
    is_slow: bool,
    /// It would answer another who wants the same, too.
    is_not_asked_for_it: bool,
    workload: usize,
}

impl Reluctance {
    fn to_ask(question: &Question<'_>, reads: Reads) -> Self {
        let token = question.token();
        let is_balanced = reads == Reads::Balanced;
        Self {
            is_away: !token.serves(),
            is_slow: token.lanes.are_slow(),
            is_not_asked_for_it: is_balanced && !question.is_asked(),
            workload: if is_balanced { workload(token) } else { 0 },
        }
    }
}

/// How much a token has to do when its workers have as much as they take at a time.
const FULL: usize = 1 << 16;

fn workload(token: &Client) -> usize {
    let at_once = token.shared.settings.at_once();
    token.lanes.waiting().saturating_mul(FULL) / at_once.max(1)
}
