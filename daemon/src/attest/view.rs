//! Where what takes rights is looked at: in the helper; or here, as far as we may.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use custody::caller::observation::Doubt;
use rustix::process::geteuid;
use tokio::{sync::oneshot, time::timeout};

use super::{
    digest::{Digest, Digests, Reply},
    helper::{Held, Link},
    look::{Host, Look, Missed, Patience, Watched},
    surroundings::FileFacts,
};

/// How long it may take to read a whole file, after others.
const READ: Duration = Duration::from_secs(30);

/// Who looks.
#[derive(Debug)]
pub(super) enum View {
    /// This process, with the rights that it has.
    Ours(Arc<Ours>),
    /// The helper.
    Helpers(Arc<Link>),
}

#[derive(Debug)]
pub(super) struct Ours {
    host: Host,
    digests: Arc<Digests>,
}

/// A process that has been looked at, and can be again.
#[derive(Debug)]
pub(super) enum Eye {
    Ours(Arc<Ours>, Watched),
    Helpers(Held),
}

impl From<Missed> for Doubt {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Doubt(doubt) => doubt,
            Missed::Waiting => Self::Unobservable,
        }
    }
}

impl View {
    /// Looks with the rights of this process.
    pub(super) fn ours() -> std::io::Result<Self> {
        Ok(Self::Ours(Arc::new(Ours {
            host: Host::here()?,
            digests: Arc::new(Digests::open()?),
        })))
    }

    /// Looks at a process for the first time.
    pub(super) async fn meet(&self, pidfd: &Arc<OwnedFd>) -> Result<(Look, Eye), Doubt> {
        match self {
            Self::Ours(ours) => {
                let (look, watched) = Watched::meet(&ours.host, pidfd, Patience::Unbounded)?;
                Ok((look, Eye::Ours(Arc::clone(ours), watched)))
            }
            Self::Helpers(link) => {
                let (look, held) = link.meet(pidfd).await?;
                Ok((look, Eye::Helpers(held)))
            }
        }
    }

    /// Looks at a file. With `limit`, hashes it, if it is no larger.
    pub(super) async fn file(&self, path: &str, limit: Option<u64>) -> Option<FileFacts> {
        timeout(READ, self.found(path, limit)).await.ok()?
    }

    async fn found(&self, path: &str, limit: Option<u64>) -> Option<FileFacts> {
        match self {
            Self::Ours(ours) => {
                let (found, finding) = oneshot::channel();
                let (path, desk) = (path.to_owned(), Arc::clone(ours));
                ours.digests.desk.submit(geteuid().as_raw(), move || {
                    // Whoever asked may have given up.
                    drop(found.send(desk.host.file(&path, limit)));
                });
                finding.await.ok()?
            }
            Self::Helpers(link) => link.file(path, limit).await,
        }
    }
}

impl Eye {
    /// Looks again; `None` is the same as at first.
    pub(super) async fn again(&self) -> Result<Option<Look>, Doubt> {
        match self {
            Self::Ours(ours, watched) => Ok(watched.again(&ours.host, Patience::Unbounded)?),
            Self::Helpers(held) => held.again().await,
        }
    }

    /// Looks again in full.
    pub(super) async fn look(&self) -> Result<Look, Doubt> {
        match self {
            Self::Ours(ours, watched) => Ok(watched.look(&ours.host, Patience::Unbounded)?),
            Self::Helpers(held) => held.look().await,
        }
    }

    /// SHA-256 of the executable, asked for by the user `uid`.
    pub(super) async fn sha256(&self, uid: u32, limit: u64) -> Option<Digest> {
        match self {
            Self::Ours(ours, watched) => {
                told(|reply| ours.digests.sha256(&watched.pidfd, uid, limit, reply)).await
            }
            Self::Helpers(held) => timeout(READ, held.sha256(uid, limit)).await.ok()?,
        }
    }

    /// The digest that the kernel keeps the executable at.
    pub(super) async fn verity(&self, uid: u32) -> Option<Digest> {
        match self {
            Self::Ours(ours, watched) => {
                told(|reply| ours.digests.verity(&watched.pidfd, uid, reply)).await
            }
            Self::Helpers(held) => timeout(READ, held.verity(uid)).await.ok()?,
        }
    }
}

async fn told(ask: impl FnOnce(Reply)) -> Option<Digest> {
    let (found, finding) = oneshot::channel();
    // Whoever asked may have given up.
    ask(Box::new(move |digest| drop(found.send(digest))));
    timeout(READ, finding).await.ok()?.ok()
}
