//! Which of two tokens is asked for what both hold.

use std::sync::Arc;

use faulty_pkcs11::{Act, Delay, Fault, Function};
use softhsm_tests::{
    load::{fetch, runtime},
    many::{content, name},
    pair::{
        Pair,
        Which::{First, Second},
    },
    until,
};

use super::{CONTENT, is_had, until_is};

/// Long enough that what is had before it is over was not waited for.
const PATIENT: &str = "deadline = \"10s\"\nlongest-wait = \"200ms\"\n";

const SECRETS: usize = 24;

/// Has a token take its time to decrypt, or act.
fn decrypting(delay: Option<Delay>, act: Option<Act>) -> Fault {
    Fault {
        function: "C_Decrypt".to_owned(),
        delay,
        act,
        ..Fault::default()
    }
}

/// How often each token began to decrypt.
fn decrypted(pair: &Pair) -> [u64; 2] {
    [First, Second].map(|which| pair.counts(which).calls(Function::C_DecryptInit))
}

/// Of how many unwraps custodyd says that it asked each token, since another took long.
fn hedged(pair: &Pair) -> [f64; 2] {
    let of = |which| pair.site.counted_of(pair.serial(which), "unwraps_hedged");
    [First, Second].map(of)
}

/// Starts with tokens whose deliveries ask in the order of `reads`, and take their time.
fn reading(reads: &str) -> Pair {
    let pair = Pair::new("");
    change(&pair, |text| format!("reads = {reads:?}\n{text}"));
    pair
}

fn change(pair: &Pair, configuration: impl FnOnce(&str) -> String) {
    let file = pair.site.path("custodyd.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, configuration(&text)).unwrap();
}

fn slow_down(pair: &Pair) {
    for which in [First, Second] {
        pair.fault(which, decrypting(Some(Delay::Fixed(20)), None));
    }
}

/// Fetches all of these secrets at the same time.
fn fetch_at_once(pair: &Pair, numbers: impl Iterator<Item = usize>) {
    runtime().block_on(async {
        let provider = Arc::new(pair.site.provider().await);
        let mut fetches = tokio::task::JoinSet::new();
        for number in numbers {
            let provider = Arc::clone(&provider);
            fetches.spawn(async move {
                let (found, _) = fetch(&provider, &name(number)).await.unwrap();
                assert_eq!(found, content(number));
            });
        }
        fetches.join_all().await;
    });
}

#[test]
fn a_token_that_hangs_is_not_waited_for_while_another_can_be_asked() {
    let pair = Pair::new(PATIENT);
    pair.site.measure();
    let daemon = pair.site.start();
    pair.site.furnish(CONTENT);
    is_had(&pair.site, "web/key", CONTENT);
    let [of_first, of_second] = hedged(&pair);
    pair.fault(First, decrypting(None, Some(Act::Hang)));
    let [_, before] = decrypted(&pair);
    is_had(&pair.site, "web/key", CONTENT);
    // Nobody knows yet what becomes of the first.
    assert_eq!(pair.token(First)["state"], "serving");
    let [hung, after] = decrypted(&pair);
    assert!(hung > 0 && after > before, "{hung} {before} {after}");
    assert_eq!(hedged(&pair), [of_first, of_second + 1.0]);
    // Whoever comes now does not even try.
    is_had(&pair.site, "web/key", CONTENT);
    assert_eq!(decrypted(&pair), [hung, after + 1]);
    assert_eq!(hedged(&pair), [of_first, of_second + 1.0]);

    pair.mend(First);
    until("its worker was replaced", || {
        let token = pair.token(First);
        let is_another = token["worker_generation"].as_u64() > Some(1);
        (is_another && token["state"] == "serving").then_some(())
    });
    let [before, _] = decrypted(&pair);
    is_had(&pair.site, "web/key", CONTENT);
    assert!(decrypted(&pair)[0] > before);
    assert!(pair.site.entries("undelivered").is_empty());
    daemon.stop_unharmed();
}

#[test]
fn what_waits_for_a_worker_that_is_lost_is_asked_of_another_token() {
    const SECRETS: usize = 100;
    // Nothing that takes this long is waited for by a fetch.
    let pair = Pair::new("deadline = \"600s\"\nstart-deadline = \"600s\"\nsessions = 1\n");
    // So that the first is asked for more than its worker takes at a time.
    change(&pair, |text| {
        let (before, after) = text.rsplit_once("sessions = 1").unwrap();
        format!("{before}sessions = 4{after}")
    });
    let daemon = pair.site.start();
    pair.site.furnish_many(SECRETS);
    let decrypts_for_a_second = Some(Delay::Fixed(1000));
    pair.misbehave(First, |control| {
        control.faults = vec![
            decrypting(decrypts_for_a_second, Some(Act::Abort)),
            Fault {
                function: "C_Initialize".to_owned(),
                act: Some(Act::Hang),
                ..Fault::default()
            },
        ];
    });
    let [_, before] = decrypted(&pair);
    fetch_at_once(&pair, 0..SECRETS);
    assert_eq!(pair.token(First)["state"], "starting");
    assert_eq!(decrypted(&pair)[1] - before, SECRETS as u64);
    assert!(pair.site.entries("undelivered").is_empty());
    daemon.kill();
}

#[test]
fn reads_go_to_the_first_token_unless_they_are_balanced() {
    for (reads, is_shared) in [("first", false), ("balanced", true)] {
        let pair = reading(reads);
        let daemon = pair.site.start();
        pair.site.furnish_many(SECRETS);
        slow_down(&pair);
        let before = decrypted(&pair);
        fetch_at_once(&pair, 0..SECRETS);
        let after = decrypted(&pair);
        let [first, second] = [0, 1].map(|nth| after[nth] - before[nth]);
        let all = SECRETS as u64;
        if is_shared {
            assert_eq!(first + second, all);
            assert!(first >= all / 3 && second >= all / 3, "{first} {second}");
        } else {
            assert_eq!([first, second], [all, 0]);
        }
        daemon.stop_unharmed();
    }
}

#[test]
fn balanced_reads_ask_once_for_what_several_want_and_do_without_a_token_that_is_away() {
    let pair = reading("balanced");
    let daemon = pair.site.start();
    pair.site.furnish_many(SECRETS);
    slow_down(&pair);
    let before = decrypted(&pair);
    fetch_at_once(&pair, std::iter::repeat_n(0, SECRETS));
    let after = decrypted(&pair);
    assert!(
        after[0] - before[0] < SECRETS as u64 / 2,
        "{before:?} {after:?}"
    );
    assert_eq!(after[1], before[1]);

    pair.take_away(First);
    fetch_at_once(&pair, 0..SECRETS);
    until_is(&pair, First, "failed");
    let [_, before] = decrypted(&pair);
    fetch_at_once(&pair, 0..SECRETS);
    assert_eq!(decrypted(&pair)[1] - before, SECRETS as u64);
    pair.mend(First);
    until_is(&pair, First, "serving");
    until("the first is asked again", || {
        let [before, _] = decrypted(&pair);
        fetch_at_once(&pair, 0..SECRETS);
        (decrypted(&pair)[0] > before).then_some(())
    });
    assert!(pair.site.entries("undelivered").is_empty());
    daemon.stop_unharmed();
}
