//! Clients of more than one process or connection, and what they tell.

use std::{
    fs,
    io::{BufReader, Write as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Site, command, daemon::Daemon, line, until};

/// A running `door-intruder`. Killed when dropped; what it leaves behind ends with its
/// input or with the connection that it was given.
#[derive(Debug)]
pub struct Intruder {
    child: Child,
    told: BufReader<ChildStdout>,
}

impl Intruder {
    /// Runs `door-intruder` with `arguments`.
    pub fn run(arguments: &[&str]) -> Self {
        Self::run_as(Command::new(command("door-intruder")).args(arguments))
    }

    /// Runs a command that is `door-intruder` in the end.
    pub fn run_as(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("door-intruder runs");
        let told = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, told }
    }

    /// The next line that it, or a child that it left behind, prints.
    pub fn tells(&mut self) -> Value {
        serde_json::from_str(&line(&mut self.told)).expect("a line of JSON")
    }

    /// Has it go on.
    pub fn act(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"\n").expect("it listens");
    }

    /// Waits until it executes the program of this name.
    pub fn becomes(&self, program: &str) {
        let name = format!("/proc/{}/comm", self.child.id());
        until("it executes another program", || {
            let name = fs::read_to_string(&name).expect("it lives");
            (name.trim_end() == program).then_some(())
        });
    }

    /// Kills it; whoever it has started lives on.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
    }

    /// Waits for it to end by itself; whoever it has started lives on.
    pub fn ends(&mut self) {
        until("it ends", || self.child.try_wait().expect("it is ours"));
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Daemon<'_> {
    /// Stops it where it is, and waits until none of its threads runs: the one that hears
    /// of it first tells the others.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        until("all its threads stand still", || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?;
            let mut states = threads.map(|thread| {
                let path = thread.expect("it runs").path().join("status");
                fs::read_to_string(path).unwrap_or_default()
            });
            let all = states.all(|status| status.contains("State:\tT"));
            all.then_some(())
        });
    }

    /// Has it go on after a pause.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid());
        fs::read_dir(folder).expect("it runs").count()
    }

    /// How many of them are pidfds. Each connection has one; nobody is connected as long
    /// as there are no more than at the start.
    pub fn pidfds(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid());
        let open = fs::read_dir(folder).expect("it runs");
        open.filter(|entry| {
            let link = fs::read_link(entry.as_ref().expect("it runs").path());
            link.is_ok_and(|link| link.to_string_lossy().contains("pidfd"))
        })
        .count()
    }

    /// How many descriptors are open once there are no more pidfds than `at_start`.
    pub fn descriptors_at_rest(&self, at_start: usize) -> usize {
        until("nobody is connected", || {
            (self.pidfds() <= at_start).then(|| self.descriptors())
        })
    }
}

impl Site {
    /// The manager surface's socket, as an argument.
    pub fn manager_socket(&self) -> String {
        self.path("run/manager.sock").display().to_string()
    }
}
