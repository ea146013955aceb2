//! Clients that are not what they seem, and places to put them.

use std::{
    fs,
    io::{BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::Value;

use crate::{Site, command, daemon::Daemon, line, text, until};

/// The user that owns nothing.
pub const NOBODY: u32 = 65534;

/// A user, and a group, whom nobody knows, but for `machine` as "stranger".
pub const STRANGER: u32 = 1234;

impl Site {
    /// One of our commands at a path of this site, where every user reaches it.
    pub fn installed(&self, name: &str, as_name: &str) -> PathBuf {
        let path = self.path(as_name);
        // Another process writes it: one of ours that is being forked would keep it
        // open, and a file that is open for writing is not executed.
        let status = Command::new("cp").arg(command(name)).arg(&path).status();
        assert!(status.expect("cp runs").success());
        path
    }

    /// Builds a library that a program can be made to load; `source` is one in `preload/`.
    pub fn preload(&self, source: &str) -> PathBuf {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/preload");
        let library = self.path(&format!("{source}.so"));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(sources.join(source))
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("cc runs");
        assert!(built.status.success(), "{}", text(&built));
        library
    }

    /// The socket of the provider surface, as an argument.
    pub fn provider_socket(&self) -> String {
        self.path("run/provider.sock").display().to_string()
    }

    /// Lends a connection to a child of the process that made it, which asks for
    /// `web/key`: see `peer-intruder`.
    pub fn lend(&self, when: &str, deed: &str) -> Lender {
        Lender::run(self.lender(when, deed))
    }

    /// The command that [`Site::lend`] runs.
    pub fn lender(&self, when: &str, deed: &str) -> Command {
        let mut lender = Command::new(command("peer-intruder"));
        lender.args(["lend", when, deed, &self.provider_socket(), "web", "key"]);
        lender
    }
}

impl Lender {
    /// Runs the command of a lender.
    pub fn run(mut lender: Command) -> Self {
        let child = lender
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("peer-intruder runs");
        Self(child)
    }
}

/// What the JSON of `client`, a `peer-intruder`, says that is traced from before it connects.
pub fn told_traced(site: &Site, client: &Command) -> Value {
    let pipe = site.path("traced");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    // What is traced becomes the client once the tracer is there.
    let traced = Command::new("sh")
        .args(["-c", "read -r line <\"$0\"; exec \"$@\""])
        .arg(&pipe)
        .arg(client.get_program())
        .args(client.get_args())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let mut tracer = trace(traced.id());
    fs::write(&pipe, "\n").expect("it listens");
    let output = traced.wait_with_output().expect("it ends");
    tracer.wait().expect("it ends");
    fs::remove_file(&pipe).expect("a pipe");
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

/// Has a process traced until it ends, by a process that then ends, too.
pub fn trace(process: u32) -> Child {
    let tracer = Command::new(command("peer-intruder"))
        .args(["trace", &process.to_string()])
        .spawn()
        .expect("peer-intruder runs");
    let status = format!("/proc/{process}/status");
    until("it is traced", || {
        let status = fs::read_to_string(&status).expect("it lives");
        let line = format!("TracerPid:\t{}\n", tracer.id());
        status.contains(&line).then_some(())
    });
    tracer
}

/// What the JSON of `peer-intruder` says.
pub fn told(command: &mut Command) -> Value {
    let output = command.output().expect("the command runs");
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

/// A process that has lent its connection.
#[derive(Debug)]
pub struct Lender(Child);

impl Lender {
    /// Has it do its deed.
    pub fn act(&mut self) {
        let stdin = self.0.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"\n").expect("it listens");
    }

    /// Kills it; who borrows its connection lives on.
    pub fn kill(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it ends");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The file that it executes.
    pub fn exe(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/exe", self.0.id())).unwrap_or_default()
    }

    /// What the borrower of its connection was answered; then both are gone.
    pub fn answer(mut self) -> Value {
        let stdout = self.0.stdout.take().expect("a pipe");
        let line = line(&mut BufReader::new(stdout));
        // At the end of its input it ends, if it has not yet.
        drop(self.0.stdin.take());
        self.0.wait().expect("it ends");
        serde_json::from_str(&line).expect("a line of JSON")
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A slice of control groups of its own, removed when dropped.
#[derive(Debug)]
pub struct Slice(PathBuf);

impl Site {
    /// `custodyd run` with a unified hierarchy of control groups to look at, on a mount
    /// that nobody else sees. Needs root.
    pub fn with_cgroups(&self) -> Command {
        fs::create_dir(self.path("cgroup")).expect("a folder");
        let daemon = self.custodyd("run");
        let mut command = Command::new("unshare");
        let script = "mount -t cgroup2 none \"$0\" && exec \"$@\"";
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg(self.path("cgroup"))
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null());
        command
    }

    /// A slice beside those of this machine, seen through the mount of `daemon`, which
    /// [`Site::with_cgroups`] must have started.
    pub fn slice(&self, daemon: &Daemon<'_>) -> Slice {
        let mount = self.path("cgroup");
        let mount = mount.strip_prefix("/").expect("absolute");
        let root = PathBuf::from(format!("/proc/{}/root", daemon.pid())).join(mount);
        let name = self.folder().file_name().expect("a name").to_string_lossy();
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let path = root.join(format!("{name}.slice"));
        fs::create_dir(&path).expect("a control group");
        Slice(path)
    }
}

impl Slice {
    /// Runs `command` in the control group at `path` below this slice.
    pub fn run(&self, path: &str, command: &Command) -> Command {
        let group = self.0.join(path);
        fs::create_dir_all(&group).expect("a control group");
        within(&group, command)
    }
}

impl Slice {
    /// Moves a process into the control group at `path` below this slice.
    pub fn take(&self, path: &str, pid: u32) {
        let group = self.0.join(path);
        fs::create_dir_all(&group).expect("a control group");
        fs::write(group.join("cgroup.procs"), pid.to_string()).expect("it moves");
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Runs `command` in a control group.
pub(crate) fn within(group: &Path, command: &Command) -> Command {
    let mut inside = Command::new("sh");
    inside
        .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""])
        .arg(group)
        .arg(command.get_program())
        .args(command.get_args());
    inside
}

fn remove(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.path().is_dir()) {
        remove(&entry.path());
    }
    // What has just ended may still be counted.
    until("a control group is empty", || fs::remove_dir(group).ok());
}
