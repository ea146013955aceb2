//! Many callers at once over the client library, and the processes they meet.

use std::{
    fs, process,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use client::{Error, Manager, Provider, Watch, v1};
use nix::unistd::Pid;
use tokio::{runtime::Runtime, time::timeout};

use crate::{PATIENCE, Site};

/// A runtime for a test's callers.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The next version that whoever watches is told of.
pub async fn told(watch: &mut Watch) -> u32 {
    let next = timeout(PATIENCE, watch.next()).await;
    let next = next.expect("it does not happen that a version is told");
    next.expect("the watch goes on").expect("no error")
}

/// How many rounds: as many as `CUSTODYD_SOAK` says, or else `usual`.
pub fn rounds(usual: usize) -> usize {
    let soak = std::env::var("CUSTODYD_SOAK").ok();
    soak.and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// A number that nobody else got. Different in every run; not for keys.
pub fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = u64::try_from(now.map_or(0, |now| now.as_nanos()) & u128::from(u64::MAX));
    let mut x = nanos.expect("masked") ^ (u64::from(process::id()) << 32);
    x = x.wrapping_add(
        NEXT.fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15),
    );
    // splitmix64
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A time between `least` and `most`, in milliseconds.
pub fn random_time(least: u64, most: u64) -> Duration {
    Duration::from_millis(least + number() % (most - least + 1))
}

impl Site {
    /// Connects to the provider surface.
    pub async fn provider(&self) -> Provider {
        let path = self.path("run/provider.sock");
        Provider::connect(path)
            .await
            .expect("the provider's socket")
    }

    /// Connects to the manager surface.
    pub async fn manager(&self) -> Manager {
        let path = self.path("run/manager.sock");
        Manager::connect(path).await.expect("the manager's socket")
    }

    /// Writes the configuration with the token's deadline set, so that a worker that
    /// hangs is noticed in a moment.
    pub fn configure_deadline(&self, millis: u64) {
        self.configure(&format!("deadline = \"{millis}ms\"\n"));
    }

    /// What `custodyctl status` says of the token.
    pub fn token(&self) -> serde_json::Value {
        self.ctl_json(&["status"])["token"].take()
    }

    /// `custodyctl -o json` with `arguments`, which must succeed.
    pub fn ctl_json(&self, arguments: &[&str]) -> serde_json::Value {
        let all: Vec<_> = ["--output", "json"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        serde_json::from_str(&self.ctl(&all)).expect("JSON")
    }
}

/// Fetches the current content of the blob `web/NAME`.
pub async fn fetch(provider: &Provider, name: &str) -> Result<(Vec<u8>, client::Fetched), Error> {
    let fetched = provider.fetch("web", name, None).await?;
    let content = fetched
        .field("content")
        .expect("a blob has content")
        .to_vec();
    Ok((content, fetched))
}

/// Writes `content` as a version of the blob `web/NAME`; says which.
pub async fn put(manager: &Manager, name: &str, content: &[u8]) -> Result<u32, Error> {
    let request = v1::PutSecretRequest {
        group: "web".to_owned(),
        name: name.to_owned(),
        r#type: "blob".to_owned(),
        fields: vec![v1::Field {
            name: "content".to_owned(),
            value: content.to_vec(),
        }],
        ..Default::default()
    };
    Ok(manager.put_secret(request).await?.number)
}

/// The children of a daemon that run its hidden sub-command `called`, whichever of its
/// threads started them.
pub fn children(parent: Pid, called: &str) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else {
        return Vec::new();
    };
    let lists = threads.flatten().filter_map(|thread| {
        let list = fs::read_to_string(thread.path().join("children")).ok()?;
        Some(list)
    });
    lists
        .flat_map(|list| {
            let pids = list.split_ascii_whitespace().map(|pid| pid.parse());
            pids.map(|pid| Pid::from_raw(pid.expect("a pid")))
                .collect::<Vec<_>>()
        })
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.nth(1) == Some(called.as_bytes())
        })
        .collect()
}
