//! Many secrets: what a fetch costs then, how long a start takes, and how much memory.

use std::time::{Duration, Instant};

use softhsm_tests::daemon::Daemon;

use crate::{
    installation::{Installation, Place, resident},
    load::{Measured, Shape, drive},
    settings::{FEW, Settings},
};

/// Secrets in between few and many.
const SOME: u32 = 10_000;

/// What was found.
#[derive(Debug)]
pub(crate) struct Scale {
    /// With how many secrets, by how many callers: a fetch.
    pub(crate) fetches: Vec<(u32, usize, Measured)>,
    /// How many secrets were put, and how long that took.
    pub(crate) filled: (u32, Duration),
    /// With how many secrets: a start.
    pub(crate) starts: Vec<(u32, Start)>,
}

/// A daemon that has just come to serve.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) time: Duration,
    /// Bytes.
    pub(crate) daemon: u64,
    /// Bytes.
    pub(crate) worker: u64,
}

impl Start {
    pub(crate) fn measure(installation: &Installation) -> (Daemon<'_>, Self) {
        let start = Instant::now();
        let daemon = installation.start();
        let start = Self {
            time: start.elapsed(),
            daemon: resident(daemon.pid()),
            worker: resident(daemon.worker()),
        };
        (daemon, start)
    }
}

pub(crate) async fn run(settings: &Settings) -> Scale {
    let installation = Installation::new(Place::Disk);
    let mut scale = Scale {
        fetches: Vec::new(),
        filled: (0, Duration::ZERO),
        starts: Vec::new(),
    };
    let mut steps = vec![FEW, SOME, settings.secrets];
    steps.retain(|&step| step <= settings.secrets);
    steps.dedup();
    for secrets in steps {
        let daemon = installation.start();
        let time = installation.furnish(secrets).await;
        let added = secrets - scale.filled.0;
        eprintln!("{added} secrets put in {:.1} s", time.as_secs_f64());
        scale.filled = (secrets, scale.filled.1 + time);
        daemon.stop();

        let (daemon, start) = Start::measure(&installation);
        scale.starts.push((secrets, start));
        for &callers in &settings.callers {
            let shape = Shape {
                callers,
                connections: callers,
            };
            let target = installation.target(secrets);
            let time = settings.time * settings.rounds;
            let measured = drive(&target, shape, time).await;
            scale.fetches.push((secrets, callers, measured));
        }
        daemon.stop();
    }
    let verified = installation.site().verify_journal();
    assert!(verified.status.success(), "the journal does not verify");
    scale
}
