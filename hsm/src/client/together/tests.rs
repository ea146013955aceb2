use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    join,
    sync::{Notify, Semaphore},
    time::timeout,
};

use super::*;

/// A token that answers when it is let.
#[derive(Default)]
struct Slow {
    together: Together,
    meters: Meters,
    calls: AtomicUsize,
    called: Notify,
    answers: Option<Semaphore>,
}

impl Slow {
    fn token() -> Self {
        Self {
            answers: Some(Semaphore::new(0)),
            ..Self::default()
        }
    }

    /// Unwraps a key whose bytes are all `byte`, or not.
    async fn ask(&self, byte: u8) -> Result<PlaintextDek, Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.called.notify_one();
        let let_go = self.answers.as_ref().unwrap().acquire().await.unwrap();
        let_go.forget();
        match byte {
            0 => Err(Error::Restarting),
            _ => Ok(PlaintextDek::take(&mut [byte; PlaintextDek::LEN]).unwrap()),
        }
    }

    async fn unwrap(&self, byte: u8) -> Result<u8, Error> {
        let what = wrap(byte);
        let by = Instant::now() + Duration::from_secs(600);
        let ask = || self.ask(byte);
        let unwrapped = self.together.unwrap(&what, by, &self.meters, ask).await;
        unwrapped.dek().map(|dek| dek.expose()[0])
    }

    fn answer(&self, times: usize) {
        self.answers.as_ref().unwrap().add_permits(times);
    }

    async fn answer_when_asked(&self) {
        self.called.notified().await;
        self.answer(1);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn is_idle(&self) -> bool {
        self.together.lock().is_empty()
    }
}

fn wrap(byte: u8) -> Reveal {
    Reveal {
        gmk: vec![1],
        blob: vec![byte],
        context: vec![2],
    }
}

#[tokio::test]
async fn what_several_want_at_a_time_is_asked_once() {
    let slow = Slow::token();
    let answer = slow.answer_when_asked();
    let all = join!(slow.unwrap(7), slow.unwrap(7), slow.unwrap(7), answer);
    assert_eq!(all, (Ok(7), Ok(7), Ok(7), ()));
    assert_eq!(slow.calls(), 1);
    assert_eq!(slow.meters.shared(), 2);
    // What is wanted later is asked again.
    slow.answer(1);
    assert_eq!(slow.unwrap(7).await, Ok(7));
    assert_eq!(slow.calls(), 2);
    assert!(slow.is_idle());
}

#[tokio::test]
async fn what_differs_in_anything_is_asked_by_itself() {
    let slow = Slow::token();
    slow.answer(2);
    let (a, b) = join!(slow.unwrap(7), slow.unwrap(8));
    assert_eq!((a, b), (Ok(7), Ok(8)));
    let parts = [
        wrap(7),
        Reveal {
            gmk: vec![9],
            ..wrap(7)
        },
        Reveal {
            context: vec![9],
            ..wrap(7)
        },
    ];
    let waiters: Vec<_> = parts.iter().map(|part| slow.together.join(part)).collect();
    assert_eq!(slow.together.lock().len(), waiters.len());
    drop(waiters);
    assert!(slow.is_idle());
}

#[tokio::test]
async fn an_error_is_that_of_all_who_waited_and_of_nobody_later() {
    let slow = Slow::token();
    let (a, b, ()) = join!(slow.unwrap(0), slow.unwrap(0), slow.answer_when_asked());
    assert_eq!((a, b), (Err(Error::Restarting), Err(Error::Restarting)));
    assert_eq!(slow.calls(), 1);
    slow.answer(1);
    assert_eq!(slow.unwrap(0).await, Err(Error::Restarting));
    assert_eq!(slow.calls(), 2);
}

#[tokio::test]
async fn another_asks_when_the_first_is_dropped() {
    let slow = Slow::token();
    let (mut first, mut second) = (Box::pin(slow.unwrap(7)), pin!(slow.unwrap(7)));
    let moment = Duration::from_millis(1);
    assert!(timeout(moment, &mut first).await.is_err());
    assert!(timeout(moment, &mut second).await.is_err());
    assert_eq!(slow.calls(), 1);
    drop(first);
    slow.answer(1);
    assert_eq!(second.await, Ok(7));
    assert_eq!(slow.calls(), 2);
    assert!(slow.is_idle());
}

#[tokio::test]
async fn nothing_is_left_of_those_who_stop_waiting() {
    let slow = Slow::token();
    let both = async { join!(slow.unwrap(7), slow.unwrap(7)) };
    assert!(timeout(Duration::from_millis(1), both).await.is_err());
    assert!(slow.is_idle());
}

#[tokio::test]
async fn who_has_more_time_than_the_one_it_joined_goes_on() {
    let (together, meters) = (Together::default(), Meters::default());
    let (what, calls) = (wrap(7), AtomicUsize::new(0));
    let unwrap = async |by: Instant| {
        let ask = || async {
            calls.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Err(Error::Deadline)
        };
        let unwrapped = together.unwrap(&what, by, &meters, ask).await;
        unwrapped.dek().map(drop)
    };
    let now = Instant::now();
    let later = now + Duration::from_secs(600);
    let all = join!(unwrap(now), unwrap(now), unwrap(later));
    let over = Err(Error::Deadline);
    assert_eq!(all, (over.clone(), over.clone(), over));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}
