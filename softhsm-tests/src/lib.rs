//! What the tests share: a fresh token, a real daemon on temporary paths, clients for it.
//!
//! The daemon under test is the binary that `cargo build` makes; `make test` builds it
//! first.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "what fails here fails a test, which says so"
)]

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::{
        fd::AsFd as _,
        unix::{fs::PermissionsExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::getuid,
};
use tempfile::TempDir;

pub use crate::skip::is_root;
use crate::{daemon::Daemon, kind::Kind, opencryptoki::OpenCryptoki, tpm::Tpm};

pub mod daemon;
pub mod disk;
pub mod door;
pub mod fault;
pub mod intruder;
pub mod kind;
pub mod load;
pub mod machine;
pub mod many;
pub mod memory;
pub mod metrics;
mod opencryptoki;
pub mod pair;
pub mod pki;
pub mod raw;
pub mod refusal;
pub mod skip;
pub mod starve;
pub mod terms;
pub mod token;
pub mod tool;
mod tpm;
pub mod verdict;
pub mod wire;
pub mod world;

/// The user PIN of every test token.
pub const PIN: &str = "1234abcd";

/// The label of every test token.
pub const LABEL: &str = "test";

/// The module that configurations name: SoftHSM's, or another that the environment names.
pub fn module() -> PathBuf {
    Kind::chosen().configured(vendors_module())
}

/// The same with nothing before it.
pub(crate) fn vendors_module() -> PathBuf {
    env::var_os("TEST_PKCS11_MODULE").map_or_else(|| Kind::chosen().module(), PathBuf::from)
}

/// One of the commands that `cargo build` made, by name.
pub fn command(name: &str) -> PathBuf {
    let own = env::current_exe().expect("a test has a path");
    let path = own
        .ancestors()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{name} is not built: run `cargo build` first, or `make test`"))
}

/// A token of its own, SoftHSM's unless another kind is asked for, and everything a daemon needs beside it. Removed when
/// dropped.
#[derive(Debug)]
pub struct Site {
    /// Ended before the folder is removed.
    tpm: Option<Tpm>,
    opencryptoki: Option<OpenCryptoki>,
    folder: TempDir,
    /// Serial number of the token.
    pub serial: String,
}

impl Site {
    /// Makes a token and a configuration, and sets the installation up.
    pub fn new() -> Self {
        let site = Self::without_init();
        let output = site.init().output().expect("custodyd runs");
        assert!(output.status.success(), "init: {}", text(&output));
        site
    }

    /// `custodyd init`, yet to be run, which gives every role to whoever runs the test.
    pub fn init(&self) -> Command {
        let mut init = self.custodyd("init");
        let selector = format!("unix:uid:{}", getuid());
        init.args(["--crypto-officer", &selector]);
        for role in ["group-administrator", "writer", "reader", "auditor"] {
            init.arg("--appoint").arg(format!("{role}={selector}"));
        }
        init
    }

    /// Makes a token and a configuration.
    pub fn without_init() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("custodyd-test-")
            .tempdir()
            .unwrap();
        // Other users' clients must reach the sockets; what is secret is in `state`.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut site = Self {
            tpm: None,
            opencryptoki: None,
            serial: String::new(),
            folder,
        };
        fs::create_dir(site.path("run")).unwrap();
        site.configure_tokens();
        site.write_pin(PIN);
        site.serial = site.init_token(LABEL);
        site.configure("");
        site
    }

    /// Writes the PIN's file.
    pub fn write_pin(&self, pin: &str) {
        fs::write(self.path("pin"), pin).unwrap();
        fs::set_permissions(self.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the configuration, with `more` at its end. Unless that says otherwise, no
    /// limit gets in the way of many callers on a slow machine.
    pub fn configure(&self, more: &str) {
        self.configure_module(&module(), &self.environment_table(), more);
    }

    pub(crate) fn configure_module(&self, module: &Path, environment: &str, more: &str) {
        let token = self.token_table(LABEL, &self.serial, module, environment);
        self.write_configuration(&format!("[token]\n{token}"), more);
    }

    /// The settings of a token, without a header and what a test has of its own.
    pub(crate) fn token_table(
        &self,
        label: &str,
        serial: &str,
        module: &Path,
        environment: &str,
    ) -> String {
        format!(
            "module = {module:?}\nlabel = {label:?}\nserial = {serial:?}\n\
             pin = {{ file = {:?} }}\nenvironment = {{ {environment} }}\n",
            self.path("pin")
        )
    }

    /// Writes the configuration with `tokens`, which ends in a table of a token, and `more`.
    pub(crate) fn write_configuration(&self, tokens: &str, more: &str) {
        let limits = if more.contains("[limits]") {
            ""
        } else {
            "[limits]\nconnections-per-uid = 1024\nhandshake = \"1m\"\n\
             requests-per-second = 1000000\nburst = 1000000\n"
        };
        let settings = Kind::settings_unless(more);
        let more = Kind::patient(more);
        let text = format!(
            "state-directory = {:?}\n\
             [listen]\nmanager = {:?}\nprovider = {:?}\n\
             {tokens}{settings}{more}\n{limits}",
            self.path("state"),
            self.path("run/manager.sock"),
            self.path("run/provider.sock"),
        );
        fs::write(self.path("custodyd.toml"), text).unwrap();
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.path("custodyd.toml"), mode).unwrap();
    }

    /// A path below the site's folder: "state/custody.db", "state/journal",
    /// "state/journal.pub", "run/manager.sock", "run/provider.sock", "log".
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// `custodyd COMMAND CONFIGURATION`, yet to be run.
    pub fn custodyd(&self, sub_command: &str) -> Command {
        self.enter();
        let mut daemon = Command::new(command("custodyd"));
        daemon
            .arg(sub_command)
            .arg(self.path("custodyd.toml"))
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null());
        daemon
    }

    /// `custodyctl`, pointed at this site, yet to be given arguments and run.
    pub fn custodyctl(&self) -> Command {
        self.enter();
        let mut client = Command::new(command("custodyctl"));
        client
            .env("CUSTODY_MANAGER", self.path("run/manager.sock"))
            .env("CUSTODY_PROVIDER", self.path("run/provider.sock"))
            .stdin(Stdio::null());
        client
    }

    /// Starts the daemon and waits until it serves.
    pub fn start(&self) -> Daemon<'_> {
        self.start_as(self.custodyd("run"))
    }

    /// Starts the daemon by another command line and waits until it serves.
    pub fn start_as(&self, command: Command) -> Daemon<'_> {
        self.start_within(PATIENCE, command)
    }

    /// Starts the daemon, which may take so long until it serves.
    pub fn start_within(&self, patience: Duration, command: Command) -> Daemon<'_> {
        let mut daemon = self.launch(command);
        until_within(patience, "the daemon serves", || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended ({status}):\n{}", self.log());
            }
            let serving = self.log().matches("serving").count() > daemon.served_before;
            serving.then_some(())
        });
        daemon
    }

    /// Starts the daemon by another command line, and does not wait until it serves.
    pub fn launch(&self, mut command: Command) -> Daemon<'_> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let served_before = self.log().matches("serving").count();
        let child = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // its own group, so that nothing of it is left behind
            .process_group(0)
            .spawn()
            .expect("custodyd starts");
        Daemon {
            site: self,
            child,
            served_before,
        }
    }

    /// What the daemons of this site have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The journal's lines, parsed.
    pub fn journal(&self) -> Vec<serde_json::Value> {
        let lines = self.journal_text();
        let lines = lines.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// The journal's lines, oldest first, without one that is being written.
    pub fn journal_text(&self) -> String {
        let mut segments: Vec<_> = fs::read_dir(self.path("state/journal"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        segments.sort();
        let mut all = String::new();
        for segment in segments {
            let text = fs::read_to_string(segment).unwrap();
            let whole = text.rfind('\n').map_or(0, |at| at + 1);
            all.push_str(&text[..whole]);
        }
        all
    }

    /// The entries of one kind.
    pub fn entries(&self, kind: &str) -> Vec<serde_json::Value> {
        let mut entries = self.journal();
        entries.retain(|entry| entry["kind"] == kind);
        entries
    }

    /// Verifies the journal with the journal key's public half, by the command.
    pub fn verify_journal(&self) -> Output {
        self.custodyctl()
            .args(["journal", "verify"])
            .arg(self.path("state/journal"))
            .arg("--public-key")
            .arg(self.path("state/journal.pub"))
            .output()
            .expect("custodyctl runs")
    }

    /// Runs SQL on the database with the `sqlite3` command, as an intruder would.
    pub fn sqlite(&self, sql: &str) -> String {
        let output = Command::new("sqlite3")
            .arg(self.path("state/custody.db"))
            .arg(sql)
            .output()
            .expect("sqlite3 runs");
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The folder everything is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` sees something.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look)
}

fn until_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "it does not happen that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The next line that a process prints, which may have waited for something itself; empty
/// if it has ended.
pub fn line(from: &mut BufReader<ChildStdout>) -> String {
    let end = Instant::now() + 2 * PATIENCE;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        if from.buffer().is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).expect("it is short");
            let mut fds = [PollFd::new(from.get_ref().as_fd(), PollFlags::POLLIN)];
            let spoke = poll(&mut fds, left).expect("a pipe");
            assert_eq!(spoke, 1, "nothing is printed");
        }
        let printed = from.fill_buf().expect("a pipe");
        if printed.is_empty() {
            break;
        }
        let whole = printed.iter().position(|byte| *byte == b'\n');
        let taken = whole.map_or(printed.len(), |at| at + 1);
        line.extend(&printed[..taken]);
        from.consume(taken);
    }
    String::from_utf8(line).expect("text")
}

/// Everything a command printed.
pub fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}
