//! What a running daemon is told by signals: to stop, and to read its configuration again.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use hsm::PinSource;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{lock, notify};
use crate::{
    config::{self, Config, Live},
    custodian::Custodian,
    listen::Doors,
    log,
};

/// The signals by which a running daemon is told things.
pub(super) struct Told {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Told {
    /// Takes them from now on; none that comes before it is looked at is lost.
    pub(super) fn listen() -> Self {
        let handled = |kind| signal(kind).expect("these signals can be handled");
        Self {
            terminate: handled(SignalKind::terminate()),
            interrupt: handled(SignalKind::interrupt()),
            hang_up: handled(SignalKind::hangup()),
        }
    }
}

/// Waits for SIGTERM or SIGINT; at each SIGHUP forgets data keys and reads the
/// configuration again.
pub(super) async fn until_told(
    mut told: Told,
    config: &Config,
    live: &Mutex<Live>,
    custodian: &Arc<Custodian>,
    doors: &Doors,
) {
    let mut pins = PinStamp::of_all(config);
    loop {
        tokio::select! {
            _ = told.terminate.recv() => return,
            _ = told.interrupt.recv() => return,
            _ = told.hang_up.recv() => {
                let now = NotifyState::monotonic_usec_now();
                notify(&[NotifyState::Reloading]);
                if let Ok(now) = now {
                    notify(&[now]);
                }
                custodian.forget_data_keys();
                reload(config, live, custodian, doors, &mut pins);
                notify(&[NotifyState::Ready]);
            }
        }
    }
}

/// Takes over the configuration as a whole, or not at all.
fn reload(
    config: &Config,
    live: &Mutex<Live>,
    custodian: &Custodian,
    doors: &Doors,
    pins: &mut Vec<PinStamp>,
) {
    let new = match config::read(&config.path) {
        Ok(new) => new,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the configuration stays as it was"
            );
            return;
        }
    };
    if let Some(setting) = config.needs_restart(&new) {
        tracing::error!(
            setting,
            "the configuration stays as it was: this setting needs a restart"
        );
        return;
    }
    log::set_level(new.live.log_level);
    custodian
        .journal()
        .set_checkpoint_entries(new.live.checkpoint.entries);
    doors.set_limits(new.live.limits);
    let new_pins = PinStamp::of_all(&new);
    let tokens = custodian.tokens().all().zip(new.workers());
    for (nth, (token, settings)) in tokens.enumerate() {
        let is_same = new.live.workers[nth] == lock(live).workers[nth];
        if !is_same || new_pins[nth] != pins[nth] {
            token.renew(settings);
        }
    }
    *pins = new_pins;
    *lock(live) = new.live;
    tracing::info!("the configuration was read again");
}

/// Which files the PINs were read from, when those were written, and which of them it is: whether
/// there may be another PIN now.
#[derive(Debug, PartialEq, Eq)]
struct PinStamp {
    present: Written,
    next: Option<Written>,
    is_next: bool,
}

/// Which file it is, and when it was written; `None` of what is none.
type Written = Option<(u64, i64, i64)>;

impl PinStamp {
    /// That of each token.
    fn of_all(config: &Config) -> Vec<Self> {
        config.workers().map(|worker| Self::of(&worker)).collect()
    }

    fn of(worker: &hsm::Settings) -> Self {
        Self {
            present: written(&worker.pin),
            next: worker.next_pin.as_ref().map(written),
            is_next: worker.has_next_pin(),
        }
    }
}

fn written(source: &PinSource) -> Written {
    let found = file_of(source).and_then(|path| fs::metadata(path).ok());
    found.map(|found| (found.ino(), found.mtime(), found.mtime_nsec()))
}

fn file_of(source: &PinSource) -> Option<PathBuf> {
    match source {
        PinSource::File(path) => Some(path.clone()),
        PinSource::Credential(name) => {
            let folder = env::var_os("CREDENTIALS_DIRECTORY")?;
            Some(Path::new(&folder).join(name))
        }
        PinSource::Descriptor(_) | PinSource::Prompt => None,
    }
}
