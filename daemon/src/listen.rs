//! The two sockets: handed over by systemd, or bound here; and who comes through them.

use std::{
    fs::{self, Permissions},
    io,
    os::{
        fd::AsFd,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::UnixListener as StdListener,
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use custody::{
    caller::observation::{Credentials, Drift},
    journal::Surface,
};
use listenfd::ListenFd;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::task::TaskTracker;

use crate::{
    attest::Peer,
    config::{Attestation, Config, Limits, Senders},
    custodian::Custodian,
    throttle::{Asker, Throttle},
};

mod connection;
mod places;
mod seldom;
mod sender;

use connection::Connection;
use places::Places;
use seldom::Seldom;

/// A socket that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be {what}", .path.display())]
pub(crate) struct Error {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The sockets that are listened on.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) manager: UnixListener,
    pub(crate) provider: UnixListener,
    /// For monitoring, if it is wanted.
    pub(crate) metrics: Option<UnixListener>,
}

impl Sockets {
    /// Finds each that `config` names among the sockets that systemd handed over, or binds it.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let mut handed = handed_over();
        let mut take = |path: &Path, mode| {
            let found = handed.iter().position(|(bound, _)| bound == path);
            match found {
                Some(at) => Ok(handed.swap_remove(at).1),
                None => bind(path, mode),
            }
        };
        let (manager, provider) = (&config.manager, &config.provider);
        let senders = config.attestation.senders;
        let sockets = Self {
            manager: adopt(take(manager, MODE)?, manager, senders)?,
            provider: adopt(take(provider, MODE)?, provider, senders)?,
            metrics: match &config.metrics {
                Some(path) => {
                    let listener = take(path, METRICS_MODE)?;
                    Some(adopt(listener, path, Senders::Unchecked)?)
                }
                None => None,
            },
        };
        for (path, _) in handed {
            tracing::warn!(socket = %path.display(), "a socket was handed over that the configuration does not name");
        }
        Ok(sockets)
    }

    /// The sockets for operators and for services once more.
    pub(crate) fn again(&self) -> io::Result<[UnixListener; 2]> {
        let again = |listener: &UnixListener| {
            let listener = listener.as_fd().try_clone_to_owned()?;
            UnixListener::from_std(StdListener::from(listener))
        };
        Ok([again(&self.manager)?, again(&self.provider)?])
    }
}

fn handed_over() -> Vec<(PathBuf, StdListener)> {
    let mut descriptors = ListenFd::from_env();
    (0..descriptors.len())
        .filter_map(|at| {
            let listener = descriptors.take_unix_listener(at).ok()??;
            let path = listener.local_addr().ok()?.as_pathname()?.to_owned();
            Some((path, listener))
        })
        .collect()
}

/// Anyone may knock: who is let in is decided by attestation, not by the file's mode.
const MODE: u32 = 0o666;

/// Whoever asks for metrics is not attested, so that here the mode decides.
const METRICS_MODE: u32 = 0o660;

fn bind(path: &Path, mode: u32) -> Result<StdListener, Error> {
    let failed = |what| {
        move |source| Error {
            what,
            path: path.to_owned(),
            source,
        }
    };
    // A daemon that was killed leaves its socket behind. There is one daemon to a state
    // directory, and it holds its lock by now.
    let socket = |found: fs::Metadata| found.file_type().is_socket();
    if fs::symlink_metadata(path).is_ok_and(socket) {
        fs::remove_file(path).map_err(failed("replaced"))?;
    }
    let listener = StdListener::bind(path).map_err(failed("bound"))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("given its mode"))?;
    Ok(listener)
}

fn adopt(listener: StdListener, path: &Path, senders: Senders) -> Result<UnixListener, Error> {
    let failed = |source| Error {
        what: "used",
        path: path.to_owned(),
        source,
    };
    listener.set_nonblocking(true).map_err(failed)?;
    if senders == Senders::Checked {
        // What is sent before a connection is accepted counts too.
        sender::ask_for_senders(&listener).map_err(failed)?;
    }
    UnixListener::from_std(listener).map_err(failed)
}

/// What the doors have in common: who may come in, and how many.
#[derive(Debug)]
pub(crate) struct Doors {
    custodian: Arc<Custodian>,
    attestation: Attestation,
    limits: RwLock<Limits>,
    throttle: Arc<Throttle>,
    places: Arc<Places>,
    at_the_door: TaskTracker,
    full: Seldom,
    failed: Seldom,
}

impl Doors {
    pub(crate) fn new(
        custodian: Arc<Custodian>,
        attestation: Attestation,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Self {
            custodian,
            attestation,
            throttle: Arc::new(Throttle::new(limits.rate)),
            limits: RwLock::new(limits),
            places: Arc::default(),
            at_the_door: TaskTracker::new(),
            full: Seldom::default(),
            failed: Seldom::default(),
        })
    }

    /// Sets other limits: for connections, of whoever comes from now on.
    pub(crate) fn set_limits(&self, limits: Limits) {
        let mut current = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        if current.rate != limits.rate {
            self.throttle.set_rate(limits.rate);
        }
        *current = limits;
    }

    /// How callers are held to what they were when they came.
    pub(crate) fn attestation(&self) -> Attestation {
        self.attestation
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.places.taken()
    }

    /// What holds those up who ask too often.
    pub(crate) fn throttle(&self) -> &Arc<Throttle> {
        &self.throttle
    }

    /// Waits until everyone who was accepted is let in or turned away, which is on record
    /// or counted then. For when no more are accepted.
    pub(crate) async fn settle(&self) {
        self.at_the_door.close();
        self.at_the_door.wait().await;
    }

    fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out who made `stream`, and lets it in if there is room for one more of that
    /// user and no doubt about the process. A doubt goes on record.
    async fn let_in(self: &Arc<Self>, stream: UnixStream, surface: Surface) -> Option<Connection> {
        let limits = self.limits();
        // Whoever has no uid shares one with its like, and is about to be doubted.
        let uid = stream.peer_cred().map_or(u32::MAX, |found| found.uid());
        let taken = self
            .places
            .take(uid, limits.connections, limits.connections_per_uid);
        let place = match taken {
            Ok(place) => place,
            Err(full) => {
                if let Some(times) = self.full.happened(Instant::now()) {
                    tracing::warn!(?surface, uid, ?full, times, "too many connections");
                }
                return None;
            }
        };
        let peer = match Peer::of(&stream, self.custodian.attestor()).await {
            Ok(peer) => peer,
            Err((connected, doubt)) => {
                self.record(surface, connected, doubt.into()).await;
                return None;
            }
        };
        Connection::new(stream, peer, surface, Arc::clone(self), place)
            .inspect_err(|error| self.not_accepted(error))
            .ok()
    }

    /// Puts on record, without waiting for it, that what came in cannot stay.
    fn turn_away(self: &Arc<Self>, surface: Surface, connected: Credentials, drift: Drift) {
        let this = Arc::clone(self);
        self.at_the_door
            .spawn(async move { this.record(surface, connected, drift).await });
    }

    async fn record(&self, surface: Surface, connected: Credentials, doubt: Drift) {
        // Who makes very many of these is told of as one who asks too often.
        if self
            .throttle
            .take(Asker::unattested(connected.uid))
            .is_err()
        {
            return;
        }
        tracing::warn!(?surface, ?connected, %doubt, "a peer was turned away");
        let recorded = self
            .custodian
            .unattested(surface, connected, doubt, None)
            .await;
        if let Err(error) = recorded {
            tracing::warn!(%error, "a refusal is not on record");
        }
    }

    fn not_accepted(&self, error: &io::Error) {
        if let Some(times) = self.failed.happened(Instant::now()) {
            tracing::warn!(%error, times, "a connection could not be accepted");
        }
    }
}

/// As many descriptors as finding out about a process takes, and some for its requests.
const SPARE: usize = 8;

/// Makes sure that we have some left for so many processes that are looked at side by side: without
/// them an honest one would be in doubt, and on record for it.
fn spare_descriptors(socket: &impl AsFd, processes: usize) -> io::Result<()> {
    let spare = (0..SPARE * processes).map(|_| socket.as_fd().try_clone_to_owned());
    spare.collect::<io::Result<Vec<_>>>().map(drop)
}

/// After an accept that failed for want of descriptors or memory, a short rest.
const REST: Duration = Duration::from_millis(50);

/// How many are looked at side by side, so that one who cannot be seen for a while does
/// not keep the others out.
const AT_THE_DOOR: usize = 64;

/// Accepts connections as long as anyone takes them; no error ends it.
pub(crate) fn connections(
    listener: UnixListener,
    surface: Surface,
    doors: Arc<Doors>,
) -> impl Stream<Item = io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(1);
    let places = Arc::new(Semaphore::new(AT_THE_DOOR));
    tokio::spawn(async move {
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let accepted = accepted.and_then(|(stream, _)| {
                // Without them it is hung up on, which frees one.
                let looked_at = doors.at_the_door.len();
                spare_descriptors(&stream, looked_at + 1).map(|()| stream)
            });
            match accepted {
                Ok(stream) => {
                    let (this, sender) = (Arc::clone(&doors), sender.clone());
                    doors.at_the_door.spawn(async move {
                        if let Some(connection) = this.let_in(stream, surface).await {
                            // Nobody takes any more connections at the end.
                            drop(sender.send(Ok(connection)).await);
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    doors.not_accepted(&error);
                    tokio::time::sleep(REST).await;
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}
