//! Threads that may block, so that nothing async does.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

/// A fixed set of threads, each owning one `R` that blocks or is not `Sync`.
///
/// Cloning shares the threads; they end once the last clone is dropped and the
/// queue is empty.
pub(crate) struct Workers<R> {
    handle: Arc<Handle<R>>,
}

type Job<R> = Box<dyn FnOnce(&mut R) + Send>;

/// Closes the queue when it is dropped.
struct Handle<R>(Arc<Queue<R>>);

struct Queue<R> {
    waiting: Mutex<Waiting<R>>,
    depth: usize,
    call: Condvar,
}

struct Waiting<R> {
    jobs: VecDeque<Job<R>>,
    /// Threads without a job.
    idle: usize,
    /// One of them has been called, and is not there yet. Others need not be: it calls
    /// the next if there is more than one job by then.
    called: bool,
    closed: bool,
}

/// The queue is full, or the threads have ended.
#[derive(Debug, thiserror::Error)]
#[error("too many requests are waiting")]
pub(crate) struct Unavailable;

impl<R: Send + 'static> Workers<R> {
    /// Starts a thread for each of `resources`, with room for `depth` waiting jobs.
    pub(crate) fn start(
        name: &str,
        resources: impl IntoIterator<Item = R>,
        depth: usize,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            waiting: Mutex::new(Waiting {
                jobs: VecDeque::new(),
                idle: 0,
                called: false,
                closed: false,
            }),
            depth,
            call: Condvar::new(),
        });
        let handle = Arc::new(Handle(Arc::clone(&queue)));
        for mut resource in resources {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    while let Some(job) = queue.next() {
                        job(&mut resource);
                    }
                })?;
        }
        Ok(Self { handle })
    }

    /// Runs `op` on the next free thread: from now on, whether or not the future is
    /// polled yet.
    ///
    /// A caller that stops waiting takes its job off the queue, unless the job has
    /// begun: then it runs to its end and the result is dropped.
    pub(crate) fn run<T: Send + 'static, O: FnOnce(&mut R) -> T + Send + 'static>(
        &self,
        op: O,
    ) -> impl Future<Output = Result<T, Unavailable>> + Send + use<T, R, O> {
        let (answer, result) = oneshot::channel();
        let job: Job<R> = Box::new(move |resource| {
            if !answer.is_closed() {
                drop(answer.send(op(resource)));
            }
        });
        let queued = self.handle.0.push(job);
        async move {
            queued?;
            result.await.map_err(|_| Unavailable)
        }
    }
}

impl<R> Clone for Workers<R> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<R> std::fmt::Debug for Workers<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Workers(..)")
    }
}

impl<R> Queue<R> {
    fn push(&self, job: Job<R>) -> Result<(), Unavailable> {
        let mut waiting = self.lock();
        if waiting.jobs.len() >= self.depth {
            return Err(Unavailable);
        }
        waiting.jobs.push_back(job);
        self.call_one(waiting);
        Ok(())
    }

    /// Waits for a job. `None` once there will be no more.
    fn next(&self) -> Option<Job<R>> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                self.call_one(waiting);
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            waiting.idle += 1;
            waiting = self
                .call
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
            waiting.called = false;
        }
    }

    /// Calls a thread if there is something to do for it.
    fn call_one(&self, mut waiting: MutexGuard<'_, Waiting<R>>) {
        if waiting.idle > 0 && !waiting.called && !waiting.jobs.is_empty() {
            waiting.called = true;
            drop(waiting);
            self.call.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<R>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Drop for Handle<R> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.call.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn jobs_run_side_by_side_and_all_to_their_end() {
        let workers = Workers::start("test", [(), ()], 100).unwrap();
        // Each of the first two ends only once the other has begun.
        let (one, first) = mpsc::channel();
        let (two, second) = mpsc::channel();
        let a = workers.run(move |()| {
            one.send(()).unwrap();
            second.recv().unwrap();
        });
        let b = workers.run(move |()| {
            two.send(()).unwrap();
            first.recv().unwrap();
        });
        let many: Vec<_> = (0..50).map(|n| workers.run(move |()| n)).collect();
        drop(workers);
        a.await.unwrap();
        b.await.unwrap();
        for (n, job) in many.into_iter().enumerate() {
            assert_eq!(job.await.unwrap(), n);
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_an_answer_at_once() {
        let workers = Workers::start("test", [()], 1).unwrap();
        let (go, wait) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let busy = workers.run(move |()| {
            begun.send(()).unwrap();
            assert!(wait.recv().is_err());
        });
        begins.recv().unwrap();
        let queued = workers.run(|()| ());
        assert!(workers.run(|()| ()).await.is_err());
        drop(go);
        busy.await.unwrap();
        queued.await.unwrap();
    }

    #[test]
    fn the_threads_end_with_the_last_handle() {
        let (alive, ended) = mpsc::channel::<()>();
        let workers = Workers::start("test", [alive.clone(), alive], 1).unwrap();
        drop(workers.clone());
        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(workers);
        assert_eq!(ended.recv(), Err(mpsc::RecvError));
    }
}
