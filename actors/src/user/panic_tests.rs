//! The cost of a panic: one user's try and a connection, and nothing for other users.
//!
//! The panics come from a tracing subscriber: nothing in the program itself panics on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cyrus_types::MailboxName;
use testkit::store::Plan;
use tracing::span::Id;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::error::Interrupt;
use crate::monitor::report::Outcome;
use crate::monitor::spans;
use crate::replica::testing::given::in_real_time;
use crate::user::testing::{Pair, STREAMER};
use crate::user::user_work::Synced;

/// Panics once, when the work on a mailbox is entered on a thread of this name, or anywhere.
struct PanicsOn {
    thread: Option<&'static str>,
    done: Arc<AtomicBool>,
}

impl PanicsOn {
    /// Starts it; returns a flag that shows whether it happened.
    fn set(thread: Option<&'static str>) -> (DefaultGuard, Arc<AtomicBool>) {
        let done = Arc::<AtomicBool>::default();
        let panics = PanicsOn { thread, done: done.clone() };
        let guard = tracing::subscriber::set_default(Registry::default().with(panics));
        // Another test's first use of the span, at this moment and without a subscriber, may have disabled it for all.
        while spans::mailbox(&MailboxName::default()).is_disabled() {
            tracing::callsite::rebuild_interest_cache();
        }
        (guard, done)
    }
}

impl tracing_subscriber::Layer<Registry> for PanicsOn {
    fn on_enter(&self, id: &Id, context: Context<'_, Registry>) {
        let here = thread::current();
        let of_mailbox = context.metadata(id).is_some_and(|span| span.name() == "mailbox");
        let wanted = self.thread.is_none_or(|name| here.name() == Some(name));
        if of_mailbox && wanted && !self.done.swap(true, Ordering::SeqCst) {
            panic!("a panic that a test wants");
        }
    }
}

/// Three users with one mailbox each.
fn pair() -> Pair {
    Pair::of(&Plan { users: 3, mailboxes: 1, messages: 3, ..Plan::default() })
}

fn is_done(synced: &Synced) -> bool {
    matches!(synced.result, Ok(Outcome::Done))
}

#[test]
fn a_thread_that_panics_while_it_sends_costs_its_user_and_its_connection() {
    in_real_time(async {
        let pair = pair();
        assert!(is_done(&pair.sync(0).await));
        assert_eq!(pair.replica.stats().connections, 1);
        let (guard, panicked) = PanicsOn::set(Some(STREAMER));
        let Err(Interrupt::Failed(e)) = pair.sync(1).await.result else { panic!("no failure") };
        drop(guard);
        assert!(panicked.load(Ordering::SeqCst));
        let words = e.to_string();
        assert!(words.starts_with("internal error"), "{words}");
        assert!(words.contains("a panic that a test wants"), "{words}");
        // Others go on, on another connection; and so does that user.
        assert!(is_done(&pair.sync(2).await));
        assert_eq!(pair.replica.stats().connections, 2);
        assert!(is_done(&pair.sync(1).await));
        assert_eq!(pair.replica.stats().connections, 2);
    });
}

#[test]
fn a_worker_that_dies_leaves_no_lease_behind_and_its_connection_to_nobody() {
    in_real_time(async {
        let pair = pair();
        let (guard, panicked) = PanicsOn::set(None);
        assert!(pair.try_sync(0).await.is_err());
        drop(guard);
        assert!(panicked.load(Ordering::SeqCst));
        assert!(is_done(&pair.sync(1).await));
        assert_eq!(pair.replica.stats().connections, 2);
        assert!(is_done(&pair.sync(0).await));
    });
}
