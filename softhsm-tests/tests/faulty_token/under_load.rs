//! Faults that strike while callers fetch and write: each answer is right or says to try later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use faulty_pkcs11::{Act, Fault};
use softhsm_tests::{
    Site,
    fault::answering,
    kind::Kind,
    load::{fetch, put, rounds, runtime},
    text, until,
};
use tokio::task::JoinSet;

use super::{CONTENT, all_is_well, site};

/// Callers that fetch and write as long as they are let, and count what they got.
struct Callers {
    site: Arc<Site>,
    right: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    runtime: tokio::runtime::Runtime,
    tasks: JoinSet<()>,
}

impl Callers {
    /// Each answer is right or says to try later.
    fn begin(site: &Arc<Site>, count: usize) -> Self {
        let mut callers = Self {
            site: Arc::clone(site),
            right: Arc::default(),
            stop: Arc::default(),
            runtime: runtime(),
            tasks: JoinSet::new(),
        };
        for caller in 0..count {
            let (name, own) = (format!("own-{caller}"), format!("content of {caller}: "));
            let output = site.put(&format!("web/{name}"), own.as_bytes());
            assert!(output.status.success(), "{}", text(&output));
            let (right, stop) = (Arc::clone(&callers.right), Arc::clone(&callers.stop));
            let site = Arc::clone(&callers.site);
            callers.tasks.spawn_on(
                async move {
                    let (provider, manager) = (site.provider().await, site.manager().await);
                    for round in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        match fetch(&provider, &name).await {
                            Ok((content, _)) => {
                                assert!(content.starts_with(own.as_bytes()), "another's");
                                right.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(client::Error::Unavailable(_)) => {}
                            Err(other) => panic!("{other:?}"),
                        }
                        let next = format!("{own}{round}");
                        match put(&manager, &name, next.as_bytes()).await {
                            Ok(_) | Err(client::Error::Unavailable(_)) => {}
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                },
                callers.runtime.handle(),
            );
        }
        callers
    }

    fn are_served(&self) {
        let before = self.right.load(Ordering::Relaxed);
        until("callers are served", || {
            (self.right.load(Ordering::Relaxed) > before + 20).then_some(())
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.runtime.block_on(self.tasks.join_all());
    }
}

/// Has `fault` strike under load, `times` times anew; then all is well.
fn strikes_under_load(fault: &Fault, times: usize) {
    let site = Arc::new(site());
    let daemon = site.start();
    site.furnish(CONTENT);
    let callers = Callers::begin(&site, 4);
    for _ in 0..times {
        callers.are_served();
        site.fault(fault.clone());
        until("it strikes", || {
            (site.counts().strikes(0) > 0).then_some(())
        });
        thread::sleep(Duration::from_millis(100));
        site.mend();
        callers.are_served();
    }
    callers.end();
    all_is_well(&site, daemon);
}

#[test]
fn a_token_that_fails_now_and_then_gives_no_wrong_answer() {
    for function in ["C_Decrypt", &format!("{}Init", Kind::proves())] {
        let fault = Fault {
            share: Some(0.2),
            ..answering(function, "CKR_DEVICE_ERROR")
        };
        strikes_under_load(&fault, rounds(1));
    }
}

#[test]
fn a_login_that_is_lost_costs_nothing_but_retries() {
    let fault = Fault {
        function: "C_DecryptInit".to_owned(),
        act: Some(Act::LogOut),
        times: Some(1),
        ..Fault::default()
    };
    strikes_under_load(&fault, rounds(2));
}

#[test]
fn a_session_that_dies_costs_nothing_but_retries() {
    let fault = Fault {
        function: "C_DecryptInit".to_owned(),
        act: Some(Act::CloseSession),
        times: Some(2),
        ..Fault::default()
    };
    strikes_under_load(&fault, rounds(3));
}

#[test]
fn sessions_that_all_die_cost_nothing_but_retries() {
    let fault = Fault {
        function: Kind::proves().to_owned(),
        act: Some(Act::CloseAllSessions),
        times: Some(1),
        ..Fault::default()
    };
    strikes_under_load(&fault, rounds(2));
}

#[test]
fn a_module_that_crashes_or_hangs_costs_nothing_but_retries() {
    for act in [Act::Segfault, Act::Abort, Act::Exit, Act::Hang] {
        let fault = Fault {
            function: "C_Decrypt".to_owned(),
            act: Some(act),
            times: Some(1),
            ..Fault::default()
        };
        strikes_under_load(&fault, 1);
    }
}
