//! P3 against a process id that is given to another process.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::Value;
use softhsm_tests::{
    Site, intruder::Lender, line, machine::Machine, skip::skip, until, verdict::is_turned_away,
};

/// Where root says which process id comes next.
const LAST_ID: &str = "/proc/sys/kernel/ns_last_pid";

/// A machine whose `web/key` is granted to a unit.
fn furnished<'a>(site: &'a Site, test: &str) -> Option<Machine<'a>> {
    if !Path::new(LAST_ID).exists() {
        skip(test, &format!("a kernel with {LAST_ID}"));
        return None;
    }
    let machine = site.machine(test)?;
    machine.furnish(&["systemd:id:nginx.service"]);
    Some(machine)
}

/// A peer in no unit, which lends its connection; who borrows that asks when told to.
struct Peer {
    lender: Lender,
    pipe: PathBuf,
    /// By our count.
    pid: u32,
    /// By the machine's.
    inside: u32,
}

impl Peer {
    fn connect(site: &Site, machine: &Machine<'_>, hear: &str) -> Self {
        let pipe = site.path("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let mut lender = machine.command("peer-intruder");
        let when = format!("{hear}{}", pipe.display());
        lender.args(["lend", &when, "end", &site.provider_socket(), "web", "key"]);
        let lender = Lender::run(lender);
        let pid = until("it runs", || child_of(lender.pid()));
        until("it has lent its connection", || child_of(pid));
        Self {
            inside: id_inside(pid),
            lender,
            pipe,
            pid,
        }
    }

    /// Ends it, and gives its process id to a process of the granted unit.
    fn succeeded_by_the_granted(&mut self, machine: &Machine<'_>) -> Successor {
        self.lender.act();
        until("it is gone", || {
            let process = format!("/proc/{}", self.pid);
            (!Path::new(&process).exists()).then_some(())
        });
        let successor = Successor::with_id(self.inside, machine);
        let unit = machine.path("/sys/fs/cgroup/system.slice/nginx.service");
        fs::create_dir_all(&unit).unwrap();
        fs::write(unit.join("cgroup.procs"), successor.pid.to_string()).unwrap();
        successor
    }

    /// What its borrower is answered, who asks now.
    fn answer(self) -> Value {
        fs::write(&self.pipe, "").unwrap();
        self.lender.answer()
    }
}

/// A process with the id of another that has ended.
struct Successor {
    shell: Child,
    /// By our count.
    pid: u32,
}

impl Successor {
    fn with_id(id: u32, machine: &Machine<'_>) -> Self {
        // Others in the machine may be given the id first, but they do not keep it.
        let script = "until [ \"$!\" = \"$0\" ]; do \
                          [ -z \"$!\" ] || { kill $!; wait $!; }; \
                          echo $(($0 - 1)) >\"$1\"; sleep infinity & \
                      done; echo; wait";
        let mut shell = Command::new("nsenter")
            .args(["--target", &machine.init().to_string(), "--pid", "--"])
            .args(["sh", "-c", script, &id.to_string(), LAST_ID])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = shell.stdout.take().unwrap();
        assert_eq!(line(&mut BufReader::new(stdout)), "\n");
        let pid = child_of(child_of(shell.id()).unwrap()).unwrap();
        assert_eq!(id_inside(pid), id);
        Self { shell, pid }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

fn child_of(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

/// The id of our process `pid` in the innermost namespace that it is in.
fn id_inside(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let ids = status.lines().find(|line| line.starts_with("NSpid:"));
    let innermost = ids.unwrap().split_ascii_whitespace().next_back();
    innermost.unwrap().parse().unwrap()
}

#[test]
fn a_connection_whose_process_id_now_is_the_granted_unit_s_is_denied() {
    let site = Site::new();
    let test = "a_connection_whose_process_id_now_is_the_granted_unit_s_is_denied";
    let Some(machine) = furnished(&site, test) else {
        return;
    };
    let mut peer = Peer::connect(&site, &machine, "");
    let _successor = peer.succeeded_by_the_granted(&machine);
    // The connection ended with the process that made it; what is sent on it is not read.
    is_turned_away(&peer.answer());
    assert_eq!(site.entries("allow"), [Value::Null; 0]);
    assert_eq!(site.entries("deny"), [Value::Null; 0]);
}

#[test]
fn a_process_id_that_becomes_the_granted_unit_s_before_the_daemon_looks_is_turned_away() {
    let site = Site::new();
    let test =
        "a_process_id_that_becomes_the_granted_unit_s_before_the_daemon_looks_is_turned_away";
    let Some(machine) = furnished(&site, test) else {
        return;
    };
    let daemon = machine.property("custodyd.service", "MainPID");
    machine.run("kill", &["-STOP", &daemon]);
    until("the daemon stands still", || {
        let threads = fs::read_dir(machine.path(&format!("/proc/{daemon}/task"))).unwrap();
        let mut states = threads
            .map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap());
        states
            .all(|status| status.contains("State:\tT"))
            .then_some(())
    });
    let mut peer = Peer::connect(&site, &machine, "unheard:");
    let id = peer.inside;
    let _successor = peer.succeeded_by_the_granted(&machine);
    machine.run("kill", &["-CONT", &daemon]);
    is_turned_away(&peer.answer());
    let doubted = site.is_doubted_as("gone");
    assert_eq!(doubted["pid"], id);
}
