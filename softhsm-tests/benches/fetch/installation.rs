//! An installation with secrets in it.

use std::{
    fs,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use client::{Manager, Provider, v1};
use nix::unistd::{Pid, getuid};
use softhsm_tests::{Site, daemon::Daemon, text};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    load::{self, Target},
    settings::{self, CONTENT},
};

/// How long a start with very many secrets may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How much is under way at a time while an installation is filled.
const AT_A_TIME: usize = 64;

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
            Place::Disk => {
                let site = Site::new();
                site.configure(&workers());
                (site, None)
            }
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
        self.site.start_within(PATIENCE, self.site.custodyd("run"))
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// The first `secrets` of the first group.
    pub(crate) fn target(&self, secrets: u32) -> Target {
        self.target_in(1, secrets)
    }

    /// The first `secrets` of each of the first `groups`.
    pub(crate) fn target_in(&self, groups: u32, secrets: u32) -> Target {
        Target::Fetch {
            socket: self.site.path("run/provider.sock"),
            groups,
            secrets,
        }
    }

    pub(crate) async fn manager(&self) -> Manager {
        let manager = Manager::connect(self.site.path("run/manager.sock"));
        manager.await.unwrap()
    }

    /// Fetches each of the first `secrets` of the first group once.
    pub(crate) async fn fetch_all(&self, secrets: u32) {
        let provider = Provider::connect(self.site.path("run/provider.sock"));
        let provider = provider.await.unwrap();
        let each = move |number| {
            let provider = provider.clone();
            async move { load::fetch(&provider, &group_name(0), number).await }
        };
        many_at_a_time(0..secrets, each).await;
    }

    /// Puts secrets until there are `secrets` in the first group, through the Manager
    /// surface; says how long that took.
    pub(crate) async fn furnish(&self, secrets: u32) -> Duration {
        let manager = self.manager().await;
        let first = self.filled.swap(secrets, Ordering::Relaxed);
        if first == 0 {
            make_group(&manager, 0).await;
        }
        let put = move |number| {
            let manager = manager.clone();
            async move {
                let put = manager.put_secret(secret(0, number));
                put.await.expect("a put");
            }
        };
        many_at_a_time(first..secrets, put).await
    }

    /// Makes the other groups until there are `groups`, of `secrets` each; says how long that
    /// took.
    pub(crate) async fn furnish_groups(&self, groups: u32, secrets: u32) -> Duration {
        let manager = self.manager().await;
        let fill = move |group| {
            let manager = manager.clone();
            async move {
                make_group(&manager, group).await;
                for number in 0..secrets {
                    let put = manager.put_secret(secret(group, number));
                    put.await.expect("a put");
                }
            }
        };
        many_at_a_time(1..groups, fill).await
    }
}

/// Does something for each number, for many at a time; says how long that took.
async fn many_at_a_time<F>(
    numbers: Range<u32>,
    each: impl Fn(u32) -> F + Clone + Send + 'static,
) -> Duration
where
    F: Future<Output = ()> + Send,
{
    let start = Instant::now();
    let next = Arc::new(AtomicU32::new(numbers.start));
    let mut all = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (each, next) = (each.clone(), Arc::clone(&next));
        all.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    break;
                }
                each(number).await;
            }
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
    start.elapsed()
}

/// A site whose state directory is in `memory`.
fn elsewhere(memory: &TempDir) -> Site {
    let site = Site::without_init();
    site.configure(&workers());
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

/// The line of the configuration.
fn workers() -> String {
    format!("workers = {}\n", settings::workers())
}

async fn make_group(manager: &Manager, number: u32) {
    let group = v1::CreateGroupRequest {
        name: group_name(number),
        keeping: Some(settings::keeping()),
        ..Default::default()
    };
    manager.create_group(group).await.expect("a group");
    let grant = v1::AddGrantRequest {
        group: group_name(number),
        patterns: vec!["*".into()],
        selectors: vec![format!("unix:uid:{}", getuid())],
        allow_weak: true,
        ..v1::AddGrantRequest::default()
    };
    manager.add_grant(grant).await.expect("a grant");
}

/// Name of a group.
pub(crate) fn group_name(number: u32) -> String {
    format!("group-{number}")
}

/// Name of a secret.
pub(crate) fn secret_name(number: u32) -> String {
    format!("secret-{number}")
}

/// What a secret holds.
pub(crate) fn content(number: u32) -> [u8; CONTENT] {
    [number.to_le_bytes()[0]; CONTENT]
}

fn secret(group: u32, number: u32) -> v1::PutSecretRequest {
    v1::PutSecretRequest {
        group: group_name(group),
        name: secret_name(number),
        r#type: "blob".into(),
        fields: vec![v1::Field {
            name: "content".into(),
            value: content(number).into(),
        }],
        ..Default::default()
    }
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
