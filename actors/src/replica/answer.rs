//! The replica's answers: stored in as little memory as possible, and bounded, whatever the replica sends.
//!
//! ```text
//!   * MAILBOX, QUOTA, SEEN, LSUB, SIEVE  --> ReplicaUser (what there is of a user)
//!   RECORD (…), one by one               --> FullReplica (GET FULLMAILBOX)
//!   all else                             --> Items
//! ```
//! Answers are parsed as they arrive. Everything that is held of answers on all connections of a run, from the first byte
//! until the user has been looked at, comes out of one [`Budget`]; an answer for which there is no room ends its connection
//! and fails that user.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use csync::{FullMailbox, Item, ReplicaMailbox, ReplicaRecord, ReplicaUser, Status, Value};
use cyrus_types::{Uid, UidValidity};
use sync_plan::FullReplica;

/// Room for all answers of a run together, in bytes: a mailbox of a million records, or a user of 20,000 mailboxes; more if
/// a user has more here. The rest of a run fits beside it in 64 MiB.
const ROOM_BYTES: usize = 40 << 20;

/// The cost of a string beside its bytes: its place, in a list that has grown to twice its length, and its heap overhead.
const STRING_BYTES: usize = 2 * size_of::<String>() + HEAP_BYTES;
/// The heap's overhead for each block.
const HEAP_BYTES: usize = 32;

/// A mailbox with more records is a large one.
const MANY_RECORDS: usize = 16 * 1024;
/// How many records are converted to their final form at a time.
const RECORDS_AT_A_TIME: usize = 256;

/// The share of the room for one mailbox that both sides have.
const MAILBOX_BYTES: usize = 4096;

/// Room for answers; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget(Arc<Room>);

#[derive(Debug, Default)]
struct Room {
    used: AtomicUsize,
    /// The highest number of mailboxes of a user here.
    mailboxes: AtomicUsize,
}

impl Budget {
    /// A new part of it, still empty.
    pub(crate) fn hold(&self) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }

    /// A user has this many mailboxes here: the replica may have as many. There is room for those of the largest user
    /// beside the usual room; an answer that arrived before this was known fails transiently.
    pub(crate) fn expect(&self, mailboxes: usize) {
        self.0.mailboxes.fetch_max(mailboxes, Ordering::Relaxed);
    }

    /// How large all parts together may be, in bytes.
    pub(crate) fn room(&self) -> usize {
        let mailboxes = self.0.mailboxes.load(Ordering::Relaxed);
        ROOM_BYTES.max(mailboxes.saturating_mul(MAILBOX_BYTES))
    }

    #[cfg(test)]
    fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

/// A part of the [`Budget`]. Dropping it returns the room.
#[derive(Debug, Default)]
pub(crate) struct Held {
    budget: Budget,
    bytes: usize,
}

impl Held {
    /// Sets its size. False if there is no room for that; then the size does not change.
    pub(crate) fn set(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let before = self.budget.0.used.fetch_add(more, Ordering::Relaxed);
            if before.saturating_add(more) > self.budget.room() {
                self.budget.0.used.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            self.budget.0.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        true
    }

    /// Takes over another part of the same budget.
    pub(crate) fn join(&mut self, mut other: Held) {
        if self.bytes == 0 {
            std::mem::swap(self, &mut other);
            return;
        }
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A command's complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) said: Said,
    /// OK, NO or BAD.
    pub(crate) status: Status,
}

/// The lines before the status.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The mailboxes and other data of a user.
    pub(crate) user: ReplicaUser,
    /// The records of a whole mailbox, and its last UID.
    pub(crate) records: FullReplica,
    /// All other lines.
    pub(crate) items: Vec<Item>,
    /// What is wrong with the first invalid line.
    pub(crate) nonsense: Option<String>,
    /// The room that it takes.
    pub(crate) held: Held,
    bytes: usize,
    fresh_records: Vec<ReplicaRecord>,
}

impl Said {
    /// Nothing yet.
    pub(crate) fn new(budget: &Budget) -> Said {
        Said { held: budget.hold(), ..Said::default() }
    }

    /// How much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.nonsense.is_none()
    }

    /// Parses a line. `of_user`: it belongs to the data of a user.
    pub(crate) fn push(&mut self, item: Item, of_user: bool) {
        if !of_user {
            self.bytes += 2 * size_of::<Item>() + weight(&item.value, true);
            self.items.push(item);
            return;
        }
        let is_mailbox = item.name == "MAILBOX";
        if is_mailbox {
            self.finish_records(&item);
        } else {
            self.bytes += STRING_BYTES + weight(&item.value, false);
        }
        match self.user.push(item) {
            Ok(()) if is_mailbox => {
                self.bytes += self.user.mailboxes.last().map_or(0, mailbox_weight);
            }
            Ok(()) => {}
            Err(e) => {
                self.bytes += HEAP_BYTES;
                self.nonsense.get_or_insert(e.to_string());
            }
        }
    }

    /// Adds one record of a mailbox.
    pub(crate) fn push_record(&mut self, record: &Value) {
        match ReplicaRecord::decode(record) {
            Ok(record) => self.fresh_records.push(record),
            Err(e) => drop(self.nonsense.get_or_insert(e.to_string())),
        }
        if self.fresh_records.len() >= RECORDS_AT_A_TIME {
            self.settle_records();
        }
    }

    fn settle_records(&mut self) {
        if self.fresh_records.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.fresh_records);
        let full = FullMailbox { records, ..FullMailbox::default() };
        let states = FullReplica::from(&full).records;
        self.bytes += size_of_val(states.as_slice());
        let all = &mut self.records.records;
        if all.len() > MANY_RECORDS && all.len() + states.len() > all.capacity() {
            // Reserves all the room at once: memory is used only as it is filled, while growing would copy everything again
            // and again.
            all.reserve_exact(
                (ROOM_BYTES / size_of_val(states.as_slice()) * states.len())
                    .saturating_sub(all.len()),
            );
        }
        all.extend(states);
    }

    fn finish_records(&mut self, mailbox: &Item) {
        self.settle_records();
        self.records.records.shrink_to_fit();
        if let Some(Ok(last_uid)) = mailbox.value.get("LAST_UID").map(Value::u32) {
            self.records.last_uid = Uid(last_uid);
        }
        if let Some(Ok(uidvalidity)) = mailbox.value.get("UIDVALIDITY").map(Value::u32) {
            self.records.uidvalidity = UidValidity(uidvalidity);
        }
    }
}

/// The memory of a mailbox, including what a growing list of many leaves behind.
fn mailbox_weight(m: &ReplicaMailbox) -> usize {
    let strings = [&m.mboxtype, &m.partition, &m.acl, &m.options];
    let text = strings.into_iter().chain(&m.quotaroot).map(String::as_str);
    let text = text.chain([m.name.as_str(), m.uniqueid.as_str()]).filter(|text| !text.is_empty());
    let annotations = m
        .annotations
        .iter()
        .map(|a| size_of_val(a) + a.entry.len() + a.userid.len() + a.value.len() + 3 * HEAP_BYTES);
    let strings: usize = text.map(|text| text.len() + HEAP_BYTES).sum();
    4 * size_of::<ReplicaMailbox>() + strings + annotations.sum::<usize>()
}

/// The memory of a value's atoms; with the values around them if those are kept.
fn weight(value: &Value, kept: bool) -> usize {
    let own = if kept { size_of::<Value>() } else { 0 };
    let inner: usize = match value {
        Value::Nil => 0,
        Value::Atom(bytes) => bytes.len() + if kept { HEAP_BYTES } else { STRING_BYTES },
        Value::File { data, .. } => data.len() + STRING_BYTES,
        Value::List(values) => values.iter().map(|v| weight(v, kept)).sum(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, v)| weight(v, kept) + if kept { key.len() + STRING_BYTES } else { 0 })
            .sum(),
    };
    own + inner
}

/// Everything the replica reported about a user, in all answers, with the room that it takes.
#[derive(Debug, Default)]
pub(crate) struct Theirs {
    user: ReplicaUser,
    held: Held,
}

impl Theirs {
    /// Starts with what is known from elsewhere.
    pub(crate) fn knowing(mailboxes: Vec<ReplicaMailbox>) -> Theirs {
        Theirs { user: ReplicaUser { mailboxes, ..ReplicaUser::default() }, ..Theirs::default() }
    }

    /// Adds an answer.
    pub(crate) fn add(&mut self, said: Said) {
        let Said { user, held, .. } = said;
        if self.user.mailboxes.is_empty() {
            self.user.mailboxes = user.mailboxes;
        } else {
            self.user.mailboxes.extend(user.mailboxes);
        }
        self.user.quotas.extend(user.quotas);
        self.user.subscriptions.extend(user.subscriptions);
        self.user.sieve.extend(user.sieve);
        self.user.seen.extend(user.seen);
        self.held.join(held);
    }
}

impl Deref for Theirs {
    type Target = ReplicaUser;

    fn deref(&self) -> &ReplicaUser {
        &self.user
    }
}

impl DerefMut for Theirs {
    fn deref_mut(&mut self) -> &mut ReplicaUser {
        &mut self.user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_and_never_exceeded() {
        let budget = Budget::default();
        let (mut one, mut other) = (budget.hold(), budget.hold());
        assert!(one.set(ROOM_BYTES - 10));
        assert!(!other.set(11) && other.set(10));
        assert!(one.set(5) && other.set(100));
        assert_eq!(budget.used(), 105);
        budget.expect(10);
        assert_eq!(budget.room(), ROOM_BYTES);
        budget.expect(50_000);
        assert!(one.set(ROOM_BYTES + 10) && one.set(5));
        one.join(other);
        assert_eq!(budget.used(), 105);
        drop(one);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn records_become_states_and_lines_what_they_are() {
        let record = |uid: u32| {
            let text = |t: &str| Value::atom(t);
            Value::Map(vec![
                ("UID".into(), text(&uid.to_string())),
                ("MODSEQ".into(), text("5")),
                ("LAST_UPDATED".into(), text("1")),
                ("FLAGS".into(), Value::List(vec![text("\\Expunged")])),
                ("INTERNALDATE".into(), text("1")),
                ("SIZE".into(), text("3")),
                ("GUID".into(), text(&"ab".repeat(20))),
            ])
        };
        let budget = Budget::default();
        let mut said = Said::new(&budget);
        assert!(said.is_empty());
        for uid in 1..=300 {
            said.push_record(&record(uid));
        }
        let head = Value::Map(vec![("LAST_UID".into(), Value::atom("400"))]);
        said.push(Item { name: "MAILBOX".into(), value: head }, true);
        assert_eq!((said.records.last_uid, said.records.records.len()), (Uid(400), 300));
        assert!(said.records.records.iter().all(|r| r.expunged));
        // The head lacks a required key.
        assert!(said.nonsense.is_some() && !said.is_empty());
        said.push_record(&Value::Nil);
        said.push(Item { name: "MISSING".into(), value: Value::atom("x") }, false);
        assert_eq!(said.items.len(), 1);
    }
}
