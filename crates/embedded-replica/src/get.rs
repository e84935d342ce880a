//! GET: what the replica reports about its contents.
//!
//! Source: `sync_get_*`, `sync_mailbox_byentry`, `user_meta` of `imap/sync_support.c` of
//! cyrus-imapd 3.6.1.

use csync::{DlistWriter, IntermediateHead, Value, intermediate_line, mailbox_line};
use cyrus_types::{Guid, MailboxName, Uid, UidValidity, UniqueId};
use sha1::{Digest, Sha1};

use crate::mailbox::{Annot, Mailbox, Record, lines};
use crate::names::owner;
use crate::refusal::{BAD_PARAMETERS, NONEXISTENT, PROTOCOL, Refusal};
use crate::session::Session;
use crate::state::{Entry, Quota, lock};
use crate::version::Version;

impl Session<'_> {
    pub(crate) fn get(&mut self, name: &str, value: &Value) -> Result<(), Refusal> {
        match name {
            "GET USER" => self.get_user(text(value)?),
            "GET META" => self.get_meta(text(value)?),
            "GET MAILBOXES" => {
                for name in texts(value)? {
                    let name = MailboxName::new(name);
                    let entry = lock(&self.shared.state.names).get(&name).cloned();
                    self.say_entry(entry.as_ref());
                }
            }
            "GET UNIQUEIDS" if self.version().has_modseqs() => {
                for id in texts(value)? {
                    let entry = lock(&self.shared.state.names).of_id(&UniqueId::new(id)).cloned();
                    self.say_entry(entry.as_ref());
                }
            }
            "GET QUOTA" => self.say_quota(text(value)?),
            "GET FULLMAILBOX" => self.get_fullmailbox(&MailboxName::new(text(value)?))?,
            "GET ANNOTATION" => self.get_annotation(&MailboxName::new(text(value)?)),
            "GET FETCH" => self.get_fetch(value)?,
            "GET FETCH_SIEVE" => self.get_script(value)?,
            _ => return Err(PROTOCOL),
        }
        Ok(())
    }

    /// Whether this command ends the process.
    pub(crate) fn dies_of(&self, name: &str, value: &Value) -> bool {
        let names = lock(&self.shared.state.names);
        let unknown = |id: &&str| names.of_id(&UniqueId::new(*id)).is_none();
        self.version().dies_of_unknown_ids()
            && name == "GET UNIQUEIDS"
            && texts(value).is_ok_and(|ids| ids.iter().any(unknown))
    }

    /// `* `, then what `write` writes, then the line's end.
    fn line(&mut self, write: impl FnOnce(&mut DlistWriter<'_>)) {
        let out = &mut self.wire.out;
        out.extend_from_slice(b"* ");
        write(&mut DlistWriter::new(out).as_server());
        out.extend_from_slice(b"\r\n");
    }

    fn get_user(&mut self, userid: &str) {
        let entries = lock(&self.shared.state.names).of_user(userid);
        let mut roots: Vec<String> = Vec::new();
        let mut exists = false;
        for entry in &entries {
            self.say_entry(Some(entry));
            if let Entry::Mailbox { name, .. } = entry {
                exists = true;
                if let Some(root) = self.shared.state.quotaroot(name)
                    && !roots.contains(&root)
                {
                    roots.push(root);
                }
            }
        }
        for root in roots {
            self.say_quota(&root);
        }
        if exists || self.version().says_meta_of_nobody() {
            self.get_meta(userid);
        }
    }

    fn get_meta(&mut self, userid: &str) {
        let users = &self.shared.state.users;
        let users = lock(users);
        let Some(user) = users.get(userid) else { return };
        let seen: Vec<_> = user.seen.clone().into_iter().collect();
        let subscriptions: Vec<MailboxName> = user.subscriptions.values().cloned().collect();
        let active = user.active.clone();
        let scripts: Vec<_> = user.scripts.clone().into_iter().collect();
        drop(users);
        for (uniqueid, seen) in seen {
            self.line(|w| {
                w.key("SEEN").map_begin().key("UNIQUEID").atom(uniqueid.as_str());
                w.key("LASTREAD").date(seen.lastread).key("LASTUID").uid(seen.lastuid);
                w.key("LASTCHANGE")
                    .date(seen.lastchange)
                    .key("SEENUIDS")
                    .atom(seen.seenuids)
                    .map_end();
            });
        }
        if !subscriptions.is_empty() {
            self.line(|w| {
                w.key("LSUB").list_begin();
                for name in subscriptions {
                    w.atom(name.as_str());
                }
                w.list_end();
            });
        }
        if self.sieve_mailbox {
            return;
        }
        for (filename, script) in scripts {
            let guid = Guid(Sha1::digest(&script.content).into());
            self.say_script(&filename, script.last_update, guid, false);
        }
        // The active script is named as bytecode.
        if let Some(bare) = active {
            self.say_script(&format!("{bare}.bc"), 0, Guid::default(), true);
        }
    }

    fn say_script(&mut self, filename: &str, last_update: i64, guid: Guid, is_active: bool) {
        self.line(|w| {
            w.key("SIEVE").map_begin().key("FILENAME").atom(filename);
            w.key("LAST_UPDATE").date(last_update).key("GUID").guid(&guid);
            w.key("ISACTIVE").num(is_active.into()).map_end();
        });
    }

    fn say_entry(&mut self, entry: Option<&Entry>) {
        match entry {
            None => {}
            Some(Entry::Intermediate(_)) if !self.version().says_intermediates() => {}
            Some(Entry::Intermediate(i)) => {
                let head = IntermediateHead {
                    uniqueid: &i.uniqueid,
                    mboxname: &i.name,
                    mboxtype: &i.mboxtype,
                    uidvalidity: UidValidity(0),
                    partition: None,
                    acl: self.version().has_email_letter().then_some(""),
                    createdmodseq: i.createdmodseq,
                    foldermodseq: i.foldermodseq,
                };
                self.wire.out.extend_from_slice(b"* ");
                intermediate_line(&mut self.wire.out, &head);
                self.wire.out.extend_from_slice(b"\r\n");
            }
            Some(Entry::Mailbox { mailbox, .. }) => {
                let mailbox = lock(mailbox);
                let is_sieve = mailbox.head.mboxtype.as_deref().is_some_and(|t| t.contains('s'));
                if mailbox.gone || (is_sieve && !self.sieve_mailbox) {
                    return;
                }
                self.say_head(&mailbox);
                self.wire.out.extend_from_slice(b")\r\n");
            }
        }
    }

    /// `* MAILBOX %(…` up to the point where records or the end follow.
    fn say_head(&mut self, mailbox: &Mailbox) {
        let version = self.version();
        let root = self.shared.state.quotaroot(&mailbox.head.name);
        let groups = self.groups_of(&mailbox.head.name);
        let flags = mailbox.user_flags();
        let annotations = lines(&mailbox.head.annotations);
        let conversations = self.shared.options.conversations;
        let mut line = mailbox.line(root.as_deref(), conversations, &annotations);
        if version.has_user_flags() {
            line.userflags = Some(&flags);
            line.usergroups = Some(&*groups).filter(|groups| !groups.is_empty());
        }
        if !version.has_modseqs() {
            line.annotations = &[];
        }
        let out = &mut self.wire.out;
        out.extend_from_slice(b"* ");
        mailbox_line(out, &line);
        // The closing parenthesis.
        out.pop();
        let mut w = DlistWriter::resume(out).as_server();
        if !version.has_modseqs() {
            put_annotations(&mut w, &mailbox.head.annotations, version);
        }
        if version.has_jmapid() {
            w.key("JMAPID").atom(&mailbox.head.jmapid);
            w.key("VERSION").num(mailbox.head.index_version.into());
            if !mailbox.head.deletedmodseq.is_zero() {
                w.key("DELETEDMODSEQ").modseq(mailbox.head.deletedmodseq);
            }
        }
    }

    /// The groups of the mailbox's owner.
    fn groups_of(&self, name: &MailboxName) -> String {
        let users = lock(&self.shared.state.users);
        let user =
            owner(name.as_str()).and_then(|userid| users.get(&userid).map(|u| u.groups.clone()));
        user.unwrap_or_default()
    }

    fn get_fullmailbox(&mut self, name: &MailboxName) -> Result<(), Refusal> {
        let mailbox = self.shared.state.mailbox(name).ok_or(NONEXISTENT)?;
        let mailbox = lock(&mailbox);
        let version = self.version();
        self.say_head(&mailbox);
        self.wire.out.extend_from_slice(b" RECORD (");
        for (nr, record) in mailbox.records().iter().enumerate() {
            if nr > 0 {
                self.wire.out.push(b' ');
            }
            let mut w = DlistWriter::new(&mut self.wire.out).as_server();
            put_record(&mut w, &mailbox, record, version);
        }
        self.wire.out.extend_from_slice(b"))\r\n");
        Ok(())
    }

    fn say_quota(&mut self, root: &str) {
        let quota: Option<Quota> = lock(&self.shared.state.quotas).get(root).cloned();
        let Some(quota) = quota else { return };
        let version = self.version();
        self.line(|w| {
            w.key("QUOTA").map_begin().key("ROOT").atom(root);
            quota.limits.put(w, version);
            if version.has_modseqs() {
                w.key("MODSEQ").modseq(quota.modseq);
            }
            w.map_end();
        });
    }

    fn get_annotation(&mut self, name: &MailboxName) {
        let annotations = match self.shared.state.mailbox(name) {
            Some(mailbox) => lock(&mailbox).head.annotations.clone(),
            None if name.is_empty() => lock(&self.shared.state.annotations).clone(),
            None => Vec::new(),
        };
        for annotation in annotations {
            self.line(|w| {
                w.key("ANNOTATION").map_begin().key("MBOXNAME").atom(name.as_str());
                w.key("ENTRY").atom(&*annotation.entry).key("USERID").atom(&*annotation.userid);
                w.key("VALUE").amap(&annotation.value).map_end();
            });
        }
    }

    fn get_fetch(&mut self, value: &Value) -> Result<(), Refusal> {
        let name = mailbox_name(value, "MBOXNAME")?;
        let partition = field(value, "PARTITION")?;
        let uid = value.get("UID").and_then(|v| v.u32().ok()).map(Uid).ok_or(BAD_PARAMETERS)?;
        let mailbox = self.shared.state.mailbox(&name).ok_or(NONEXISTENT)?;
        let found = lock(&mailbox).record(uid).and_then(|r| Some((r.guid, r.body.clone()?)));
        let (guid, body) = found.ok_or(NONEXISTENT)?;
        self.line(|w| {
            w.key("MESSAGE").file_head(partition, &guid, body.len() as u64);
        });
        // The file comes between the head and the end of the line.
        let out = &mut self.wire.out;
        out.truncate(out.len() - 2);
        out.extend_from_slice(&body);
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn get_script(&mut self, value: &Value) -> Result<(), Refusal> {
        let (userid, filename) = (field(value, "USERID")?, field(value, "FILENAME")?);
        let users = lock(&self.shared.state.users);
        let script = users.get(userid).and_then(|u| u.scripts.get(filename)).cloned();
        drop(users);
        let content = script.ok_or(NONEXISTENT)?.content;
        self.line(|w| {
            w.key("SIEVE").map_begin().key("USERID").atom(userid).key("FILENAME").atom(filename);
            w.key("CONTENT").amap(&content).map_end();
        });
        Ok(())
    }
}

fn put_record(w: &mut DlistWriter<'_>, mailbox: &Mailbox, record: &Record, version: Version) {
    w.map_begin().key("UID").uid(record.uid).key("MODSEQ").modseq(record.modseq);
    w.key("LAST_UPDATED").date(record.last_updated).key("FLAGS").list_begin();
    for flag in mailbox.flag_names(&record.flags) {
        w.flag(flag);
    }
    w.list_end().key("INTERNALDATE").date(record.internaldate);
    w.key("SIZE").num(record.size).key("GUID").guid(&record.guid);
    put_annotations(w, &record.annotations, version);
    w.map_end();
}

fn put_annotations(w: &mut DlistWriter<'_>, annotations: &[Annot], version: Version) {
    if annotations.is_empty() {
        return;
    }
    w.key("ANNOTATIONS").list_begin();
    for a in annotations {
        w.map_begin().key("ENTRY").atom(&*a.entry).key("USERID").atom(&*a.userid);
        if version.has_modseqs() {
            w.key("MODSEQ").modseq(a.modseq);
        }
        w.key("VALUE").amap(&a.value).map_end();
    }
    w.list_end();
}

/// The value as text.
pub(crate) fn text(value: &Value) -> Result<&str, Refusal> {
    value.str().map_err(|_| BAD_PARAMETERS)
}

/// The value as a list of texts.
pub(crate) fn texts(value: &Value) -> Result<Vec<&str>, Refusal> {
    value.list().map_err(|_| BAD_PARAMETERS)?.iter().map(text).collect()
}

/// The mailbox's name behind this key of a map.
pub(crate) fn mailbox_name(value: &Value, key: &str) -> Result<MailboxName, Refusal> {
    field(value, key).map(MailboxName::new)
}

/// The text behind this key of a map.
pub(crate) fn field<'v>(value: &'v Value, key: &str) -> Result<&'v str, Refusal> {
    text(value.get(key).ok_or(BAD_PARAMETERS)?)
}
