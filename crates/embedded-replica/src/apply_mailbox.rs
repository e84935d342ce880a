//! APPLY MAILBOX, after it was read (`new_mailbox.rs`): checked as a whole, then carried out.
//!
//! ```text
//!   check:  name and unique id, SINCE_*, modseq, UIDVALIDITY, last UID, each record against ours
//!   do:     header, annotations, records; then SYNC_CRC* must agree, or IMAP_SYNC_CHECKSUM
//! ```
//! Source: `sync_apply_mailbox`, `sync_mailbox_compare_update`, `parse_upload` of
//! `imap/sync_support.c` of cyrus-imapd 3.6.1. As in Cyrus, a wrong SYNC_CRC is only reported after the change.

use std::sync::{Arc, Mutex};

use cyrus_types::{ModSeq, Uid};

use crate::mailbox::{Annot, Flags, Head, Mailbox, Record};
use crate::names::owner;
use crate::new_mailbox::{NewMailbox, NewRecord};
use crate::refusal::{BAD_PARAMETERS, CHANGED, CHECKSUM, MOVED, OTHER, PROTOCOL, Refusal};
use crate::session::Session;
use crate::state::{Entry, Intermediate, lock};

impl Session<'_> {
    pub(crate) fn apply_mailbox(&mut self, mut new: NewMailbox) -> Result<(), Refusal> {
        self.forget_what_is_newer(&mut new);
        let kind = new.head.mboxtype.clone().unwrap_or_default();
        if kind.contains('s') && !self.sieve_mailbox {
            return Err(BAD_PARAMETERS);
        }
        if kind.contains('i') || kind.contains('d') {
            return self.put_intermediate(&new.head, kind);
        }
        if new.lacks_something() {
            return Err(BAD_PARAMETERS);
        }
        let (mailbox, made) = self.open_or_make(&new.head)?;
        let mut mailbox = lock(&mailbox);
        if mailbox.gone {
            return Err(MOVED);
        }
        // As in Cyrus, a mailbox that was just made stays, empty, when this fails.
        self.check(&mailbox, &new, made)?;
        self.carry_out(&mut mailbox, new)
    }

    /// A key that the played version does not know is ignored.
    fn forget_what_is_newer(&self, new: &mut NewMailbox) {
        let version = self.version();
        let head = &mut new.head;
        if !version.has_modseqs() {
            new.since = (ModSeq::ZERO, 0, 0);
            (head.createdmodseq, head.foldermodseq) = (ModSeq::ZERO, ModSeq::ZERO);
            // Unknown type letters are not refused.
            head.mboxtype =
                head.mboxtype.take().map(|t| t.replace(['i', 's'], "")).filter(|t| !t.is_empty());
        } else {
            head.annotations.truncate(new.with_modseq);
        }
        if !version.has_user_flags() {
            new.user_flags.clear();
            new.groups = None;
        }
        if !version.has_jmapid() {
            (head.jmapid, head.index_version) = (String::new(), 0);
            head.deletedmodseq = ModSeq::ZERO;
        }
    }

    fn put_intermediate(&self, head: &Head, mboxtype: String) -> Result<(), Refusal> {
        if head.uniqueid.is_empty() || head.name.is_empty() {
            return Err(BAD_PARAMETERS);
        }
        let mut names = lock(&self.shared.state.names);
        if matches!(names.get(&head.name), Some(Entry::Mailbox { .. })) {
            return Err(OTHER);
        }
        // From 3.6 on plain mail has a letter too, which is only sent if there is another one.
        let is_mail = self.version().has_email_letter() && matches!(&*mboxtype, "i" | "d");
        let mboxtype = if is_mail { format!("e{mboxtype}") } else { mboxtype };
        names.insert(Entry::Intermediate(Intermediate {
            name: head.name.clone(),
            uniqueid: head.uniqueid.clone(),
            mboxtype,
            createdmodseq: head.createdmodseq,
            foldermodseq: head.highestmodseq,
        }));
        Ok(())
    }

    /// The mailbox of this name, and whether it was made just now.
    fn open_or_make(&self, head: &Head) -> Result<(Arc<Mutex<Mailbox>>, bool), Refusal> {
        let mut names = lock(&self.shared.state.names);
        if let Some(Entry::Mailbox { uniqueid, mailbox, .. }) = names.get(&head.name) {
            if *uniqueid == head.uniqueid {
                return Ok((mailbox.clone(), false));
            }
            let mut old = lock(mailbox);
            let replaced = self.version().replaces_empty() && old.head.last_uid == Uid::NONE;
            if !self.shared.state.force() && !replaced {
                return Err(self.moved());
            }
            old.gone = true;
        } else if self.version().has_modseqs()
            && names.of_id(&head.uniqueid).is_some_and(|e| *e.name() != head.name)
        {
            return Err(MOVED);
        }
        if !self.has_partition(&head.partition) {
            return Err(OTHER);
        }
        let mut mailbox = Mailbox::default();
        mailbox.head.uniqueid.clone_from(&head.uniqueid);
        mailbox.head.name.clone_from(&head.name);
        mailbox.head.partition.clone_from(&head.partition);
        mailbox.head.mboxtype.clone_from(&head.mboxtype);
        mailbox.head.acl.clone_from(&head.acl);
        mailbox.head.uidvalidity = head.uidvalidity;
        // If the master has none, it is taken from the modseq.
        mailbox.head.jmapid = match &*head.jmapid {
            "" => format!("P{:x}", head.createdmodseq.0),
            jmapid => jmapid.to_string(),
        };
        mailbox.head.index_version = match head.index_version {
            0 => 20,
            version => version,
        };
        mailbox.head.deletedmodseq = head.deletedmodseq;
        let mailbox = Arc::new(Mutex::new(mailbox));
        names.insert(Entry::Mailbox {
            name: head.name.clone(),
            uniqueid: head.uniqueid.clone(),
            mailbox: mailbox.clone(),
        });
        Ok((mailbox, true))
    }

    /// Another mailbox has this name: 3.0 has no code for that.
    pub(crate) fn moved(&self) -> Refusal {
        if self.version().has_modseqs() { MOVED } else { OTHER }
    }

    /// Whether all of it can be carried out.
    fn check(&self, ours: &Mailbox, new: &NewMailbox, made: bool) -> Result<(), Refusal> {
        let head = &ours.head;
        let (modseq, crc, crc_annot) = new.since;
        if !modseq.is_zero() {
            let (basic, annot) = ours.crcs();
            let differs = |said: u32, is: u32| said != 0 && is != 0 && said != is;
            if modseq != head.highestmodseq || differs(crc, basic) || differs(crc_annot, annot) {
                return Err(CHANGED);
            }
        }
        if head.mboxtype != new.head.mboxtype {
            return Err(OTHER);
        }
        let force = self.shared.state.force();
        let behind = new.head.highestmodseq < head.highestmodseq
            || new.head.uidvalidity < head.uidvalidity
            || new.head.last_uid < head.last_uid
            || (self.shared.options.conversations
                && !new.head.xconvmodseq.is_zero()
                && new.head.xconvmodseq < head.xconvmodseq);
        if behind && !force && !made {
            return Err(CHECKSUM);
        }
        for record in &new.records {
            self.check_record(ours, record, force)?;
        }
        Ok(())
    }

    fn check_record(&self, ours: &Mailbox, new: &NewRecord, force: bool) -> Result<(), Refusal> {
        if self.version().has_modseqs() && new.with_modseq < new.annotations.len() {
            return Err(PROTOCOL);
        }
        match ours.record(new.uid) {
            Some(old) if old.is_expunged() && new.is_expunged() => Ok(()),
            Some(old) => {
                let differs = new.guid != Some(old.guid)
                    || (old.modseq > new.modseq && !force)
                    || (old.is_expunged() && !new.is_expunged());
                if differs { Err(CHECKSUM) } else { Ok(()) }
            }
            None if new.uid <= ours.head.last_uid => {
                if new.is_expunged() {
                    Ok(())
                } else {
                    Err(CHECKSUM)
                }
            }
            None if new.is_expunged() => Ok(()),
            None => {
                let guid = new.guid.unwrap_or_default();
                let staged = self.staged.get(&ours.head.partition, &guid);
                staged.map(|_| ()).ok_or(OTHER)
            }
        }
    }

    fn carry_out(&mut self, ours: &mut Mailbox, new: NewMailbox) -> Result<(), Refusal> {
        let last_uid = ours.head.last_uid;
        for record in new.records {
            self.put_record(ours, record, last_uid);
        }
        ours.flags(new.user_flags.iter().map(String::as_str));
        if let (Some(groups), Some(userid)) = (new.groups, owner(ours.head.name.as_str())) {
            let mut groups: Vec<&str> = groups.split('\t').collect();
            groups.sort_unstable();
            self.with_user(&userid, |user| user.groups = groups.join("\t"));
        }
        let version = self.version();
        let mut head = new.head;
        let old = &mut ours.head;
        *old = Head {
            name: std::mem::take(&mut old.name),
            uniqueid: std::mem::take(&mut old.uniqueid),
            partition: std::mem::take(&mut old.partition),
            // A modseq only rises, except with FORCE.
            xconvmodseq: match head.xconvmodseq {
                ModSeq::ZERO => old.xconvmodseq,
                modseq => modseq,
            },
            foldermodseq: match head.foldermodseq {
                ModSeq::ZERO if !version.has_modseqs() => ModSeq::ZERO,
                ModSeq::ZERO => head.highestmodseq,
                modseq => modseq,
            },
            jmapid: match &*head.jmapid {
                "" => std::mem::take(&mut old.jmapid),
                _ => std::mem::take(&mut head.jmapid),
            },
            // Set when the mailbox is made, and never changed by a master.
            index_version: old.index_version,
            deletedmodseq: old.deletedmodseq,
            raclmodseq: ModSeq::ZERO,
            ..head
        };
        let differs = |said: u32, is: u32| said != 0 && is != 0 && said != is;
        let (basic, annot) = ours.crcs();
        if differs(new.crcs.0, basic) || differs(new.crcs.1, annot) {
            return Err(CHECKSUM);
        }
        Ok(())
    }

    fn put_record(&self, ours: &mut Mailbox, new: NewRecord, last_uid: Uid) {
        let guid = new.guid.unwrap_or_default();
        let expunged = new.is_expunged();
        let (body, mut annotations) = match ours.record(new.uid) {
            Some(old) if old.is_expunged() && expunged => return,
            // Stored annotations that are not mentioned stay; virtual ones come with the record.
            Some(old) => {
                let stay = |a: &&Annot| {
                    let said = |n: &Annot| n.entry == a.entry && n.userid == a.userid;
                    !a.is_virtual() && !new.annotations.iter().any(said)
                };
                let stored = old.annotations.iter().filter(stay).cloned().collect();
                (old.body.clone(), stored)
            }
            None if new.uid <= last_uid => return,
            None => {
                let staged = self.staged.get(&ours.head.partition, &guid);
                (staged.cloned().flatten(), Vec::new())
            }
        };
        annotations.extend(new.annotations);
        let flags: Flags = ours.flags(new.flags.iter().map(|f| &**f));
        ours.put(Record {
            uid: new.uid,
            modseq: new.modseq,
            last_updated: new.last_updated,
            internaldate: new.internaldate,
            size: new.size,
            guid,
            flags,
            annotations,
            body,
        });
    }
}
