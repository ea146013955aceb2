//! Threads for what computes long because others say so: keys derived from passwords,
//! certificates by the thousand. The threads that serve have no time for it.

use std::{io, iter, sync::Arc};

use custody::{
    release::{Released, Unwritable, Written},
    secret::{Accepted, Kind, Refused, fields::Fields, format::Rendering},
};

use crate::threads::{Unavailable, Workers};

/// How many may wait. With the tenth of a second that a key store takes, the last of them
/// waits for less than a client does.
const DEPTH: usize = 100;

/// The threads: what operators store does not wait for what services fetch, nor the other
/// way round.
#[derive(Debug)]
pub(crate) struct Mill {
    taking: Workers<()>,
    writing: Workers<()>,
}

impl Mill {
    pub(crate) fn start() -> io::Result<Self> {
        let start = |name, threads| Workers::start(name, iter::repeat_n((), threads), DEPTH);
        Ok(Self {
            taking: start("take", 1)?,
            writing: start("write", 2)?,
        })
    }

    /// Checks what was given, as [`Kind::accept`] does.
    pub(super) async fn accept(
        &self,
        kind: Kind,
        given: Fields,
    ) -> Result<Result<Accepted, Refused>, Unavailable> {
        self.take(move || kind.accept(given)).await
    }

    /// Runs what takes long about what operators store.
    pub(super) async fn take<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.taking.run(move |()| work()).await
    }

    /// Writes content in a format, as [`Released::render`] does.
    pub(super) async fn render(
        &self,
        released: Released,
        rendering: Arc<Rendering>,
    ) -> Result<Result<Written, Unwritable>, Unavailable> {
        self.writing
            .run(move |()| released.render(&rendering))
            .await
    }
}
