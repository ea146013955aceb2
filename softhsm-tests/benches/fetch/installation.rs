//! An installation with secrets in it.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use client::{Manager, v1};
use nix::unistd::{Pid, getuid};
use softhsm_tests::{Site, daemon::Daemon, text};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{load::Target, settings::CONTENT};

/// The group of every secret.
pub(crate) const GROUP: &str = "bench";

/// Puts that are under way at a time while an installation is filled.
const PUTS: usize = 64;

/// Where database and journal are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Below the folder for temporary files, which `TMPDIR` names.
    Disk,
    /// In memory, where nothing is ever waited for.
    Memory,
}

/// A token and what a daemon needs; every secret in it is granted to us.
pub(crate) struct Installation {
    site: Site,
    /// The state directory, where that is not the site's.
    _memory: Option<TempDir>,
    filled: AtomicU32,
}

impl Installation {
    pub(crate) fn new(place: Place) -> Self {
        let (site, memory) = match place {
            Place::Disk => (Site::new(), None),
            Place::Memory => {
                let memory = TempDir::with_prefix_in("custodyd-bench-", "/dev/shm").unwrap();
                (elsewhere(&memory), Some(memory))
            }
        };
        Self {
            site,
            _memory: memory,
            filled: AtomicU32::new(0),
        }
    }

    pub(crate) fn start(&self) -> Daemon<'_> {
        self.site.start()
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    pub(crate) fn target(&self, secrets: u32) -> Target {
        Target::Fetch {
            socket: self.site.path("run/provider.sock"),
            secrets,
        }
    }

    /// Puts secrets until there are `secrets`, through the Manager surface; says how
    /// long that took.
    pub(crate) async fn furnish(&self, secrets: u32) -> Duration {
        let manager = Manager::connect(self.site.path("run/manager.sock"))
            .await
            .unwrap();
        let first = self.filled.swap(secrets, Ordering::Relaxed);
        if first == 0 {
            make_group(&manager).await;
        }
        let start = Instant::now();
        let next = Arc::new(AtomicU32::new(first));
        let mut all = JoinSet::new();
        for _ in 0..PUTS {
            let (manager, next) = (manager.clone(), Arc::clone(&next));
            all.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= secrets {
                        break;
                    }
                    manager.put_secret(secret(number)).await.expect("a put");
                }
            });
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
        start.elapsed()
    }
}

/// A site whose state directory is in `memory`.
fn elsewhere(memory: &TempDir) -> Site {
    let site = Site::without_init();
    let file = site.path("custodyd.toml");
    let configuration = fs::read_to_string(&file).unwrap();
    let here = format!("{:?}", site.path("state"));
    let there = format!("{:?}", memory.path().join("state"));
    assert!(configuration.contains(&here));
    fs::write(&file, configuration.replace(&here, &there)).unwrap();
    let output = site.init().output().unwrap();
    assert!(output.status.success(), "init: {}", text(&output));
    site
}

async fn make_group(manager: &Manager) {
    let group = v1::CreateGroupRequest {
        name: GROUP.into(),
        ..Default::default()
    };
    manager.create_group(group).await.expect("a group");
    let grant = v1::AddGrantRequest {
        group: GROUP.into(),
        patterns: vec!["*".into()],
        selectors: vec![format!("unix:uid:{}", getuid())],
        allow_weak: true,
        ..v1::AddGrantRequest::default()
    };
    manager.add_grant(grant).await.expect("a grant");
}

/// Name of a secret.
pub(crate) fn name(number: u32) -> String {
    format!("secret-{number}")
}

fn secret(number: u32) -> v1::PutSecretRequest {
    v1::PutSecretRequest {
        group: GROUP.into(),
        name: name(number),
        r#type: "blob".into(),
        fields: vec![v1::Field {
            name: "content".into(),
            value: vec![number.to_le_bytes()[0]; CONTENT],
        }],
        ..Default::default()
    }
}

/// The worker of a daemon.
pub(crate) fn worker(daemon: Pid) -> Pid {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    let mut processes =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    let child = processes.find(|&pid| {
        let parent = status(pid, "PPid:").and_then(|text| text.parse().ok());
        parent.map(Pid::from_raw) == Some(daemon)
    });
    child.expect("a daemon has a worker")
}

/// Memory that a process has resident, in bytes.
pub(crate) fn resident(pid: Pid) -> u64 {
    let text = status(pid, "VmRSS:").expect("it runs");
    let amount = text.strip_suffix(" kB").unwrap();
    amount.parse::<u64>().unwrap() * 1024
}

fn status(pid: Pid, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().to_owned())
}
