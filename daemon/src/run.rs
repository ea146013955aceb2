//! The order of starting and of stopping.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use custody::journal::{Event, Journal as _};
use rustix::fs::{FlockOperation, flock};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    attest::{Attestor, helper::Helper},
    config::{Config, Live},
    custodian::Custodian,
    history::When,
    journal,
    listen::{Doors, Sockets},
    metrics::{self, Metrics},
    restore,
};

mod failure;
mod open;
pub(crate) mod prove;
mod ready;
mod servers;
mod told;
mod waiting;

pub(crate) use failure::Failure;
pub(crate) use open::{Opened, open};
pub(crate) use ready::{About, Ready, prepare};
use told::{Told, until_told};
pub(crate) use waiting::Attempts;

/// What kind of daemon it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Production,
    /// Throw-away; says so wherever it can.
    Development,
}

/// What is done about a token that is not there at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It is waited for.
    Wait,
    /// The daemon ends.
    None,
}

/// Runs the daemon until it is told to stop.
pub(crate) fn run(config: Config, patience: Patience) -> Result<(), Failure> {
    let ready = prepare(config.log_format, config.live.log_level)?;
    run_prepared(config, Mode::Production, patience, ready)
}

/// [`run`], in a process that is ready.
pub(crate) fn run_prepared(
    config: Config,
    mode: Mode,
    patience: Patience,
    ready: Ready,
) -> Result<(), Failure> {
    let _lock = own(&config.state_directory)?;
    check_mode(&config.state_directory, mode)?;
    if mode == Mode::Development {
        tracing::warn!("this is a throw-away daemon: never give it a real secret");
    }
    runtime()?.block_on(serve(
        config,
        patience,
        ready.helper,
        About {
            started: crate::custodian::now(),
            mode,
            memory: ready.memory,
        },
    ))
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)
}

/// Makes the state directory ours alone, as long as what is returned lives, and finishes a
/// restore to it that was interrupted.
pub(crate) fn own(directory: &Path) -> Result<File, Failure> {
    let failed = |what| {
        move |source| Failure::Folder {
            what,
            path: directory.to_owned(),
            source,
        }
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("made")(error));
        }
        _ => {}
    }
    let folder = File::open(directory).map_err(failed("opened"))?;
    let found = folder.metadata().map_err(failed("looked at"))?;
    if found.mode() & 0o077 != 0 {
        return Err(Failure::LaxFolder(directory.to_owned()));
    }
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            restore::finish(directory)?;
            Ok(folder)
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::Locked(directory.to_owned())),
        Err(error) => Err(failed("locked")(error.into())),
    }
}

/// The file that marks a throw-away daemon's state.
pub(crate) fn development_mark(state: &Path) -> PathBuf {
    state.join("development")
}

fn check_mode(state: &Path, mode: Mode) -> Result<(), Failure> {
    match (development_mark(state).exists(), mode) {
        (true, Mode::Production) => Err(Failure::Development(state.to_owned())),
        (false, Mode::Development) => Err(Failure::NotDevelopment(state.to_owned())),
        _ => Ok(()),
    }
}

async fn serve(
    config: Config,
    patience: Patience,
    helper: Option<Helper>,
    about: About,
) -> Result<(), Failure> {
    survive_file_limits();
    let attestor = Attestor::start(config.attestation.attestor, helper)?;
    let sockets = Sockets::open(&config)?;
    let attempts = match patience {
        Patience::Wait if config.live.workers[0].pin.can_be_read_again() => {
            Attempts::many(&sockets, config.tokens[0].longest_wait)
        }
        _ => Attempts::one(),
    };
    let Opened {
        custodian,
        journal_closing,
    } = open(&config, attestor, attempts).await?;
    // Until here a signal just ends the process. From here on it is served, and told so.
    let told = Told::listen();
    let token = custodian
        .tokens()
        .clients()
        .next()
        .map(|client| client.token());
    let (token_label, token_serial) = token
        .map(|token| (token.label, token.serial))
        .unwrap_or_default();
    let start = Event::Start {
        version: env!("CARGO_PKG_VERSION"),
        token_label,
        token_serial,
        development: about.is_development(),
        boot: boot(),
    };
    custodian.journal().append(start).await?;
    // So that what is there can be verified from the first moment on.
    if let Err(error) = custodian.checkpoint().await {
        unsigned(&error);
    }

    let live = Arc::new(Mutex::new(config.live.clone()));
    let interval = {
        let live = Arc::clone(&live);
        move || lock(&live).checkpoint.interval
    };
    let signing = tokio::spawn({
        let custodian = Arc::clone(&custodian);
        async move { custodian.keep_checkpoints(interval).await }
    });
    let doors = Doors::new(
        Arc::clone(&custodian),
        config.attestation,
        config.live.limits,
    );
    let throttle = Arc::clone(doors.throttle());
    let throttling = tokio::spawn({
        let custodian = Arc::clone(&custodian);
        async move { throttle.keep_records(&custodian).await }
    });
    let shredding = tokio::spawn({
        let custodian = Arc::clone(&custodian);
        async move { custodian.keep_promises_to_destroy().await }
    });
    let share = {
        let live = Arc::clone(&live);
        move || lock(&live).rewrap_share
    };
    let moving = tokio::spawn({
        let custodian = Arc::clone(&custodian);
        async move { custodian.keep_moving(share).await }
    });
    let looking = tokio::spawn({
        let custodian = Arc::clone(&custodian);
        async move { custodian.keep_looking_ahead().await }
    });
    let forgetting = tokio::spawn({
        let custodian = Arc::clone(&custodian);
        async move { custodian.keep_forgetting().await }
    });
    let admitting = tokio::spawn({
        let custodian = Arc::clone(&custodian);
        async move { custodian.keep_admitting().await }
    });
    let patience = config.tokens[0].deadline;
    custodian.tokens().settled(patience).await;
    let (stop, stopping) = watch::channel(false);
    let about = Arc::new(about);
    let measuring = sockets.metrics.map(|socket| {
        let metrics = Metrics::of(&custodian, &doors, &about);
        tokio::spawn(metrics::serve(socket, metrics))
    });
    let servers = tokio::spawn(servers::both(
        Arc::clone(&custodian),
        about,
        sockets.manager,
        sockets.provider,
        Arc::clone(&doors),
        stopping,
    ));
    notify(&[NotifyState::Ready]);
    tracing::info!(
        manager = %config.manager.display(),
        provider = %config.provider.display(),
        "serving"
    );
    let ended = tokio::select! {
        () = until_told(told, &config, &live, &custodian, &doors) => Ok(()),
        () = custodian.attestor().lost() => Err(Failure::HelperLost),
    };

    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping: open requests may finish");
    stop.send_replace(true);
    let drain = lock(&live).drain;
    let ending = async {
        drop(servers.await);
        doors.settle().await;
    };
    if tokio::time::timeout(drain, ending).await.is_err() {
        tracing::warn!(?drain, "some requests did not finish in time");
    }
    signing.abort();
    shredding.abort();
    moving.abort();
    looking.abort();
    forgetting.abort();
    custodian.forget_data_keys();
    admitting.abort();
    if let Some(measuring) = measuring {
        measuring.abort();
        // What it holds must be gone before the journal can close.
        drop(measuring.await);
    }
    throttling.abort();
    doors.throttle().finish_records(&custodian).await;
    finish(&custodian).await;
    custodian.tokens().stop().await;
    drop(doors);
    drop(custodian);
    journal_closing.join_within(drain);
    tracing::info!("stopped");
    ended
}

/// A file that may not grow is an error of whoever writes it, as a full disk is, and not
/// the end of the process: `LimitFSIZE=` in a unit would make it so.
fn survive_file_limits() {
    // Handled by doing nothing; tokio keeps the handler for good.
    if let Err(error) = signal(SignalKind::from_raw(libc::SIGXFSZ)) {
        tracing::warn!(%error, "SIGXFSZ is not handled: a file size limit would end the daemon");
    }
}

/// The last entries: that it ends here, and a signature over everything.
async fn finish(custodian: &Arc<Custodian>) {
    let stopped = custodian.record(Event::Stop).await;
    let signed = custodian.checkpoint().await;
    if let Err(error) = stopped.map(drop).and(signed) {
        unsigned(&error);
    }
    custodian.keep_usage(When::Stopping).await;
}

fn unsigned(error: &crate::custodian::Error) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the journal does not end in a signature"
    );
}

fn lock(live: &Mutex<Live>) -> std::sync::MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// The kernel's id of this boot of the machine.
fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim_end().to_owned())
}

/// How often the journal's thread is looked at while it ends.
const LOOK: Duration = Duration::from_millis(10);

impl journal::Closing {
    /// Waits for the thread, but not for ever: a watcher that is stuck may hold on to it.
    pub(crate) fn join_within(self, limit: Duration) {
        let end = std::time::Instant::now() + limit;
        while !self.is_finished() && std::time::Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    }
}
