//! The journal on disk: an append-only file, durable before anyone is answered.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use custody::{
    journal::{
        self, Event, Receipt,
        chain::{self, Head},
        change::Settled,
    },
    name::InstanceId,
};
use tokio::sync::{Notify, oneshot, watch};

mod meter;
mod read;
mod segment;

use meter::Meters;
pub(crate) use read::{Reading, Segment};
pub(crate) use segment::Segments;

/// How many may wait for their entries to be written.
const DEPTH: usize = 4096;

/// For how many of them entries are made durable together at most.
const BATCH: usize = 512;

/// Why the journal is of no use, or an entry is not in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the journal cannot be written: {} cannot be {what}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the journal is not whole: {}", .path.display())]
    Broken {
        path: PathBuf,
        source: chain::Broken,
    },
    #[error("there is no journal in {}", .0.display())]
    Missing(PathBuf),
    #[error("there is a journal in {} already", .0.display())]
    Exists(PathBuf),
    #[error("others may write to {}: chmod go-w it, and find out who did", .0.display())]
    Lax(PathBuf),
    #[error("too many are waiting for entries to be written")]
    Busy,
    #[error("the journal is closed")]
    Closed,
    #[error("the journal's thread could not be started")]
    Thread(#[source] io::Error),
}

/// Whose journal it is; every segment begins by saying so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) instance: InstanceId,
    /// SubjectPublicKeyInfo, PEM.
    pub(crate) public_key: String,
}

/// What a journal says of the database when it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The newest change that is known to be in the database.
    pub(crate) settled: Option<Settled>,
    /// A change that was begun, and neither done nor given up.
    pub(crate) pending: Option<Settled>,
}

/// The open journal. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    queue: SyncSender<Job>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Origin,
    directory: PathBuf,
    position: Mutex<Position>,
    heads: watch::Sender<u64>,
    /// A checkpoint is wanted after so many entries without one.
    checkpoint_entries: AtomicU64,
    checkpoint_due: Notify,
    meters: Meters,
}

/// How far the journal has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    /// The newest durable entry.
    pub(crate) head: Head,
    /// The newest entry that a checkpoint covers; 0 before the first.
    pub(crate) covered: u64,
    /// The first entry of the segment that it is in.
    pub(crate) segment: u64,
    /// How long that segment is up to there.
    pub(crate) length: u64,
}

struct Job {
    events: Vec<Event>,
    done: oneshot::Sender<Result<Receipt, Error>>,
}

/// Waits for the journal's thread to have written everything.
#[derive(Debug)]
pub(crate) struct Closing(JoinHandle<()>);

impl Journal {
    /// Starts the thread that appends to `segments`. It ends, and [`Closing`] can be
    /// waited for, once the last clone is dropped.
    pub(crate) fn start(
        segments: Segments,
        checkpoint_entries: u64,
    ) -> Result<(Self, Closing), Error> {
        let shared = Arc::new(Shared {
            origin: segments.origin().clone(),
            directory: segments.directory().to_owned(),
            position: Mutex::new(segments.position()),
            heads: watch::Sender::new(segments.position().head.seq),
            checkpoint_entries: AtomicU64::new(checkpoint_entries),
            checkpoint_due: Notify::new(),
            meters: Meters::default(),
        });
        let (queue, jobs) = sync_channel(DEPTH);
        let thread = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || write_all(segments, &jobs, &shared))
                .map_err(Error::Thread)?
        };
        Ok((Self { queue, shared }, Closing(thread)))
    }

    /// How far it has come.
    pub(crate) fn position(&self) -> Position {
        *self
            .shared
            .position
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted of what is written.
    pub(crate) fn meters(&self) -> &Meters {
        &self.shared.meters
    }

    /// Whose it is.
    pub(crate) fn origin(&self) -> &Origin {
        &self.shared.origin
    }

    /// Entry `from` and everything after it that is in the files, or what is left of that.
    pub(crate) fn read(&self, from: u64) -> Result<Reading, Error> {
        Reading::from(&self.shared.directory, from)
    }

    /// Its files up to `end`, oldest first.
    pub(crate) fn segments_to(&self, end: Position) -> Result<Vec<Segment>, Error> {
        read::segments_to(&self.shared.directory, end)
    }

    /// To be told how far it has come, whenever it comes further.
    pub(crate) fn heads(&self) -> watch::Receiver<u64> {
        self.shared.heads.subscribe()
    }

    /// Where its segments are.
    pub(crate) fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Changes after how many entries a checkpoint is wanted.
    pub(crate) fn set_checkpoint_entries(&self, entries: u64) {
        self.shared
            .checkpoint_entries
            .store(entries, Ordering::Relaxed);
    }

    /// Returns once so many entries are without a checkpoint that one is wanted.
    pub(crate) async fn checkpoint_due(&self) {
        self.shared.checkpoint_due.notified().await;
    }
}

impl journal::Journal for Journal {
    type Error = Error;

    async fn append_all(&self, events: Vec<Event>) -> Result<Receipt, Error> {
        let (done, result) = oneshot::channel();
        self.queue
            .try_send(Job { events, done })
            .map_err(|refused| match refused {
                TrySendError::Full(_) => Error::Busy,
                TrySendError::Disconnected(_) => Error::Closed,
            })?;
        result.await.map_err(|_| Error::Closed)?
    }
}

impl Closing {
    /// Whether everything is written: every [`Journal`] was dropped, and the thread ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Group commit: whatever waits is written at once, made durable at once, and answered.
fn write_all(mut segments: Segments, jobs: &Receiver<Job>, shared: &Shared) {
    let mut waiting = Vec::with_capacity(BATCH);
    let mut events = Vec::with_capacity(BATCH);
    while let Ok(job) = jobs.recv() {
        for job in std::iter::once(job).chain(jobs.try_iter().take(BATCH - 1)) {
            waiting.push((job.events.len() as u64, job.done));
            events.extend(job.events);
        }
        let began = Instant::now();
        match segments.append(&events) {
            Ok(first) => {
                shared.meters.written(&events, began.elapsed());
                publish(&segments, shared);
                let mut seq = first;
                for (count, done) in waiting.drain(..) {
                    // Whoever asked may have stopped waiting; the entries stand.
                    drop(done.send(Ok(Receipt::of_durable(seq))));
                    seq += count;
                }
            }
            Err(error) => {
                shared.meters.failed();
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    entries = events.len(),
                    "nothing is released: the journal cannot be written"
                );
                for (_, done) in waiting.drain(..) {
                    drop(done.send(Err(error.again())));
                }
            }
        }
        events.clear();
    }
}

fn publish(segments: &Segments, shared: &Shared) {
    let position = segments.position();
    *shared
        .position
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = position;
    shared.heads.send_replace(position.head.seq);
    let limit = shared.checkpoint_entries.load(Ordering::Relaxed);
    if position.head.seq - position.covered >= limit {
        shared.checkpoint_due.notify_one();
    }
}

impl Error {
    /// The same error for another one who waits.
    fn again(&self) -> Self {
        match self {
            Self::Io { what, path, source } => Self::Io {
                what,
                path: path.clone(),
                source: source
                    .raw_os_error()
                    .map_or_else(|| source.kind().into(), io::Error::from_raw_os_error),
            },
            _ => Self::Closed,
        }
    }
}
