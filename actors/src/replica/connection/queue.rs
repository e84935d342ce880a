//! Commands whose answers are awaited, in order, and for how long the next answer has been due.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use csync::{CommandKind, Item};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::Span;

use crate::replica::answer::Answer;
use crate::replica::ask::Ask;
use crate::replica::command_error::CommandError;
use crate::replica::frames::{Closed, End};

/// An answer that keeps arriving gets another second for each this many bytes: large mailboxes over slow links take time.
const BYTES_A_SECOND: u64 = 16 * 1024;
/// The longest answer; a whole mailbox is bounded by its line instead.
const ANSWER_BYTES: u64 = 64 << 20;

/// A command whose answer is awaited.
pub(super) struct Awaited {
    pub(super) ask: Ask,
    /// The tag of the answer; csync has none.
    pub(super) tag: Option<u64>,
    /// After COMPRESS: the channel on which the writer waits to hear whether it is to compress.
    pub(super) compress: Option<oneshot::Sender<bool>>,
    /// All of it was written.
    pub(super) written: bool,
    /// Its caller was told to ask again elsewhere; the answer is discarded.
    pub(super) given_up: bool,
}

impl Awaited {
    fn fail(self, e: CommandError) {
        if !self.given_up {
            let _ = self.ask.reply.send(Err(e));
        }
    }

    /// Passes the answer to the caller, which may have given up meanwhile.
    pub(super) fn answer(self, answer: Answer) {
        if !self.given_up {
            let _ = self.ask.reply.send(Ok(answer));
        }
    }
}

/// Commands in the order of their answers. Clones share it. Once the connection is closed it is empty and stays so: what is
/// pushed then fails at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    state: Arc<Mutex<QueueState>>,
    pub(super) end: End,
    /// Becomes true when the handshake is over, with or without success.
    opened: Arc<watch::Sender<bool>>,
}

#[derive(Default)]
struct QueueState {
    awaited: VecDeque<Awaited>,
    closed: bool,
    /// The last answers of the handshake are still to come.
    opening: bool,
    /// The answer that is due.
    due: Option<Coming>,
}

/// The answer that is due.
#[derive(Clone, Copy)]
struct Coming {
    /// Since when.
    since: Instant,
    /// When the last bytes arrived.
    last: Instant,
    /// How many bytes of it have arrived.
    bytes: u64,
}

impl std::fmt::Debug for QueueState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueState").field("awaited", &self.awaited.len()).finish_non_exhaustive()
    }
}

/// Information about the command whose answer is due.
#[derive(Clone, Copy)]
pub(super) struct Due {
    pub(super) kind: CommandKind,
    pub(super) written: bool,
    pub(super) tag: Option<u64>,
}

impl Queue {
    fn with<T>(&self, f: impl FnOnce(&mut QueueState) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the last answers of the handshake are still to come.
    pub(super) fn set_opening(&self, opening: bool) {
        self.with(|q| {
            q.opening = opening;
            if q.due.take().is_some() {
                q.note_due(Instant::now());
            }
        });
        self.opened.send_replace(!opening);
    }

    /// Waits until the handshake is over, or the connection has ended.
    pub(crate) async fn opened(&self) {
        // The sender is ours, so this can't fail.
        let _ = self.opened.subscribe().wait_for(|opened| *opened).await;
    }

    pub(super) fn push(&self, awaited: Awaited) {
        let refused = self.with(|q| {
            if q.closed {
                return Some(awaited);
            }
            q.awaited.push_back(awaited);
            None
        });
        if let Some(awaited) = refused {
            let e = self.end.error(awaited.ask.kind, awaited.ask.asker);
            awaited.fail(e);
        }
    }

    /// Marks all commands as written, except the rest of the last one if it is `open`.
    pub(super) fn written(&self, open: bool, now: Instant) {
        self.with(|q| {
            for awaited in q.awaited.iter_mut().rev().skip(usize::from(open)) {
                if awaited.written {
                    break;
                }
                awaited.written = true;
            }
            q.note_due(now);
        });
    }

    /// Takes the command whose answer has arrived, and how long it was due.
    pub(super) fn pop(&self, now: Instant) -> Option<(Awaited, Duration)> {
        self.with(|q| {
            let awaited = q.awaited.pop_front()?;
            let due = q.due.take();
            q.note_due(now);
            let took = due.map(|coming| now.saturating_duration_since(coming.since));
            Some((awaited, took.unwrap_or_default()))
        })
    }

    /// The command whose answer is due.
    pub(super) fn head(&self) -> Option<Due> {
        self.with(|q| {
            q.awaited.front().map(|a| Due { kind: a.ask.kind, written: a.written, tag: a.tag })
        })
    }

    /// The span of the command whose answer is due.
    pub(super) fn due_span(&self) -> Span {
        self.with(|q| q.awaited.front().map_or_else(Span::none, |a| a.ask.span.clone()))
    }

    /// What in this line can't belong to the answer that is due.
    pub(super) fn foreign(&self, line: &Item) -> Option<String> {
        self.with(|q| q.awaited.front().and_then(|a| a.ask.about.foreign(line)))
    }

    /// Counts received bytes.
    pub(super) fn received(&self, bytes: usize, now: Instant) {
        self.with(|q| {
            if let Some(coming) = q.due.as_mut().filter(|_| bytes > 0) {
                coming.bytes += bytes as u64;
                coming.last = now;
            }
        });
    }

    /// Whether the answer that is due is longer than any answer may be.
    pub(super) fn says_too_much(&self) -> bool {
        self.with(|q| {
            let whole =
                q.awaited.front().is_some_and(|a| a.ask.kind == CommandKind::GetFullMailbox);
            q.due.is_some_and(|coming| coming.bytes > ANSWER_BYTES) && !whole
        })
    }

    /// For how long an answer has been due, if one is.
    pub(crate) fn due_for(&self, now: Instant) -> Option<Duration> {
        self.with(|q| q.due.map(|coming| now.saturating_duration_since(coming.since)))
    }

    /// Whether the answer that is due should be complete by now.
    pub(super) fn is_overdue(&self, now: Instant, timeout: Duration) -> bool {
        self.with(|q| {
            q.due.is_some_and(|coming| {
                let more = Duration::from_secs(coming.bytes / BYTES_A_SECOND);
                now.saturating_duration_since(coming.since) > timeout.saturating_add(more)
                    || now.saturating_duration_since(coming.last) > timeout
            })
        })
    }

    /// Tells the users that only ask here (`beside_others`) to ask again elsewhere. The user whose answer is due stays, and so
    /// does a user that is worked on here.
    pub(super) fn give_up_behind(&self, reason: &str) {
        let mut behind = Vec::new();
        self.with(|q| {
            let Some(head) = q.awaited.front().map(|a| a.ask.asker) else { return };
            for awaited in q.awaited.iter_mut().skip(1) {
                if !awaited.given_up && awaited.ask.asker.beside_others && awaited.ask.asker != head
                {
                    awaited.given_up = true;
                    let nowhere = oneshot::channel().0;
                    behind.push((
                        awaited.ask.kind,
                        std::mem::replace(&mut awaited.ask.reply, nowhere),
                    ));
                }
            }
        });
        for (command, reply) in behind {
            let _ = reply.send(Err(CommandError::Lost {
                command,
                reason: reason.to_string(),
                behind: true,
            }));
        }
    }

    /// Fails everything that is in flight and everything that will be pushed, unless that is done already.
    pub(super) fn close(&self, reason: &str) {
        self.close_as(reason, false);
    }

    /// The same for a connection that fell silent (`fading`).
    pub(super) fn close_as(&self, reason: &str, fading: bool) {
        let awaited = self.with(|q| {
            let head = q.awaited.front().map(|a| a.ask.asker);
            self.end.set(Closed { reason: reason.to_string(), unopened: q.opening, head, fading });
            q.closed = true;
            q.due = None;
            std::mem::take(&mut q.awaited)
        });
        for awaited in awaited {
            let e = self.end.error(awaited.ask.kind, awaited.ask.asker);
            awaited.fail(e);
        }
        self.opened.send_replace(true);
    }
}

impl QueueState {
    fn note_due(&mut self, now: Instant) {
        if self.due.is_none() && self.awaited.front().is_some_and(|a| a.written) {
            self.due = Some(Coming { since: now, last: now, bytes: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::ask::{About, Asker, Pending};

    fn ask(number: u64, beside_others: bool) -> (Awaited, Pending) {
        let (reply, pending) = oneshot::channel();
        let asker = Asker { number, beside_others };
        let ask = Ask {
            kind: CommandKind::GetUser,
            asker,
            about: About::Anything,
            reply,
            span: Span::none(),
        };
        let awaited = Awaited { ask, tag: None, compress: None, written: false, given_up: false };
        (awaited, pending)
    }

    fn behind(pending: &mut Pending) -> Option<bool> {
        match pending.try_recv().ok()? {
            Err(CommandError::Lost { behind, .. }) => Some(behind),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whose_answer_was_due_is_told_from_those_behind() {
        let queue = Queue::default();
        let (one, mut first) = ask(1, true);
        let (two, mut second) = ask(2, true);
        let (also_one, mut third) = ask(1, true);
        for awaited in [one, two, also_one] {
            queue.push(awaited);
        }
        queue.close("gone");
        assert_eq!(
            [&mut first, &mut second, &mut third].map(behind),
            [Some(false), Some(true), Some(false)]
        );
        // A late caller counts as never asked too, except the user that caused the end.
        let (late, mut fourth) = ask(3, true);
        let (again, mut fifth) = ask(1, true);
        queue.push(late);
        queue.push(again);
        assert_eq!((behind(&mut fourth), behind(&mut fifth)), (Some(true), Some(false)));
        // If no answer was due, no other user caused it.
        let idle = Queue::default();
        idle.close("gone");
        let (only, mut pending) = ask(1, true);
        idle.push(only);
        assert_eq!(behind(&mut pending), Some(false));
    }

    #[test]
    fn the_clock_runs_from_when_a_question_is_out_and_first_in_line() {
        let (start, queue) = (Instant::now(), Queue::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let timeout = Duration::from_secs(10);
        let (one, _first) = ask(1, true);
        let (two, _second) = ask(2, true);
        queue.push(one);
        assert_eq!(queue.due_for(at(5)), None, "it is not written yet");
        queue.written(true, at(5));
        assert_eq!(queue.due_for(at(5)), None, "the end of it is not");
        queue.push(two);
        queue.written(false, at(6));
        assert_eq!(queue.due_for(at(8)), Some(Duration::from_secs(2)));
        assert!(!queue.is_overdue(at(16), timeout) && queue.is_overdue(at(17), timeout));
        queue.received(100, at(16));
        assert!(queue.is_overdue(at(17), timeout), "a byte now and then does not count");
        queue.received(1 << 20, at(16));
        assert!(!queue.is_overdue(at(17), timeout), "much does");
        assert!(queue.is_overdue(at(27), timeout), "unless nothing follows");
        assert!(!queue.says_too_much());
        queue.received(1 << 30, at(17));
        assert!(queue.says_too_much());
        queue.pop(at(20));
        assert_eq!(queue.due_for(at(21)), Some(Duration::from_secs(1)));
        queue.pop(at(22));
        assert!(queue.due_for(at(90)).is_none() && !queue.is_overdue(at(90), timeout));
    }

    #[test]
    fn those_who_wait_behind_are_sent_elsewhere_but_no_work() {
        let queue = Queue::default();
        let (one, mut first) = ask(1, true);
        let (two, mut second) = ask(2, true);
        let (three, mut third) = ask(3, false);
        for awaited in [one, two, three] {
            queue.push(awaited);
        }
        queue.give_up_behind("slow");
        queue.give_up_behind("slow");
        assert_eq!(
            (behind(&mut first), behind(&mut second), behind(&mut third)),
            (None, Some(true), None)
        );
        // Its answer arrives all the same, and is discarded.
        queue.pop(Instant::now());
        assert!(queue.pop(Instant::now()).is_some_and(|(a, _)| a.given_up));
    }
}
