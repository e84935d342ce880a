//! Threads for work that waits for the disk or for a connection: made as they are needed, and ended when idle.
//!
//! ```text
//!   StoreReader, MailboxStreamer --work--> [queue] --> `most` threads at a time --result--> the caller
//! ```
//! The queue is as long as there are callers, and a caller waits for its result. A panic in the work becomes an internal
//! error of the caller, and the thread survives. Work that nobody waits for any more is not begun.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::oneshot;

use crate::error::MasterError;

/// A thread without work ends after this time.
const IDLE: Duration = Duration::from_secs(10);

/// Bytes of stack for each: what the standard library gives.
const STACK: usize = 2 * 1024 * 1024;

type Work = Box<dyn FnOnce() + Send>;

/// A bounded set of threads. Clones share it; with the last of them the threads end.
#[derive(Debug, Clone)]
pub(crate) struct Threads {
    queue: Sender<Work>,
    /// For new threads.
    waiting: Receiver<Work>,
    name: &'static str,
    most: usize,
    stack: usize,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    threads: usize,
    /// Work that waits or is worked on.
    open: usize,
}

impl Threads {
    /// At most this many at a time.
    pub(crate) fn new(name: &'static str, most: usize) -> Threads {
        let (queue, waiting) = unbounded();
        let (most, stack) = (most.max(1), STACK);
        Threads { queue, waiting, name, most, stack, counts: Arc::default() }
    }

    /// Runs this on one of them.
    ///
    /// # Errors
    /// [`MasterError::Internal`] if it panicked, [`MasterError::NoThread`] if there is no thread for it and none can be made.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, MasterError> {
        let (reply, result) = oneshot::channel();
        let counts = self.counts.clone();
        self.push(Box::new(move || {
            let done = (!reply.is_closed()).then(|| catch_unwind(AssertUnwindSafe(work)));
            // First, since whoever gets the result may ask again at once: that needs no other thread.
            lock(&counts).open -= 1;
            if let Some(done) = done {
                // Whoever asked may have been stopped.
                let _ = reply.send(done);
            }
        }))?;
        #[cfg(test)]
        let _held = tests::hold_the_clock();
        let done = result.await.map_err(|_| MasterError::Internal("its thread is gone".into()))?;
        done.map_err(|panic| MasterError::Internal(panic_text(panic.as_ref())))
    }

    fn push(&self, work: Work) -> Result<(), MasterError> {
        let mut counts = lock(&self.counts);
        if counts.open >= counts.threads && counts.threads < self.most {
            match self.start() {
                Ok(()) => counts.threads += 1,
                Err(_) if counts.threads == 0 => return Err(MasterError::NoThread),
                // It waits for one of the others.
                Err(_) => {}
            }
        }
        counts.open += 1;
        // We hold a receiver, so it can't be closed.
        self.queue.send(work).map_err(|_| MasterError::NoThread)
    }

    /// Starts a thread. It holds no sender, so it ends when all of ours are gone.
    fn start(&self) -> std::io::Result<()> {
        let (waiting, counts) = (self.waiting.clone(), self.counts.clone());
        let working = move || work_off(&waiting, &counts);
        let thread = std::thread::Builder::new().name(self.name.into()).stack_size(self.stack);
        thread.spawn(working).map(drop)
    }
}

/// Works until there was nothing to do for a while, or nobody is left to ask.
fn work_off(waiting: &Receiver<Work>, counts: &Mutex<Counts>) {
    loop {
        match waiting.recv_timeout(IDLE) {
            Ok(work) => work(),
            Err(_) => {
                let mut counts = lock(counts);
                // Whoever pushes holds the lock: it counts on this thread, or finds it gone.
                if waiting.is_empty() {
                    counts.threads -= 1;
                    return;
                }
            }
        }
    }
}

/// Nothing panics while it is held.
fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "panic".into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    /// A paused clock runs on when nothing on the event loop can; it does not see our threads. It waits for this.
    pub(super) fn hold_the_clock() -> std::sync::mpsc::Sender<()> {
        let (held, holding) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || holding.recv());
        held
    }

    #[tokio::test]
    async fn without_any_thread_it_fails_and_with_one_it_waits() {
        let none = Threads { stack: usize::MAX / 4, ..Threads::new("test", 2) };
        let e = none.run(|| 5).await.unwrap_err();
        assert!(matches!(e, MasterError::NoThread), "{e}");
        let one = Threads::new("test", 2);
        assert_eq!(one.run(|| 5).await.unwrap(), 5);
        let no_more = Threads { stack: usize::MAX / 4, ..one };
        let done = join_all([6, 7].map(|number| no_more.run(move || number))).await;
        assert_eq!(done.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [6, 7]);
    }

    #[tokio::test]
    async fn with_the_last_of_us_the_threads_end() {
        let threads = Threads::new("test", 2);
        assert_eq!(threads.run(|| 5).await.unwrap(), 5);
        let counts = threads.counts.clone();
        assert_eq!(lock(&counts).threads, 1);
        drop(threads);
        while lock(&counts).threads > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn no_more_run_than_may_and_all_have_their_turn() {
        let threads = Threads::new("test", 3);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let works = (0..12).map(|number| {
            let (now, most) = (now.clone(), most.clone());
            threads.run(move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                now.fetch_sub(1, Ordering::SeqCst);
                number
            })
        });
        let done: Vec<_> = join_all(works).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(done, (0..12).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_not_begun() {
        let threads = Threads::new("test", 1);
        let (go, held) = std::sync::mpsc::channel::<()>();
        let holding = tokio::spawn({
            let threads = threads.clone();
            async move { threads.run(move || held.recv().is_ok()).await }
        });
        tokio::task::yield_now().await;
        let begun = Arc::new(AtomicUsize::new(0));
        let count = |begun: &Arc<AtomicUsize>| {
            let begun = begun.clone();
            move || begun.fetch_add(1, Ordering::SeqCst)
        };
        let given_up = threads.run(count(&begun));
        assert!(tokio::time::timeout(Duration::from_millis(20), given_up).await.is_err());
        go.send(()).unwrap();
        assert!(holding.await.unwrap().unwrap());
        assert_eq!(threads.run(count(&begun)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_and_costs_no_thread() {
        let threads = Threads::new("test", 1);
        for word in ["first", "second"] {
            let e = threads.run(move || panic!("{word}")).await.map(|()| "nothing").unwrap_err();
            assert!(e.to_string().starts_with("internal error while the store was read: "), "{e}");
            assert!(e.to_string().contains(word), "{e}");
        }
        assert_eq!(threads.run(|| 5).await.unwrap(), 5);
    }
}
