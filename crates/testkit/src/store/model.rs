//! The contents of a store, as plain values.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::message::{self, Body};
use super::{Bodies, Plan, Sizes};

/// When the first message arrived; all times are computed from it, so that nothing depends on the clock.
const FIRST_DAY: i64 = 1_700_000_000;

/// \Seen, \Flagged, \Answered, \Draft and \Deleted as an index has them.
pub(crate) const SEEN: u32 = 1 << 4;
pub(crate) const DELETED: u32 = 1 << 2;
pub(crate) const FLAGGED: u32 = 1 << 1;
pub(crate) const ANSWERED: u32 = 1 << 0;
/// Expunged, its file still there.
pub(crate) const EXPUNGED: u32 = 1 << 31;

/// A message in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// UID.
    pub uid: u32,
    /// Modseq of its last change.
    pub modseq: u64,
    /// Modseq of its arrival.
    pub createdmodseq: u64,
    /// Flags as `cyrus.index` has them, `1 << 31` for an expunged one among them.
    pub flags: u32,
    /// Whether it has the mailbox's one user flag, `$Label1`.
    pub labelled: bool,
    /// When it arrived, last changed, and was saved: Unix seconds.
    pub time: i64,
    /// When it last changed.
    pub last_updated: i64,
    /// Which message it is: equal numbers have equal texts.
    pub number: u64,
    /// Bytes of the text behind the header, roughly.
    pub length: usize,
    /// SHA-1 of the file.
    pub guid: [u8; 20],
    /// Bytes of the file.
    pub size: u32,
}

impl Message {
    /// Whether it is expunged.
    #[must_use]
    pub fn is_expunged(&self) -> bool {
        self.flags & EXPUNGED != 0
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        message::text(self.number, self.length).text
    }
}

/// A mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Internal name, `user.anna.Sent`.
    pub name: String,
    /// Unique id.
    pub uniqueid: String,
    /// Its owner's user id.
    pub owner: String,
    /// UIDVALIDITY.
    pub uidvalidity: u32,
    /// Highest UID ever assigned.
    pub last_uid: u32,
    /// Highest modseq in the mailbox.
    pub highestmodseq: u64,
    /// Modseq of its creation.
    pub createdmodseq: u64,
    /// Its messages by UID.
    pub messages: Vec<Message>,
    /// It is a tombstone: deleted, but remembered.
    pub deleted: bool,
    /// Modseq of its last change of name or state.
    pub foldermodseq: u64,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub userid: String,
    /// INBOX first; tombstones too.
    pub mailboxes: Vec<Mailbox>,
    /// Internal names of subscribed mailboxes.
    pub subscriptions: Vec<String>,
    /// Highest modseq of the user.
    pub highestmodseq: u64,
}

/// All of a store.
#[derive(Debug)]
pub struct Model {
    /// The users.
    pub users: Vec<User>,
    pub(crate) plan: Plan,
    pub(crate) rng: StdRng,
    /// Messages made so far: the next one's number.
    pub(crate) made: u64,
}

impl Model {
    pub(crate) fn new(plan: &Plan) -> Model {
        let rng = StdRng::seed_from_u64(plan.seed);
        let mut model = Model { users: Vec::new(), plan: plan.clone(), rng, made: 0 };
        for number in 0..plan.users {
            let user = model.user(number);
            model.users.push(user);
        }
        model
    }

    fn user(&mut self, number: usize) -> User {
        let userid = format!("user{number:05}");
        let mut user =
            User { mailboxes: Vec::new(), subscriptions: Vec::new(), highestmodseq: 0, userid };
        for folder in 0..self.plan.mailboxes.max(1) {
            let name = match folder {
                0 => format!("user.{}", user.userid),
                n => format!("user.{}.folder{n:04}", user.userid),
            };
            let mut mailbox = self.mailbox(&mut user, name);
            self.append(&mut user, &mut mailbox, self.plan.messages);
            if folder % 2 == 1 {
                user.subscriptions.push(mailbox.name.clone());
            }
            user.mailboxes.push(mailbox);
        }
        user
    }

    /// A new mailbox without messages.
    pub(crate) fn mailbox(&mut self, user: &mut User, name: String) -> Mailbox {
        const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let letter = |rng: &mut StdRng| char::from(LETTERS[rng.random_range(0..LETTERS.len())]);
        user.highestmodseq += 1;
        Mailbox {
            name,
            uniqueid: (0..24).map(|_| letter(&mut self.rng)).collect(),
            owner: user.userid.clone(),
            uidvalidity: FIRST_DAY as u32 + self.rng.random_range(0..1_000_000),
            last_uid: 0,
            highestmodseq: user.highestmodseq,
            createdmodseq: user.highestmodseq,
            messages: Vec::new(),
            deleted: false,
            foldermodseq: user.highestmodseq,
        }
    }

    /// New messages at a mailbox's end.
    pub(crate) fn append(&mut self, user: &mut User, mailbox: &mut Mailbox, count: usize) {
        mailbox.messages.reserve(count);
        for _ in 0..count {
            user.highestmodseq += 1;
            mailbox.last_uid += 1;
            mailbox.highestmodseq = user.highestmodseq;
            let number = match self.plan.bodies {
                Bodies::Distinct => self.made,
                Bodies::Repeated(different) => self.made % different.max(1) as u64,
            };
            self.made += 1;
            let length = self.length(number);
            let Body { guid, size, .. } = message::described(number, length);
            let time = FIRST_DAY + (self.made % 20_000_000) as i64;
            let chance: u32 = self.rng.random_range(0..100);
            let mut flags = 0;
            for (below, flag) in [(60, SEEN), (10, FLAGGED), (5, ANSWERED), (2, DELETED)] {
                if chance < below {
                    flags |= flag;
                }
            }
            mailbox.messages.push(Message {
                uid: mailbox.last_uid,
                modseq: user.highestmodseq,
                createdmodseq: user.highestmodseq,
                flags,
                labelled: chance % 7 == 3,
                time,
                last_updated: time,
                number,
                length,
                guid,
                size,
            });
        }
    }

    /// The length of message `number`: it depends on the number alone, so that repeated ones agree.
    fn length(&self, number: u64) -> usize {
        match self.plan.sizes {
            Sizes::Fixed(bytes) => bytes.saturating_sub(message::HEADER_BYTES),
            Sizes::Spread { median, most } => {
                let mut rng = StdRng::seed_from_u64(self.plan.seed ^ number.rotate_left(17));
                let doublings: f64 = rng.random_range(-3.0..3.0);
                let bytes = (median as f64 * doublings.exp2()) as usize;
                let rare = rng.random_range(0..200) == 0;
                if rare { rng.random_range(median..most.max(median + 1)) } else { bytes.min(most) }
            }
        }
    }
}
