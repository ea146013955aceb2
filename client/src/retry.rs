//! Repeats what is safe to repeat.

use std::time::Duration;

use prost::Message;
use tokio::time::{Instant, sleep};
use tonic::{Code, Response, Status};

use crate::{Error, detail, error::is_local};

/// The delay when custodyd names none.
const DEFAULT_DELAY: Duration = Duration::from_millis(100);

/// The longest delay: beyond it the caller is better placed to decide.
const MAX_DELAY: Duration = Duration::from_secs(2);

const RETRY_INFO: &str = "google.rpc.RetryInfo";

/// Makes a call that changes something: as often as it is asked, never more.
pub(crate) async fn once<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    Ok(call.await?.into_inner())
}

/// Makes a call that only reads, and makes it again if custodyd is unavailable
/// or asks for patience.
pub(crate) async fn repeat<T, F>(mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    match call().await {
        Err(status) if is_passing(&status) => {
            sleep(delay(status.details())).await;
            once(call()).await
        }
        outcome => Ok(outcome?.into_inner()),
    }
}

/// Makes a call that can be repeated without harm, for as long as `patience` lasts and custodyd
/// is unavailable or asks for patience. It comes back by itself when it is started again.
pub(crate) async fn persist<T, F>(
    patience: Duration,
    mut call: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let end = Instant::now() + patience;
    loop {
        match call().await {
            Err(status) if is_passing(&status) && Instant::now() < end => {
                sleep(delay(status.details())).await;
            }
            outcome => return Ok(outcome?.into_inner()),
        }
    }
}

/// Unavailable, over a limit for a while, or gone in the middle; but not merely slow, which
/// would be slow again.
fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::ResourceExhausted => names_delay(status),
        Code::Unknown | Code::Internal => is_local(status),
        _ => false,
    }
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// Whether custodyd says when to try again.
pub(crate) fn names_delay(status: &Status) -> bool {
    named_delay(status.details()).is_some()
}

fn delay(details: &[u8]) -> Duration {
    named_delay(details).unwrap_or(DEFAULT_DELAY).min(MAX_DELAY)
}

fn named_delay(details: &[u8]) -> Option<Duration> {
    let delay = detail::of::<RetryInfo>(details, RETRY_INFO)?.retry_delay?;
    delay.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(seconds: i64, nanos: i32) -> Vec<u8> {
        let info = RetryInfo {
            retry_delay: Some(prost_types::Duration { seconds, nanos }),
        };
        let other = ("google.rpc.ErrorInfo", vec![1, 2, 3]);
        detail::encode([other, (RETRY_INFO, info.encode_to_vec())])
    }

    #[test]
    fn the_delay_is_the_one_custodyd_names() {
        assert_eq!(delay(&details(0, 250_000_000)), Duration::from_millis(250));
    }

    #[test]
    fn a_long_delay_is_cut() {
        assert_eq!(delay(&details(3600, 0)), MAX_DELAY);
    }

    #[test]
    fn nonsense_means_the_default() {
        for details in [&b""[..], b"\xff\xff", &details(-1, 0)] {
            assert_eq!(delay(details), DEFAULT_DELAY, "{details:?}");
        }
    }
}
