//! Threads for what may take long, so that nothing quick waits for it.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Jobs done at a time.
const THREADS: usize = 2;
/// Jobs that may wait.
const QUEUE: usize = 64;
/// Of them, those of one user.
const QUEUE_OF_ONE: usize = 8;

/// A few threads and a queue. A user has one job done at a time, and may fill only a part
/// of the queue, so that none keeps others waiting for long.
pub(super) struct Desk(Arc<Shared>);

type Job = Box<dyn FnOnce() + Send>;

struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u32, Job)>,
    busy: Vec<u32>,
    closed: bool,
}

impl Desk {
    pub(super) fn open() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
        });
        let desk = Self(shared);
        for _ in 0..THREADS {
            let shared = Arc::clone(&desk.0);
            let thread = thread::Builder::new().name("attest-slow".to_owned());
            thread.spawn(move || shared.serve())?;
        }
        Ok(desk)
    }

    /// Has `job` done for the user `uid`; or drops it, if too much waits already.
    pub(super) fn submit(&self, uid: u32, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        let same = state.queue.iter().filter(|(other, _)| *other == uid);
        if state.queue.len() >= QUEUE || same.count() >= QUEUE_OF_ONE {
            drop(state);
            return;
        }
        state.queue.push_back((uid, Box::new(job)));
        drop(state);
        self.0.work.notify_one();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.queue.clear();
        drop(state);
        self.0.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.lock();
        while !state.closed {
            let next = {
                let State { queue, busy, .. } = &*state;
                queue.iter().position(|(uid, _)| !busy.contains(uid))
            };
            let Some((uid, job)) = next.and_then(|at| state.queue.remove(at)) else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy.push(uid);
            drop(state);
            job();
            state = self.lock();
            if let Some(at) = state.busy.iter().position(|busy| *busy == uid) {
                state.busy.swap_remove(at);
            }
            // Another job of this user may have been passed over for it.
            self.work.notify_one();
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    /// Waits for what must happen, but not for ever.
    fn soon(happens: &mpsc::Receiver<()>) {
        happens.recv_timeout(Duration::from_secs(30)).unwrap();
    }

    /// A job that says that it has begun, and ends when it may.
    fn stuck(desk: &Desk, uid: u32) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (begun, beginning) = mpsc::channel();
        let (end, ending) = mpsc::channel();
        desk.submit(uid, move || {
            begun.send(()).unwrap();
            ending.recv().unwrap_or_default();
        });
        (beginning, end)
    }

    #[test]
    fn a_user_with_a_long_job_keeps_no_other_user_waiting() {
        let desk = Desk::open().unwrap();
        let (first, _end) = stuck(&desk, 1);
        soon(&first);
        let (second, _other_end) = stuck(&desk, 1);
        let (answer, answered) = mpsc::channel();
        desk.submit(2, move || answer.send(()).unwrap());
        soon(&answered);
        assert_eq!(second.try_recv(), Err(mpsc::TryRecvError::Empty));
    }

    #[test]
    fn a_job_that_waited_for_its_own_user_is_done_in_the_end() {
        let desk = Desk::open().unwrap();
        let (first, end) = stuck(&desk, 1);
        soon(&first);
        let (second, _end) = stuck(&desk, 1);
        end.send(()).unwrap();
        soon(&second);
    }

    #[test]
    fn a_user_whose_part_of_the_queue_is_full_is_turned_away_and_others_are_not() {
        let desk = Desk::open().unwrap();
        let (first, _end) = stuck(&desk, 1);
        soon(&first);
        let (kept, dropped) = mpsc::channel::<()>();
        for _ in 0..QUEUE_OF_ONE {
            let kept = kept.clone();
            desk.submit(1, move || drop(kept));
        }
        drop(kept);
        assert_eq!(dropped.try_recv(), Err(mpsc::TryRecvError::Empty));
        let (over, refused) = mpsc::channel::<()>();
        desk.submit(1, move || drop(over));
        assert_eq!(refused.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        let (other, _end) = stuck(&desk, 2);
        soon(&other);
    }
}
