//! Threads that hardly get to run, so that what overtakes them seldom does so always.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::text;

/// Threads that share one processor with work that goes before theirs, until this is dropped.
#[derive(Debug)]
pub struct Starved {
    is_over: Arc<AtomicBool>,
    work: Option<JoinHandle<()>>,
}

impl Starved {
    /// Starves those threads of `process` that are called `name`.
    pub fn of(process: Pid, name: &str) -> Self {
        let own = sched_getaffinity(Pid::from_raw(0)).expect("processors");
        let may = |cpu: &usize| own.is_set(*cpu).expect("in range");
        let cpu = (0..CpuSet::count()).find(may).expect("a processor");
        let mut one = CpuSet::new();
        one.set(cpu).expect("in range");
        let mut count = 0;
        for task in fs::read_dir(format!("/proc/{process}/task")).expect("threads") {
            let task = task.expect("a thread");
            let called = fs::read_to_string(task.path().join("comm")).expect("its name");
            if called.trim_end() == name {
                let id = task.file_name().into_string().expect("a number");
                let output = Command::new("chrt")
                    .args(["--idle", "--pid", "0", &id])
                    .output()
                    .expect("chrt runs");
                assert!(output.status.success(), "{}", text(&output));
                let id = Pid::from_raw(id.parse().expect("a number"));
                sched_setaffinity(id, &one).expect("one processor");
                count += 1;
            }
        }
        assert!(count > 0, "there is no thread called {name}");
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let work = thread::spawn(move || {
            sched_setaffinity(Pid::from_raw(0), &one).expect("one processor");
            while !until.load(Ordering::Relaxed) {}
        });
        Self {
            is_over,
            work: Some(work),
        }
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(work) = self.work.take() {
            drop(work.join());
        }
    }
}
