//! `make bench`: what becomes of fetches while something is wrong with the token, and how long it takes
//! until all is well again.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what fails here ends the measurement, which is printed"
)]

use std::time::{Duration, Instant};

use client::{Manager, Provider, v1::StatusRequest};
use comfy_table::{CellAlignment, Table, presets};
use faulty_pkcs11::{Act, Fault};
use hdrhistogram::Histogram;
use softhsm_tests::{
    Site,
    daemon::Daemon,
    fault::answering,
    load::{fetch, put, runtime},
    pair::{Pair, Which},
    until,
};
use tokio::{task::JoinSet, time};

/// So many callers fetch a secret of their own, each once in a pace, whether or not they were answered.
const CALLERS: u32 = 8;
const PACE: Duration = Duration::from_millis(20);

/// How long fetches are measured from the beginning of a fault.
const WINDOW: Duration = Duration::from_secs(3);

/// How long the token is away when it is.
const AWAY: Duration = Duration::from_secs(1);

/// How often custodyd is asked how its workers do.
const LOOK: Duration = Duration::from_millis(10);

/// A hung call is given up after a second.
const SETTINGS: &str = "deadline = \"1s\"\nlongest-wait = \"200ms\"\n";

/// Something that goes wrong.
struct Trouble {
    name: &'static str,
    fault: Option<Fault>,
    lasts: Option<Duration>,
}

impl Trouble {
    /// All of them; first none, to compare with.
    fn all() -> Vec<Self> {
        let once = |name, act| Self {
            name,
            fault: Some(Fault {
                function: "C_Decrypt".to_owned(),
                times: Some(1),
                act: Some(act),
                ..Fault::default()
            }),
            lasts: None,
        };
        vec![
            Self {
                name: "nothing",
                fault: None,
                lasts: None,
            },
            once("a session is closed", Act::CloseSession),
            once("all sessions are closed", Act::CloseAllSessions),
            once("the user is logged out", Act::LogOut),
            Self {
                name: "CKR_DEVICE_REMOVED once",
                fault: Some(Fault {
                    times: Some(1),
                    ..answering("C_Decrypt", "CKR_DEVICE_REMOVED")
                }),
                lasts: None,
            },
            once("the library crashes", Act::Segfault),
            once("a call hangs", Act::Hang),
            Self {
                name: "the token is away for 1 s",
                fault: Some(answering("*", "CKR_DEVICE_REMOVED")),
                lasts: Some(AWAY),
            },
        ]
    }
}

/// One fetch.
#[derive(Clone, Copy)]
struct Call {
    /// When it was due: a caller that is held up is late for its next ones.
    due: Instant,
    end: Instant,
    is_good: bool,
}

/// What became of a trouble.
struct Outcome {
    latencies: Histogram<u64>,
    errors: usize,
    first_success: Option<Duration>,
    /// `None` if no worker was seen that did not serve.
    all_serve: Option<Duration>,
}

/// A daemon in one of its arrangements, and the token that gets into trouble.
struct Scene<'a> {
    site: &'a Site,
    misbehave: &'a dyn Fn(Option<Fault>),
}

fn main() {
    println!(
        "{CALLERS} callers, a fetch each every {} ms; {} s from the beginning of each fault; \
         deadline 1 s, longest-wait 200 ms",
        PACE.as_millis(),
        WINDOW.as_secs(),
    );
    let site = Site::faulty(&format!("workers = 2\n{SETTINGS}"));
    let misbehave = |fault: Option<Fault>| match fault {
        Some(fault) => site.fault(fault),
        None => site.mend(),
    };
    let scene = Scene {
        site: &site,
        misbehave: &misbehave,
    };
    scene.play("one token with two workers");
    let pair = Pair::new(SETTINGS);
    let misbehave = |fault: Option<Fault>| match fault {
        Some(fault) => pair.fault(Which::First, fault),
        None => pair.mend(Which::First),
    };
    let scene = Scene {
        site: &pair.site,
        misbehave: &misbehave,
    };
    scene.play("two tokens with a worker each, one of them in trouble");
}

impl Scene<'_> {
    /// Prints what becomes of each trouble.
    fn play(&self, title: &str) {
        let daemon = self.site.start();
        self.site.furnish(b"content");
        let rows = runtime().block_on(async {
            let manager = self.site.manager().await;
            for caller in 0..CALLERS {
                put(&manager, &own(caller), b"content").await.unwrap();
            }
            let mut rows = Vec::new();
            for trouble in Trouble::all() {
                rows.push((trouble.name, self.measure(&trouble, &manager).await));
                (self.misbehave)(None);
                self.settle(&daemon, &manager).await;
            }
            rows
        });
        daemon.stop();
        println!("{title}\n{}", table(&rows));
    }

    async fn measure(&self, trouble: &Trouble, manager: &Manager) -> Outcome {
        let mut callers = JoinSet::new();
        let start = Instant::now();
        if let Some(fault) = &trouble.fault {
            (self.misbehave)(Some(fault.clone()));
        }
        for caller in 0..CALLERS {
            let provider = self.site.provider().await;
            callers.spawn(call(provider, own(caller), start));
        }
        let mend = async {
            if let Some(lasts) = trouble.lasts {
                time::sleep_until((start + lasts).into()).await;
                (self.misbehave)(None);
            }
        };
        let (all_serve, calls, ()) = tokio::join!(watch(manager, start), callers.join_all(), mend);
        let calls = calls.into_iter().flatten();
        Outcome::of(&calls.collect::<Vec<_>>(), start, all_serve)
    }

    /// Waits until the next trouble finds all well.
    async fn settle(&self, daemon: &Daemon<'_>, manager: &Manager) {
        while !all_serve(manager).await {
            time::sleep(LOOK).await;
        }
        until("as many workers as are wanted", || {
            (daemon.workers().len() == 2).then_some(())
        });
    }
}

fn own(caller: u32) -> String {
    format!("own-{caller}")
}

/// Fetches at its pace until the window is over.
async fn call(provider: Provider, name: String, start: Instant) -> Vec<Call> {
    let mut pace = time::interval(PACE);
    let mut calls = Vec::new();
    loop {
        let due = pace.tick().await.into_std();
        if due >= start + WINDOW {
            return calls;
        }
        let is_good = fetch(&provider, &name).await.is_ok();
        calls.push(Call {
            due,
            end: Instant::now(),
            is_good,
        });
    }
}

/// When a worker was last seen that did not serve.
async fn watch(manager: &Manager, start: Instant) -> Option<Duration> {
    let mut amiss = None;
    while start.elapsed() < WINDOW {
        if !all_serve(manager).await {
            amiss = Some(start.elapsed());
        }
        time::sleep(LOOK).await;
    }
    amiss
}

async fn all_serve(manager: &Manager) -> bool {
    let status = manager.status(StatusRequest {}).await.unwrap();
    let mut tokens = status.token.iter().chain(&status.other_tokens);
    tokens.all(|token| {
        let mut workers = token.workers.iter();
        token.state == "serving" && workers.all(|worker| worker.state == "serving")
    })
}

impl Outcome {
    fn of(calls: &[Call], start: Instant, all_serve: Option<Duration>) -> Self {
        let mut latencies = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
        for call in calls {
            let micros = (call.end - call.due).as_micros();
            latencies.saturating_record(u64::try_from(micros).unwrap());
        }
        let good = calls.iter().filter(|call| call.is_good);
        Self {
            latencies,
            errors: calls.iter().filter(|call| !call.is_good).count(),
            first_success: good.map(|call| call.end - start).min(),
            all_serve,
        }
    }
}

fn table(rows: &[(&str, Outcome)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "",
        "fetches",
        "errors",
        "p50 ms",
        "p99 ms",
        "max ms",
        "first success ms",
        "all workers serve ms",
    ]);
    let millis = |time: Option<Duration>| {
        time.map_or("–".to_owned(), |time| {
            format!("{:.0}", time.as_secs_f64() * 1e3)
        })
    };
    for (name, outcome) in rows {
        let latency =
            |micros: u64| format!("{:.1}", Duration::from_micros(micros).as_secs_f64() * 1e3);
        let latencies = &outcome.latencies;
        table.add_row([
            (*name).to_owned(),
            latencies.len().to_string(),
            outcome.errors.to_string(),
            latency(latencies.value_at_quantile(0.5)),
            latency(latencies.value_at_quantile(0.99)),
            latency(latencies.max()),
            millis(outcome.first_success),
            millis(outcome.all_serve),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
