//! P8 recovering, for as long as is wanted: fault after fault, drawn at random, under load. It is
//! not run with the other tests but by `make soak`, for `CUSTODYD_SOAK_SECONDS`.
//!
//! Whatever the token does, each answer is right or says to try later; once it behaves again
//! there is full service within a bound, without a restart; no try of the PIN is wasted, nothing
//! that was acknowledged is lost, and the journal verifies.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]
#![allow(clippy::print_stderr, reason = "what is found is told")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use client::{Error, Manager, Provider};
use faulty_pkcs11::{Act, Code, Delay, Fault, code::CODES};
use softhsm_tests::{
    Site,
    load::{fetch, number, put, random_time, runtime},
    many::limits,
    pair::{Pair, Which},
    until,
};
use tokio::task::JoinSet;

const CALLERS: usize = 6;

/// What is stored before anything goes wrong.
const FIRST: &str = "content";

/// How long it may take until everybody is served again.
const BOUND: Duration = Duration::from_secs(20);

/// So many faults lie between two rotations of the group's master key.
const BETWEEN_ROTATIONS: usize = 25;

/// All that a worker calls but `C_Login`, which a token that answers at random would lock.
const FUNCTIONS: [&str; 19] = [
    "C_Initialize",
    "C_GetSlotList",
    "C_GetTokenInfo",
    "C_OpenSession",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_GetAttributeValue",
    "C_GenerateKey",
    "C_GenerateRandom",
    "C_EncryptInit",
    "C_Encrypt",
    "C_DecryptInit",
    "C_Decrypt",
    "C_SignInit",
    "C_Sign",
    "C_WrapKey",
    "C_DestroyObject",
    "*",
];

const ACTS: [Act; 7] = [
    Act::Hang,
    Act::Abort,
    Act::Segfault,
    Act::Exit,
    Act::LogOut,
    Act::CloseSession,
    Act::CloseAllSessions,
];

fn below(most: usize) -> usize {
    usize::try_from(number() % u64::try_from(most).unwrap()).unwrap()
}

fn one_of<T: Clone>(all: &[T]) -> T {
    all[below(all.len())].clone()
}

fn random_fault() -> Fault {
    let function = one_of(&FUNCTIONS);
    let mut fault = Fault {
        function: function.to_owned(),
        times: [None, Some(1), Some(5)][below(3)],
        share: [None, Some(0.05), Some(0.5)][below(3)],
        ..Fault::default()
    };
    match below(3) {
        // What is told of the PIN is believed.
        0 if function != "*" => {
            let codes = CODES
                .iter()
                .filter(|(name, _)| !name.starts_with("CKR_PIN"));
            let codes: Vec<_> = codes.map(|(_, code)| *code).collect();
            fault.answer = Some(one_of(&codes)).filter(|code: &Code| code.0 != 0);
        }
        1 => fault.act = Some(one_of(&ACTS)),
        _ => fault.delay = Some(Delay::Fixed(50 + number() % 1500)),
    }
    fault
}

/// What callers got.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    right: [AtomicU64; CALLERS],
    later: AtomicU64,
}

/// Writes and fetches one secret without a pause. What is fetched is what was acknowledged last,
/// or what was written after that with an answer that left it open.
async fn call(caller: usize, provider: Provider, manager: Manager, tally: Arc<Tally>) {
    let name = format!("own-{caller}");
    let mut possible = vec![FIRST.to_owned()];
    for round in 0_u64.. {
        let content = format!("content {round} of {caller}");
        match put(&manager, &name, content.as_bytes()).await {
            Ok(_) => possible = vec![content],
            Err(Error::Unavailable(_)) => {
                possible.push(content);
                tally.later.fetch_add(1, Ordering::Relaxed);
            }
            Err(other) => panic!("a put of {name}: {other:?}"),
        }
        match fetch(&provider, &name).await {
            Ok((found, _)) => {
                let found = String::from_utf8(found).unwrap();
                assert!(possible.contains(&found), "{found} is none of {possible:?}");
                tally.right[caller].fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Unavailable(_)) => {
                tally.later.fetch_add(1, Ordering::Relaxed);
            }
            Err(other) => panic!("a fetch of {name}: {other:?}"),
        }
        if tally.stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Waits until each caller was served since now. Says how long that took.
async fn all_are_served(tally: &Tally, callers: &mut JoinSet<()>, what: &str) -> Duration {
    let counts = || {
        tally
            .right
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed))
    };
    let (start, before) = (Instant::now(), counts());
    while counts()
        .iter()
        .zip(before)
        .any(|(now, before)| *now == before)
    {
        if let Some(ended) = callers.try_join_next() {
            ended.unwrap();
        }
        assert!(
            start.elapsed() < BOUND,
            "no full service after {what}: {before:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

async fn rotate(manager: &Manager) {
    let request = client::v1::RotateGroupRequest {
        group: "web".into(),
        ..Default::default()
    };
    match manager.rotate_group(request).await {
        Ok(_) | Err(Error::Unavailable(_)) => {}
        Err(other) => panic!("a rotation: {other:?}"),
    }
}

/// How long it is to go on.
fn seconds() -> Duration {
    let seconds = std::env::var("CUSTODYD_SOAK_SECONDS");
    let seconds = seconds.map_or(60, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

/// Has callers write and fetch without a pause, while fault after fault is drawn at random: `fault`
/// has a token misbehave, and `mend` has all behave again.
fn soak(site: &Site, fault: impl Fn(Fault), mend: impl Fn()) {
    let end = Instant::now() + seconds();
    let tally = Arc::new(Tally::default());
    let mut times = Vec::new();
    runtime().block_on(async {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (provider, manager) = (site.provider().await, site.manager().await);
            // There is something to fetch from the beginning.
            let name = format!("own-{caller}");
            put(&manager, &name, FIRST.as_bytes()).await.unwrap();
            callers.spawn(call(caller, provider, manager, Arc::clone(&tally)));
        }
        let manager = site.manager().await;
        while Instant::now() < end {
            let random = random_fault();
            let what = format!("fault {}: {random:?}", times.len());
            fault(random);
            tokio::time::sleep(random_time(50, 800)).await;
            if times.len() % BETWEEN_ROTATIONS == 0 {
                rotate(&manager).await;
            }
            mend();
            times.push(all_are_served(&tally, &mut callers, &what).await);
        }
        tally.stop.store(true, Ordering::Relaxed);
        callers.join_all().await;
    });
    times.sort_unstable();
    let right: u64 = tally
        .right
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .sum();
    let part = |percent: usize| times[(times.len() - 1) * percent / 100];
    eprintln!(
        "{} faults: {right} fetches were right, {} requests were told to come later; until all \
         were served again: half within {:?}, 99 % within {:?}, all within {:?}",
        times.len(),
        tally.later.load(Ordering::Relaxed),
        part(50),
        part(99),
        part(100),
    );
    assert!(!site.log().contains("refused the PIN"));
    assert!(!site.path("state/pin-refused").exists());
}

/// A worker that hangs while it starts is given up after `start-deadline`, which is within [`BOUND`].
const QUICK: &str =
    "workers = 2\ndeadline = \"1s\"\nstart-deadline = \"5s\"\nlongest-wait = \"200ms\"\n";

#[test]
#[ignore = "it goes on for as long as is wanted: make soak"]
fn whatever_the_token_does_for_however_long() {
    let site = Site::faulty(QUICK);
    let daemon = site.start();
    site.furnish(b"content");
    soak(&site, |fault| site.fault(fault), || site.mend());
    until("both workers are there", || {
        (daemon.workers().len() == 2).then_some(())
    });
    daemon.stop_unharmed();
}

#[test]
#[ignore = "it goes on for as long as is wanted: make soak"]
fn whatever_one_of_two_tokens_does_for_however_long() {
    // What is missing at the end is had in a time that is of the order of the soak's.
    let pair = Pair::new(&format!("{QUICK}{}", limits(100)));
    let daemon = pair.site.start();
    pair.site.furnish(b"content");
    let hold = ["group", "hold", "web", "--writes=any-then-repair"];
    pair.site.ctl(&hold);
    soak(
        &pair.site,
        |fault| pair.fault(one_of(&[Which::First, Which::Second]), fault),
        || {
            pair.mend(Which::First);
            pair.mend(Which::Second);
        },
    );
    // What one of them missed it gets, as fast as it may.
    let lacks = || {
        let group = pair.site.ctl_json(&["group", "show", "web"]);
        let holders = group["holders"].as_array().unwrap().iter();
        holders
            .map(|holder| holder["lacks"].as_u64().unwrap())
            .sum()
    };
    let mut left: u64 = lacks();
    eprintln!("{left} data keys are missing in one of the tokens");
    while left > 0 {
        left = until("the tokens lack less", || {
            Some(lacks()).filter(|now| *now < left)
        });
    }
    daemon.stop_unharmed();
}
