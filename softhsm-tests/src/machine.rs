//! A systemd of its own to run units in.
#![allow(
    clippy::print_stderr,
    reason = "a test that is skipped, or fails, says why"
)]

use std::{
    fs,
    io::BufReader,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use serde_json::Value;

use crate::{
    Site, command,
    intruder::within,
    is_root, line,
    skip::skip,
    text, until,
    verdict::{CONTENT, granting},
};

/// A booted systemd, with namespaces and control groups of its own, on the files of this
/// machine. It cannot change these, but for the site's folder; what it writes elsewhere
/// is gone with it, and it is gone when this is dropped.
///
/// `custodyd`, `custodyctl` and `peer-intruder` are in its `/usr/bin`, its own units only
/// those that any machine has.
#[derive(Debug)]
pub struct Machine<'a> {
    site: &'a Site,
    outside: Child,
    init: u32,
}

impl Site {
    /// Boots a systemd for `test`. If it cannot be booted here, it says so.
    pub fn machine(&self, test: &str) -> Option<Machine<'_>> {
        if !is_root(test) {
            return None;
        }
        let log = fs::File::create(self.path("machine.log")).expect("a file");
        let mut outside = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-c"])
            .args([include_str!("machine/outside.sh"), "outside"])
            .arg(include_str!("machine/inside.sh"))
            .arg(self.folder())
            .args(["custodyd", "custodyctl", "peer-intruder"].map(command))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // What interrupts the test must leave it to take the machine away.
            .process_group(0)
            .spawn()
            .expect("unshare runs");
        let stdout = outside.stdout.take().expect("a pipe");
        let line = line(&mut BufReader::new(stdout));
        let machine = Machine {
            site: self,
            outside,
            init: line.trim().parse().unwrap_or(0),
        };
        if machine.is_up() {
            return Some(machine);
        }
        let why = machine.log();
        skip(
            test,
            &format!("a systemd, which cannot be booted here: {why}"),
        );
        None
    }
}

impl Machine<'_> {
    /// Waits until everything it starts has started; `false` if it ends before.
    fn is_up(&self) -> bool {
        until("a machine is up", || {
            if !Path::new(&format!("/proc/{}/exe", self.init)).exists() {
                return Some(false);
            }
            let state = self.systemctl(&["is-system-running"]);
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            assert_ne!(state, "degraded", "{}", self.log());
            (state == "running").then_some(true)
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.site.path("machine.log")).unwrap_or_default()
    }

    /// Process id of its init, as this machine counts.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// A command in its namespaces, but in none of its control groups, yet to be run.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string(), "--root", "--wdns=/"])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"])
            .args(["--", program])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command in it, which must succeed; gives what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output();
        let output = output.expect("nsenter runs");
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            text(&output)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    fn systemctl(&self, arguments: &[&str]) -> Output {
        let output = self.command("systemctl").args(arguments).output();
        output.expect("nsenter runs")
    }

    /// `custodyctl` in it, with `arguments`, which must succeed, for the daemon of its site.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let output = self
            .command("custodyctl")
            .args(arguments)
            .env("CUSTODY_MANAGER", self.site.path("run/manager.sock"))
            .env("CUSTODY_PROVIDER", self.site.path("run/provider.sock"))
            .output()
            .expect("nsenter runs");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    /// A path of its own files, as this machine reaches it. Absolute links on the way lead
    /// astray.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Writes a file, and the folders it is in.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    /// Installs a unit, or installs it anew.
    pub fn unit(&self, name: &str, content: &str) {
        self.write(&format!("/etc/systemd/system/{name}"), content);
        self.run("systemctl", &["daemon-reload"]);
    }

    /// Starts a unit and waits until it has started or, if it is of the kind that ends,
    /// ended. That must succeed.
    pub fn start(&self, unit: &str) {
        let output = self.systemctl(&["start", unit]);
        assert!(
            output.status.success(),
            "{unit}: {}{}",
            text(&output),
            self.log()
        );
    }

    /// A property of a unit, as `systemctl show` has it.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let value = self.run("systemctl", &["show", "--value", "--property", name, unit]);
        value.trim_end().to_owned()
    }

    /// Starts the daemon of its site as `custodyd.service`.
    pub fn daemon(&self) {
        let custodyd = format!(
            "[Service]\nType=notify\nExecStart=/usr/bin/custodyd run {}\nStandardError=append:{}\n",
            self.site.path("custodyd.toml").display(),
            self.site.path("log").display(),
        );
        self.unit("custodyd.service", &custodyd);
        self.start("custodyd.service");
    }

    /// Starts the daemon, and has it hold `web/key`, granted to who satisfies `selectors`.
    pub fn furnish(&self, selectors: &[&str]) {
        self.daemon();
        let content = self.site.path("content");
        fs::write(&content, CONTENT).expect("a file");
        let content = content.to_str().expect("text");
        self.ctl(&["group", "create", "web"]);
        self.ctl(&["secret", "put", "web/key", "--type", "blob", content]);
        self.ctl(&granting(selectors));
    }

    /// Runs `command` in a control group beside that which the machine takes for the root
    /// of all.
    pub fn beside(&self, name: &str, command: &Command) -> Command {
        let folder = self.site.folder();
        let group = folder.file_name().expect("a name").to_string_lossy();
        let group = format!(
            "/proc/{}/root{}/machine/cgroup/{group}/{name}",
            self.outside.id(),
            folder.display()
        );
        fs::create_dir(&group).expect("a control group");
        within(Path::new(&group), command)
    }

    /// Runs the unit `name`, whose only process executes `line`, under the settings
    /// `more`. Gives the line of JSON that it printed.
    pub fn told(&self, name: &str, line: &str, more: &str) -> Value {
        let answer = self.site.path(&format!("answer-of-{name}"));
        let unit = format!(
            "[Service]\nType=oneshot\nExecStart={line}\nStandardOutput=truncate:{}\n\
             StandardError=append:{}\n{more}\n",
            answer.display(),
            self.site.path("machine.log").display(),
        );
        self.unit(name, &unit);
        self.start(name);
        let answer = fs::read(answer).expect("an answer");
        serde_json::from_slice(&answer).expect("a line of JSON")
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the machine's log ---\n{}", self.log());
            eprintln!("--- the daemon's log ---\n{}", self.site.log());
        }
        drop(self.outside.stdin.take());
        let ended = self.outside.wait().expect("it is ours");
        assert!(
            ended.success() || self.init == 0 || thread::panicking(),
            "the machine left something behind: {}",
            self.log()
        );
    }
}
