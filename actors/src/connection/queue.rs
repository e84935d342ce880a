//! Commands whose answers are awaited, in the order of both.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use csync::Limits;
use tokio::sync::oneshot;

use crate::frames::{Closed, End, Reply};

/// A command whose answer is awaited.
pub(super) struct Awaited {
    pub(super) name: &'static str,
    pub(super) reply: Reply,
    /// After COMPRESS: where the writer waits to hear whether it is to compress.
    pub(super) compress: Option<oneshot::Sender<bool>>,
}

/// Commands in the order of their answers; none once the connection is closed.
#[derive(Clone, Default)]
pub(super) struct Queue {
    state: Arc<Mutex<QueueState>>,
    pub(super) end: End,
}

#[derive(Default)]
struct QueueState {
    awaited: VecDeque<Awaited>,
    closed: bool,
    /// The last answers of the opening are still to come.
    opening: bool,
}

impl Queue {
    fn with<T>(&self, f: impl FnOnce(&mut QueueState) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the last answers of the opening are still to come.
    pub(super) fn set_opening(&self, opening: bool) {
        self.with(|q| q.opening = opening);
    }

    pub(super) fn push(&self, awaited: Awaited) {
        let refused = self.with(|q| {
            if q.closed {
                return Some(awaited);
            }
            q.awaited.push_back(awaited);
            None
        });
        if let Some(Awaited { name, reply, .. }) = refused {
            let _ = reply.send(Err(self.end.error(name)));
        }
    }

    pub(super) fn pop(&self) -> Option<Awaited> {
        self.with(|q| q.awaited.pop_front())
    }

    /// How much the answer that is due may say.
    pub(super) fn limits(&self) -> Limits {
        match self.with(|q| q.awaited.front().map(|a| a.name)) {
            Some("FULLMAILBOX") => Limits::WHOLE_MAILBOX,
            _ => Limits::ANSWERS,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.with(|q| q.awaited.is_empty())
    }

    /// Fails all that is in flight and all that will be pushed, unless that is done already.
    pub(super) fn close(&self, reason: &str) {
        let awaited = self.with(|q| {
            self.end.set(Closed { reason: reason.to_string(), unopened: q.opening });
            q.closed = true;
            std::mem::take(&mut q.awaited)
        });
        for Awaited { name, reply, .. } in awaited {
            let _ = reply.send(Err(self.end.error(name)));
        }
    }
}
