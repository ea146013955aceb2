//! Threads that may block, so that nothing async does.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use tokio::sync::oneshot;

/// A fixed set of threads, each owning one `R` that blocks or is not `Sync`.
///
/// Cloning shares the threads; they end once the last clone is dropped and the
/// queue is empty.
pub(crate) struct Workers<R> {
    queue: SyncSender<Job<R>>,
}

type Job<R> = Box<dyn FnOnce(&mut R) + Send>;

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
        let (queue, jobs) = sync_channel(depth);
        let jobs = Arc::new(Mutex::new(jobs));
        for mut resource in resources {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    while let Some(job) = next(&jobs) {
                        job(&mut resource);
                    }
                })?;
        }
        Ok(Self { queue })
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
        let queued = self.queue.try_send(job).map_err(|_| Unavailable);
        async move {
            queued?;
            result.await.map_err(|_| Unavailable)
        }
    }
}

impl<R> Clone for Workers<R> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<R> std::fmt::Debug for Workers<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Workers(..)")
    }
}

fn next<R>(jobs: &Mutex<Receiver<Job<R>>>) -> Option<Job<R>> {
    jobs.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}
