//! A daemon while it runs.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "what fails here fails a test, which says so"
)]

use std::{
    process::{Child, ExitStatus},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Site, load::children, text, until};

/// A running daemon. Killed when dropped, with its worker.
#[derive(Debug)]
pub struct Daemon<'a> {
    pub(crate) site: &'a Site,
    pub(crate) child: Child,
    pub(crate) served_before: usize,
}

impl Daemon<'_> {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("pids fit"))
    }

    /// Process id of its worker, as soon as there is one.
    pub fn worker(&self) -> Pid {
        self.child_called("hsm-worker")
    }

    /// Process ids of its workers, the one that was started first before the others.
    pub fn workers(&self) -> Vec<Pid> {
        let mut workers = children(self.pid(), "hsm-worker");
        workers.sort_unstable();
        workers
    }

    /// Process id of the process that looks at callers, as soon as there is one.
    pub fn attestor(&self) -> Pid {
        self.child_called("attestor")
    }

    fn child_called(&self, command: &str) -> Pid {
        until(&format!("there is a child called {command}"), || {
            children(self.pid(), command).first().copied()
        })
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Kills it on the spot.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it in an orderly way.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let ended = until("the daemon stops", || self.child.try_wait().unwrap());
        assert!(ended.success(), "{}", self.site.log());
        ended
    }

    /// Stops it in an orderly way after it has been through something: it was started once,
    /// took nothing for tampering, and left a journal that verifies.
    pub fn stop_unharmed(self) {
        let site = self.site;
        self.stop_verified();
        assert_eq!(site.entries("start").len(), 1, "it was started again");
        assert!(site.entries("tampering").is_empty());
        let mut undelivered = site.entries("undelivered");
        undelivered.retain(|entry| entry["reason"]["cause"] == "tampered");
        assert!(undelivered.is_empty(), "{undelivered:?}");
    }

    /// Stops it in an orderly way. It leaves a journal that verifies.
    pub fn stop_verified(self) {
        let site = self.site;
        self.stop();
        let verified = site.verify_journal();
        assert!(verified.status.success(), "{}", text(&verified));
    }

    /// Waits until it ends by itself.
    pub fn ends(&mut self) -> ExitStatus {
        until("the daemon ends", || self.child.try_wait().unwrap())
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if self.is_running() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.site.log());
        }
    }
}
