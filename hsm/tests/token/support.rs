//! A token of one's own, and a client for it.

use std::{
    ffi::OsString,
    fs,
    num::NonZeroUsize,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use custody::envelope::Wrapping;
use hsm::{Client, Error, PinSource, Settings, TokenSelector, WorkerState};
use rustix::process::{Pid, Signal};

pub(crate) const WORKER: &str = "HSM_TEST_WORKER";
pub(crate) const KEY_MAKER: &str = "HSM_TEST_KEY_MAKER";
pub(crate) const PARENT: &str = "HSM_TEST_PARENT";
pub(crate) const PIN: &str = "1234abcd";
pub(crate) const LABEL: &str = "custody test";
pub(crate) const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const CONFIGURATION: &str = "SOFTHSM2_CONF";

/// A store of tokens in a folder of its own.
pub(crate) struct Store {
    folder: PathBuf,
    _owned: Option<tempfile::TempDir>,
}

impl Store {
    /// A store without tokens.
    pub(crate) fn empty() -> Self {
        Self::empty_without(&[])
    }

    /// A store without tokens, whose module does not sign by these `CKM_` mechanisms.
    fn empty_without(mechanisms: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        fs::create_dir(&tokens).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n\
            slots.mechanisms = {}\n",
            tokens.display(),
            // SoftHSM 2.6 leaves what stands first in the list.
            [&["-CKM_MD2_RSA_PKCS"], mechanisms].concat().join(","),
        );
        let store = Self {
            folder: folder.path().to_owned(),
            _owned: Some(folder),
        };
        fs::write(store.configuration(), text).unwrap();
        fs::write(store.pin_file(), PIN).unwrap();
        fs::set_permissions(store.pin_file(), fs::Permissions::from_mode(0o600)).unwrap();
        store
    }

    /// The store in `folder`, which is another process's.
    fn of_another(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            _owned: None,
        }
    }

    /// A store with one token.
    pub(crate) fn fresh() -> Self {
        let store = Self::empty();
        store.add_token(LABEL);
        store
    }

    /// A store with one token, which does not sign by these `CKM_` mechanisms.
    pub(crate) fn fresh_without(mechanisms: &[&str]) -> Self {
        let store = Self::empty_without(mechanisms);
        store.add_token(LABEL);
        store
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn configuration(&self) -> PathBuf {
        self.path("softhsm2.conf")
    }

    pub(crate) fn pin_file(&self) -> PathBuf {
        self.path("pin")
    }

    pub(crate) fn latch(&self) -> PathBuf {
        self.path("pin-refused")
    }

    pub(crate) fn add_token(&self, label: &str) {
        self.util(&[
            "--init-token",
            "--free",
            "--label",
            label,
            "--so-pin",
            "87654321",
            "--pin",
            PIN,
        ]);
    }

    /// How many objects the tokens hold.
    pub(crate) fn objects(&self) -> usize {
        let tokens = fs::read_dir(self.path("tokens")).unwrap();
        let files = tokens.flat_map(|token| fs::read_dir(token.unwrap().path()).unwrap());
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.ends_with(".object") && name != "token.object")
            .count()
    }

    /// The serial numbers of the tokens.
    pub(crate) fn serials(&self) -> Vec<String> {
        let slots = self.util(&["--show-slots"]);
        let serials = slots
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Serial number:"));
        let serials = serials.map(|serial| serial.trim().to_owned());
        serials.filter(|serial| !serial.is_empty()).collect()
    }

    fn util(&self, arguments: &[&str]) -> String {
        let output = Command::new("softhsm2-util")
            .args(arguments)
            .env(CONFIGURATION, self.configuration())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Settings for the one token.
    pub(crate) fn settings(&self) -> Settings {
        let serial = self.serials().remove(0);
        Settings {
            worker: entry("worker_entry"),
            module: MODULE.into(),
            environment: vec![
                (WORKER.into(), "1".into()),
                (
                    CONFIGURATION.into(),
                    self.configuration().to_str().unwrap().into(),
                ),
            ],
            token: TokenSelector::new(LABEL.into(), serial),
            pin: PinSource::File(self.pin_file()),
            next_pin: None,
            keeps_pins: true,
            workers: NonZeroUsize::MIN,
            worker_age: None,
            worker_growth: None,
            unwrapped_keys: NonZeroUsize::MAX,
            sessions: NonZeroUsize::new(2).unwrap(),
            queue: NonZeroUsize::new(1000).unwrap(),
            deadline: Duration::from_secs(5),
            start_deadline: Duration::from_secs(20),
            longest_wait: Duration::from_secs(5),
            canary_interval: Duration::from_secs(30),
            wrappings: Wrapping::ALL.to_vec(),
            codes: hsm::Codes::default(),
            pin_latch: self.latch(),
            meters: hsm::Meters::default(),
        }
    }

    /// Settings for two workers.
    pub(crate) fn settings_for_two(&self) -> Settings {
        Settings {
            workers: NonZeroUsize::new(2).unwrap(),
            ..self.settings()
        }
    }

    /// A client of two workers that serve.
    pub(crate) async fn client_of_two(&self) -> Client {
        let client = Client::start(self.settings_for_two()).await.unwrap();
        all_serve(&client, 2).await;
        client
    }

    pub(crate) async fn client(&self) -> Client {
        Client::start(self.settings()).await.unwrap()
    }

    /// Has another process make a group master key that can do too much.
    pub(crate) fn make_lax_key(&self, id: [u8; 16]) {
        self.have_made(&format!("key {}", hex::encode(id)));
    }

    /// As [`Self::make_lax_key`], one that is a pair.
    pub(crate) fn make_lax_pair(&self, id: [u8; 16]) {
        self.have_made(&format!("pair {}", hex::encode(id)));
    }

    /// Has another process put a public key of `modulus` in the place of a public half.
    pub(crate) fn exchange_public_half(&self, id: [u8; 16], modulus: &[u8]) {
        let (id, modulus) = (hex::encode(id), hex::encode(modulus));
        self.have_made(&format!("public {id} {modulus}"));
    }

    /// Has another process make or destroy what is not as it ought to be: `maker.rs` says what.
    pub(crate) fn have_made(&self, what: &str) {
        let status = self.again("key_maker_entry", KEY_MAKER, what).status();
        assert!(status.unwrap().success());
    }

    /// Another process that has a client of its own.
    pub(crate) fn parent(&self) -> Command {
        self.again("parent_entry", PARENT, self.folder.to_str().unwrap())
    }

    fn again(&self, test: &str, name: &str, value: &str) -> Command {
        let line = entry(test);
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .env(name, value)
            .env(CONFIGURATION, self.configuration())
            .stdout(Stdio::null());
        command
    }

    /// The worker that uses this store.
    pub(crate) fn worker(&self) -> Option<Pid> {
        self.workers().first().copied()
    }

    /// The workers that use this store, the one that was started first before the others.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        let ours = format!("{CONFIGURATION}={}", self.configuration().display());
        let is_ours = |environment: &[u8]| {
            let mut variables = environment.split(|byte| *byte == 0);
            let has = |wanted: &str| variables.clone().any(|found| found == wanted.as_bytes());
            let worker = format!("{WORKER}=1");
            has(&ours) && has(&worker) && variables.next().is_some()
        };
        let mut workers: Vec<i32> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| fs::read(format!("/proc/{pid}/environ")).is_ok_and(|it| is_ours(&it)))
            .collect();
        workers.sort_unstable();
        workers.into_iter().filter_map(Pid::from_raw).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let worker = self.worker().expect("a worker runs");
        rustix::process::kill_process(worker, signal).unwrap();
    }

    /// Stops the worker. A thread that runs on another processor when the signal is sent
    /// goes on for a moment: it is waited for.
    pub(crate) async fn freeze(&self) {
        self.freeze_one(self.worker().expect("a worker runs")).await;
    }

    /// Stops one worker.
    pub(crate) async fn freeze_one(&self, worker: Pid) {
        rustix::process::kill_process(worker, Signal::STOP).unwrap();
        eventually("each thread of the worker is stopped", || {
            is_stopped(worker)
        })
        .await;
    }
}

/// Whether no thread of `process` runs: one that has ended does not, either.
fn is_stopped(process: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_pid()));
    threads.into_iter().flatten().flatten().all(|thread| {
        fs::read_to_string(thread.path().join("stat")).is_ok_and(|stat| {
            let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
            after_name.trim_start().starts_with('T')
        })
    })
}

fn entry(test: &str) -> Vec<OsString> {
    [
        "/proc/self/exe",
        test,
        "--exact",
        "--nocapture",
        "--test-threads=1",
    ]
    .map(OsString::from)
    .to_vec()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until worker number `generation` serves.
pub(crate) async fn serves(client: &Client, generation: u64) {
    let mut health = client.health();
    let wanted = |health: &hsm::Health| {
        health.generation == generation && health.state == WorkerState::Serving
    };
    let serving = tokio::time::timeout(Duration::from_secs(20), health.wait_for(wanted));
    serving.await.expect("a worker serves in time").unwrap();
}

/// Waits until each worker serves, and there have been `generation`.
pub(crate) async fn all_serve(client: &Client, generation: u64) {
    let mut health = client.health();
    let wanted = |health: &hsm::Health| {
        let mut workers = health.workers.iter();
        health.generation == generation
            && workers.all(|worker| worker.state == WorkerState::Serving)
    };
    let serving = tokio::time::timeout(Duration::from_secs(20), health.wait_for(wanted));
    serving.await.expect("all workers serve in time").unwrap();
}

/// The error of a client that does not start.
pub(crate) async fn refusal(settings: Settings) -> Error {
    match Client::start(settings).await {
        Ok(client) => panic!("it started: {client:?}"),
        Err(error) => error,
    }
}

/// The body of the process that [`Store::parent`] starts.
pub(crate) fn serve_for_ever(folder: &Path) {
    let settings = Store::of_another(folder).settings();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::start(settings).await.unwrap();
        client.generate_gmk("x").await.unwrap();
        fs::write(folder.join("ready"), "").unwrap();
        std::future::pending::<()>().await;
    });
}
