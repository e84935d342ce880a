//! Threads for work that waits for the disk or for a connection: made as they are needed, and ended when idle.
//!
//! ```text
//!   StoreReader, MailboxStreamer --work--> [Threads: `most` at a time, the rest waits its turn] --result--> the caller
//! ```
//! They are the blocking pool of a tokio runtime that runs nothing else. A panic there becomes an internal error of the
//! caller, and the thread survives.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::MasterError;

/// A bounded set of threads. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Threads {
    handle: Handle,
    /// Keeps them alive; `None` if they belong to another runtime.
    _owner: Option<Arc<Owner>>,
}

impl Threads {
    /// At most this many at a time. If the system does not allow a runtime for them, the event loop's own threads are used.
    pub(crate) fn new(name: &'static str, most: usize) -> Threads {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(most.max(1))
            .thread_name(name)
            .build();
        match runtime {
            Ok(runtime) => {
                let handle = runtime.handle().clone();
                Threads { handle, _owner: Some(Arc::new(Owner(Some(runtime)))) }
            }
            Err(_) => Threads::of_the_event_loop(),
        }
    }

    /// Those of the event loop that this is called on, for work that is always short.
    pub(crate) fn of_the_event_loop() -> Threads {
        Threads { handle: Handle::current(), _owner: None }
    }

    /// Runs this on one of them.
    ///
    /// # Errors
    /// [`MasterError::Internal`] if it panicked, [`MasterError::NoThread`] if the system has no thread for it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, MasterError> {
        // Work that nobody waits for any more is not begun.
        let waiting = Arc::new(());
        let waited_for = Arc::downgrade(&waiting);
        let work = move || waited_for.upgrade().map(|_| work());
        // Where the pool has no thread and can get none, it panics, and keeps the work for later.
        let started = catch_unwind(AssertUnwindSafe(|| self.handle.spawn_blocking(work)));
        let Ok(running) = started else { return Err(MasterError::NoThread) };
        let done = running.await.map_err(|e| {
            MasterError::Internal(match e.try_into_panic() {
                Ok(panic) => panic_text(panic.as_ref()),
                Err(e) => e.to_string(),
            })
        })?;
        drop(waiting);
        done.ok_or_else(|| MasterError::Internal("the work was dropped".into()))
    }
}

/// Ends the threads without waiting for their current work: a disk may hang.
#[derive(Debug)]
struct Owner(Option<Runtime>);

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
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
