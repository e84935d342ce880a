//! A synthetic user: made from the plan's seed and the user's number, and then changed step by step.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cyrus_store::MboxEntry;
use cyrus_store::mailbox::record::{FLAG_ANSWERED, FLAG_FLAGGED, FLAG_SEEN};
use cyrus_types::{MailboxName, ModSeq, NameRules, Uid, UidValidity, UniqueId};
use sync_plan::MasterSeen;

use crate::content;
use crate::mailbox::{Flags, Mailbox, Record};
use crate::plan::{Plan, Sizes};
use crate::random::{Random, mix};

/// When the first message arrived, in seconds since 1970; all times are computed from it.
const FIRST_DAY: i64 = 1_700_000_000;

/// A user at one moment. Mailboxes are shared with whoever has them open; a change makes a copy.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) userid: Arc<str>,
    number: usize,
    /// The highest modseq that was given.
    modseq: ModSeq,
    clock: i64,
    /// Mailboxes made so far.
    made: u64,
    /// INBOX first.
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// Deleted mailboxes.
    pub(crate) tombstones: HashMap<UniqueId, MailboxName>,
    /// Former names of renamed mailboxes.
    pub(crate) former: HashMap<UniqueId, Vec<MailboxName>>,
    pub(crate) subscriptions: BTreeSet<MailboxName>,
    pub(crate) seen: Vec<MasterSeen>,
}

/// The user id of this number.
pub(crate) fn userid(number: usize) -> String {
    format!("synth{number:06}")
}

/// The user with this id, if it has the form of ours.
pub(crate) fn number_of(name: &str) -> Option<usize> {
    let number = name.strip_prefix("synth")?.parse().ok()?;
    (userid(number) == name).then_some(number)
}

/// The user that has, or had, the mailbox with this unique id.
pub(crate) fn number_of_id(uniqueid: &UniqueId) -> Option<usize> {
    usize::from_str_radix(uniqueid.as_str().get(..8)?, 16).ok()
}

fn uniqueid(plan: &Plan, number: usize, made: u64) -> UniqueId {
    let hash = mix(&[plan.seed, number as u64, made]) as u32;
    UniqueId::new(format!("{number:08x}{made:08x}{hash:08x}"))
}

impl User {
    /// A user as planned.
    pub(crate) fn make(plan: &Plan, rules: &NameRules, flags: &Flags, number: usize) -> User {
        let mut user = User {
            userid: userid(number).into(),
            number,
            modseq: ModSeq::ZERO,
            clock: FIRST_DAY,
            made: 0,
            mailboxes: Vec::new(),
            tombstones: HashMap::new(),
            former: HashMap::new(),
            subscriptions: BTreeSet::new(),
            seen: Vec::new(),
        };
        let mut random = Random::new(mix(&[plan.seed, number as u64]));
        let mut buffer = Vec::new();
        for mailbox in 0..plan.mailboxes.max(1) {
            let name = user.name_of_folder(rules, mailbox);
            user.create(plan, name.clone());
            if mailbox % 2 == 1 {
                user.subscriptions.insert(name);
            }
            user.append(plan, flags, &mut random, mailbox, plan.messages, &mut buffer);
        }
        user
    }

    /// The name of the INBOX (0) or of another folder.
    pub(crate) fn name_of_folder(&self, rules: &NameRules, folder: usize) -> MailboxName {
        let inbox = rules.user_inbox(&self.userid);
        match folder {
            0 => inbox,
            folder => MailboxName::new(format!("{inbox}.folder{folder:03}")),
        }
    }

    /// Makes an empty mailbox.
    pub(crate) fn create(&mut self, plan: &Plan, name: MailboxName) {
        let modseq = self.next_modseq();
        self.made += 1;
        let entry = MboxEntry {
            name,
            uniqueid: uniqueid(plan, self.number, self.made),
            partition: "default".into(),
            acl: format!("{}\tlrswipkxtecdan\t", self.userid),
            uidvalidity: UidValidity(FIRST_DAY as u32 + self.made as u32),
            createdmodseq: modseq,
            foldermodseq: modseq,
            mtime: self.clock,
            ..MboxEntry::default()
        };
        self.mailboxes.push(Arc::new(Mailbox::new(entry)));
    }

    /// Adds new messages to a mailbox.
    pub(crate) fn append(
        &mut self,
        plan: &Plan,
        flags: &Flags,
        random: &mut Random,
        mailbox: usize,
        messages: usize,
        buffer: &mut Vec<u8>,
    ) {
        for _ in 0..messages {
            let modseq = self.next_modseq();
            let arrived = self.clock;
            let Some(mailbox) = self.mailboxes.get_mut(mailbox).map(Arc::make_mut) else { return };
            // A mailbox never gets the same UID twice, and its unique id is never given again.
            let made = self.made;
            let number = mix(&[plan.seed, self.number as u64, made, modseq.0]);
            let size = size_of(plan.sizes, number);
            let chance = random.below(100);
            let set = |below, flag| if chance < below { flag } else { 0 };
            mailbox.append(
                flags,
                Record {
                    uid: Uid::NONE,
                    number,
                    size,
                    guid: content::guid(number, size, buffer),
                    modseq,
                    createdmodseq: modseq,
                    arrived,
                    changed: arrived,
                    flags: set(60, FLAG_SEEN) | set(10, FLAG_FLAGGED) | set(5, FLAG_ANSWERED),
                    user_flags: u32::from(chance % 7 == 3),
                    expunged: false,
                    unlinked: false,
                },
            );
        }
    }

    /// The next modseq; a second has passed.
    pub(crate) fn next_modseq(&mut self) -> ModSeq {
        self.clock += 1;
        self.modseq = ModSeq(self.modseq.0 + 1);
        self.modseq
    }

    /// Now, in seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.clock
    }

    /// The mailbox of this name.
    pub(crate) fn mailbox(&self, name: &MailboxName) -> Option<&Arc<Mailbox>> {
        self.mailboxes.iter().find(|mailbox| mailbox.entry.name == *name)
    }

    /// The mailbox with this unique id.
    pub(crate) fn with_id(&self, uniqueid: &UniqueId) -> Option<&Arc<Mailbox>> {
        self.mailboxes.iter().find(|mailbox| mailbox.entry.uniqueid == *uniqueid)
    }

    /// How many records it has.
    pub(crate) fn records(&self) -> usize {
        self.mailboxes.iter().map(|mailbox| mailbox.records().len()).sum()
    }
}

fn size_of(sizes: Sizes, number: u64) -> u64 {
    match sizes {
        Sizes::Fixed(bytes) => bytes,
        Sizes::Between(least, most) => least + mix(&[number]) % (most.saturating_sub(least) + 1),
    }
}
