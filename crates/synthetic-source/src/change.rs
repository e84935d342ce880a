//! What may happen to a user in a step.

use std::sync::Arc;

use cyrus_store::Annotation;
use cyrus_store::mailbox::record::{
    FLAG_ANSWERED, FLAG_DELETED, FLAG_DRAFT, FLAG_FLAGGED, FLAG_SEEN,
};
use cyrus_types::{LogEntry, MailboxName, ModSeq, NameRules, Uid, UniqueId};
use sync_plan::MasterSeen;

use crate::mailbox::{FLAGS, Flags, Mailbox, Record};
use crate::plan::Plan;
use crate::random::Random;
use crate::user::User;

/// How many names there are for a user's folders: few, so that a deleted mailbox's name is used again.
const NAMES: usize = 12;

/// What happened. Names are internal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// So many messages arrived.
    Appended(MailboxName, usize),
    /// Messages were copied from one mailbox to another, or moved.
    Copied {
        /// Where they were.
        from: MailboxName,
        /// Where they are.
        to: MailboxName,
        /// Whether they were expunged there.
        moved: bool,
    },
    /// Flags of messages changed.
    Flagged(MailboxName),
    /// Messages were expunged; their content may be gone.
    Expunged(MailboxName),
    /// Expunged messages were forgotten.
    CleanedUp(MailboxName),
    /// An annotation of a message was set, or one of the mailbox itself was set or removed.
    Annotated(MailboxName),
    /// Somebody looked at the mailbox.
    Selected(MailboxName),
    /// A new mailbox.
    Created(MailboxName),
    /// A mailbox has another name.
    Renamed {
        /// Its former name.
        from: MailboxName,
        /// Its name now.
        to: MailboxName,
    },
    /// A mailbox was deleted, and left a tombstone.
    Deleted(MailboxName),
    /// A subscription was added or removed.
    Subscribed(MailboxName),
    /// The user read messages of somebody else's.
    Seen(UniqueId),
}

impl Change {
    /// The line that Cyrus would write into its sync log for this change of a user.
    #[must_use]
    pub fn log_entry(&self, userid: &str) -> LogEntry {
        match self.clone() {
            Change::Appended(name, _)
            | Change::Flagged(name)
            | Change::Expunged(name)
            | Change::CleanedUp(name)
            | Change::Annotated(name)
            | Change::Selected(name)
            | Change::Created(name) => LogEntry::Mailbox(name),
            Change::Copied { from, to, .. } => LogEntry::DoubleMailbox(from, to),
            Change::Renamed { from, to } => LogEntry::Rename(from, to),
            Change::Deleted(name) => LogEntry::Unmailbox(name),
            Change::Subscribed(name) => LogEntry::Sub(userid.into(), name),
            Change::Seen(_) => LogEntry::Meta(userid.into()),
        }
    }
}

/// Changes one user.
pub(crate) struct Changer<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) rules: &'a NameRules,
    pub(crate) flags: &'a Flags,
    pub(crate) random: &'a mut Random,
    pub(crate) user: &'a mut User,
}

impl Changer<'_> {
    /// Makes one change; `None` if what was drawn is not possible now.
    pub(crate) fn change(&mut self) -> Option<Change> {
        let at = self.random.below(self.user.mailboxes.len());
        match self.random.below(100) {
            0..20 => self.append(at),
            20..28 => self.copy(at, false),
            28..36 => self.copy(at, true),
            36..52 => self.flag(at),
            52..64 => self.expunge(at),
            64..68 => self.clean_up(at),
            68..74 => self.annotate_message(at),
            74..78 => self.annotate(at),
            78..82 => self.select(at),
            82..87 => self.create(),
            87..92 => self.rename(at),
            92..95 => self.delete(at),
            95..98 => self.subscribe(),
            _ => self.see(),
        }
    }

    fn name(&self, at: usize) -> Option<MailboxName> {
        self.user.mailboxes.get(at).map(|mailbox| mailbox.entry.name.clone())
    }

    fn mailbox(&mut self, at: usize) -> Option<&mut Mailbox> {
        self.user.mailboxes.get_mut(at).map(Arc::make_mut)
    }

    /// Some messages of a mailbox that are not expunged.
    fn some_messages(&mut self, at: usize) -> Vec<Record> {
        let Some(mailbox) = self.user.mailboxes.get(at) else { return Vec::new() };
        let mut live: Vec<Record> =
            mailbox.records().iter().filter(|r| !r.expunged).copied().collect();
        let wanted = 1 + self.random.below(5);
        while live.len() > wanted {
            let away = self.random.below(live.len());
            live.remove(away);
        }
        live
    }

    fn append(&mut self, at: usize) -> Option<Change> {
        let messages = 1 + self.random.below(8);
        self.user.append(self.plan, self.flags, self.random, at, messages, &mut Vec::new());
        Some(Change::Appended(self.name(at)?, messages))
    }

    fn copy(&mut self, at: usize, moved: bool) -> Option<Change> {
        let to = self.random.below(self.user.mailboxes.len());
        let messages = self.some_messages(at);
        if to == at || messages.is_empty() {
            return None;
        }
        let flags = self.flags;
        for message in messages {
            let modseq = self.user.next_modseq();
            let now = self.user.now();
            let copy = Record { modseq, createdmodseq: modseq, changed: now, ..message };
            self.mailbox(to)?.append(flags, copy);
            if moved {
                let modseq = self.user.next_modseq();
                let gone = self.random.percent(50);
                self.mailbox(at)?.change(flags, message.uid, modseq, |record, _| {
                    (record.expunged, record.unlinked, record.changed) = (true, gone, now);
                });
            }
        }
        Some(Change::Copied { from: self.name(at)?, to: self.name(to)?, moved })
    }

    fn flag(&mut self, at: usize) -> Option<Change> {
        let messages = self.some_messages(at);
        let system = [FLAG_SEEN, FLAG_FLAGGED, FLAG_ANSWERED, FLAG_DRAFT, FLAG_DELETED];
        for message in &messages {
            let modseq = self.user.next_modseq();
            let (now, flags) = (self.user.now(), self.flags);
            let user = self.random.below(FLAGS.len() * 2);
            let drawn = system.get(self.random.below(system.len())).copied().unwrap_or_default();
            self.mailbox(at)?.change(flags, message.uid, modseq, |record, _| {
                record.changed = now;
                match user < FLAGS.len() {
                    true => record.user_flags ^= 1 << user,
                    false => record.flags ^= drawn,
                }
            });
        }
        (!messages.is_empty()).then_some(Change::Flagged(self.name(at)?))
    }

    fn expunge(&mut self, at: usize) -> Option<Change> {
        let messages = self.some_messages(at);
        for message in &messages {
            let modseq = self.user.next_modseq();
            let (now, flags, gone) = (self.user.now(), self.flags, self.random.percent(50));
            self.mailbox(at)?.change(flags, message.uid, modseq, |record, _| {
                (record.expunged, record.unlinked, record.changed) = (true, gone, now);
            });
        }
        (!messages.is_empty()).then_some(Change::Expunged(self.name(at)?))
    }

    fn clean_up(&mut self, at: usize) -> Option<Change> {
        self.mailbox(at)?.clean_up();
        Some(Change::CleanedUp(self.name(at)?))
    }

    /// A message's annotation is never removed: a replica leaves those alone that a record has lost.
    fn annotate_message(&mut self, at: usize) -> Option<Change> {
        let message = *self.some_messages(at).first()?;
        let modseq = self.user.next_modseq();
        let new = annotation(modseq, self.value());
        let flags = self.flags;
        self.mailbox(at)?.change(flags, message.uid, modseq, |_, annotations| {
            *annotations = vec![new];
        });
        Some(Change::Annotated(self.name(at)?))
    }

    fn annotate(&mut self, at: usize) -> Option<Change> {
        let new = annotation(ModSeq::ZERO, self.value());
        let annotations = &mut self.mailbox(at)?.annotations;
        match annotations.is_empty() {
            true => annotations.push(new),
            false => annotations.clear(),
        }
        Some(Change::Annotated(self.name(at)?))
    }

    fn value(&mut self) -> Vec<u8> {
        format!("{:x}", self.random.next()).into_bytes()
    }

    fn select(&mut self, at: usize) -> Option<Change> {
        let now = self.user.now();
        let mailbox = self.mailbox(at)?;
        (mailbox.recentuid, mailbox.recenttime) = (mailbox.last_uid, now);
        Some(Change::Selected(self.name(at)?))
    }

    /// A name that no mailbox has.
    fn free_name(&mut self) -> Option<MailboxName> {
        let folder = 1 + self.random.below(NAMES);
        let name = self.user.name_of_folder(self.rules, folder);
        self.user.mailbox(&name).is_none().then_some(name)
    }

    fn create(&mut self) -> Option<Change> {
        let name = self.free_name()?;
        self.user.create(self.plan, name.clone());
        Some(Change::Created(name))
    }

    fn rename(&mut self, at: usize) -> Option<Change> {
        let to = self.free_name().filter(|_| at > 0)?;
        let modseq = self.user.next_modseq();
        let mailbox = self.mailbox(at)?;
        let from = std::mem::replace(&mut mailbox.entry.name, to.clone());
        mailbox.entry.foldermodseq = modseq;
        mailbox.highestmodseq = modseq;
        let uniqueid = mailbox.entry.uniqueid.clone();
        self.user.former.entry(uniqueid).or_default().push(from.clone());
        Some(Change::Renamed { from, to })
    }

    fn delete(&mut self, at: usize) -> Option<Change> {
        if at == 0 {
            return None;
        }
        let gone = self.user.mailboxes.remove(at);
        let (name, uniqueid) = (gone.entry.name.clone(), gone.entry.uniqueid.clone());
        self.user.former.remove(&uniqueid);
        self.user.tombstones.insert(uniqueid, name.clone());
        Some(Change::Deleted(name))
    }

    fn subscribe(&mut self) -> Option<Change> {
        let name = self.user.name_of_folder(self.rules, 1 + self.random.below(NAMES));
        if !self.user.subscriptions.remove(&name) {
            self.user.subscriptions.insert(name.clone());
        }
        Some(Change::Subscribed(name))
    }

    /// A user's own mailboxes hold the seen state themselves; the entry is about another's, which may not even exist.
    fn see(&mut self) -> Option<Change> {
        let uniqueid = UniqueId::new(format!("elsewhere{:015x}", self.random.below(4)));
        let (now, last) = (self.user.now(), 1 + self.random.below(1000) as u32);
        self.user.seen.retain(|seen| seen.uniqueid != uniqueid);
        self.user.seen.push(MasterSeen {
            uniqueid: uniqueid.clone(),
            lastread: now,
            lastuid: Uid(last),
            lastchange: now,
            seenuids: format!("1:{last}"),
        });
        Some(Change::Seen(uniqueid))
    }
}

fn annotation(modseq: ModSeq, value: Vec<u8>) -> Annotation {
    Annotation { entry: "/comment".into(), userid: String::new(), modseq, value }
}
