//! APPLY: every change except that of a mailbox itself.
//!
//! Source: `sync_apply_*` of `imap/sync_support.c` of cyrus-imapd 3.6.1.

use csync::{DlistWriter, Value};
use cyrus_types::{MailboxName, ModSeq, Uid, UidValidity, UniqueId};

use crate::get::{field, mailbox_name, text, texts};
use crate::mailbox::Annot;
use crate::names::owner;
use crate::quota::Limits;
use crate::refusal::{BAD_PARAMETERS, MOVED, NONEXISTENT, OTHER, PROTOCOL, Refusal};
use crate::session::{Payload, Session};
use crate::state::{Entry, Quota, Script, Seen, User, lock};
use crate::version::Version;

impl Session<'_> {
    pub(crate) fn apply(&mut self, name: &str, payload: Payload) -> Result<(), Refusal> {
        let value = match payload {
            Payload::Mailbox(mailbox) => return self.apply_mailbox(*mailbox),
            Payload::Messages(messages) => {
                for message in messages {
                    self.staged.insert(&message.partition, message.guid, message.body);
                }
                return Ok(());
            }
            Payload::Value(value) => value,
        };
        match name {
            "APPLY RESERVE" => self.reserve(&value),
            "APPLY RENAME" | "APPLY LOCAL_RENAME" => self.rename(&value),
            "APPLY UNMAILBOX" | "APPLY LOCAL_UNMAILBOX" => self.unmailbox(&value),
            "APPLY UNUSER" | "APPLY LOCAL_UNUSER" => self.unuser(text(&value)?),
            "APPLY EXPUNGE" => self.expunge(&value),
            "APPLY QUOTA" => self.quota(&value),
            "APPLY UNQUOTA" => {
                lock(&self.shared.state.quotas).remove(text(&value)?);
                Ok(())
            }
            "APPLY SUB" | "APPLY UNSUB" => self.subscribe(name == "APPLY SUB", &value),
            "APPLY SEEN" => self.seen(&value),
            "APPLY SIEVE" | "APPLY UNSIEVE" | "APPLY ACTIVATE_SIEVE" | "APPLY UNACTIVATE_SIEVE" => {
                self.script(name, &value)
            }
            "APPLY ANNOTATION" | "APPLY UNANNOTATION" => {
                self.annotation(name == "APPLY ANNOTATION", &value)
            }
            "APPLY CAPABILITIES" if self.version().has_capabilities() => self.capabilities(&value),
            "APPLY FORCE" if self.version().has_capabilities() => {
                self.shared.state.set_force();
                Ok(())
            }
            _ => Err(PROTOCOL),
        }
    }

    /// Switches on the capabilities that were asked for and are known, and names them as the client wrote them.
    fn capabilities(&mut self, value: &Value) -> Result<(), Refusal> {
        let known = self.shared.options.capabilities();
        let mut enabled = Vec::new();
        let wanted = texts(value)?;
        self.shared.stats.asked_for(&wanted);
        for asked in wanted {
            let Some(name) = known.iter().find(|name| name.eq_ignore_ascii_case(asked)) else {
                continue;
            };
            self.sieve_mailbox |= *name == "SIEVE-MAILBOX";
            self.archive |= *name == "REPLICATION-ARCHIVE";
            enabled.push(asked);
        }
        self.say(&format!("* ENABLED ({})", enabled.join(" ")));
        Ok(())
    }

    /// Looks for messages in the named folders, and reports those that are missing.
    fn reserve(&mut self, value: &Value) -> Result<(), Refusal> {
        let partition = field(value, "PARTITION")?;
        let folders = texts(value.get("MBOXNAME").ok_or(BAD_PARAMETERS)?)?;
        let wanted = value.get("GUID").and_then(|v| v.list().ok()).ok_or(BAD_PARAMETERS)?;
        let guids: Result<Vec<_>, _> = wanted.iter().map(Value::guid).collect();
        let guids = guids.map_err(|_| BAD_PARAMETERS)?;
        let mut missing: std::collections::HashSet<_> = guids
            .iter()
            .filter(|guid| self.staged.get(partition, guid).is_none())
            .copied()
            .collect();
        for folder in folders {
            let folder = MailboxName::new(folder);
            let Some(mailbox) = self.shared.state.mailbox(&folder) else { continue };
            for record in lock(&mailbox).records() {
                if !record.is_expunged() && missing.remove(&record.guid) {
                    self.staged.insert(partition, record.guid, record.body.clone());
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let out = &mut self.wire.out;
        out.extend_from_slice(b"* ");
        let mut writer = DlistWriter::new(out).as_server();
        writer.key("MISSING").list_begin();
        for guid in guids.iter().filter(|guid| missing.contains(guid)) {
            writer.guid(guid);
        }
        writer.list_end().end_line();
        Ok(())
    }

    fn rename(&self, value: &Value) -> Result<(), Refusal> {
        let from = &mailbox_name(value, "OLDMBOXNAME")?;
        let to = &mailbox_name(value, "NEWMBOXNAME")?;
        let partition = field(value, "PARTITION")?;
        let uidvalidity = value.get("UIDVALIDITY").and_then(|v| v.u32().ok()).unwrap_or(0);
        if !self.has_partition(partition) {
            return Err(OTHER);
        }
        let mut names = lock(&self.shared.state.names);
        if matches!(names.get(from), Some(Entry::Intermediate(_)))
            && !self.version().says_intermediates()
        {
            return Err(NONEXISTENT);
        }
        if from != to && matches!(names.get(to), Some(Entry::Mailbox { .. })) {
            return Err(OTHER);
        }
        let entry = names.remove(from).ok_or(NONEXISTENT)?;
        let renamed = match entry {
            Entry::Mailbox { uniqueid, mailbox, .. } => {
                let mut open = lock(&mailbox);
                open.head.name = to.clone();
                open.head.partition = partition.to_string();
                if uidvalidity > 0 {
                    open.head.uidvalidity = UidValidity(uidvalidity);
                }
                drop(open);
                Entry::Mailbox { name: to.clone(), uniqueid, mailbox }
            }
            Entry::Intermediate(mut i) => {
                i.name = to.clone();
                Entry::Intermediate(i)
            }
        };
        names.insert(renamed);
        Ok(())
    }

    /// By its bare name, or, if UNMAILBOX-ID is offered, by `%(MBOXNAME … UNIQUEID … UIDVALIDITY …)`.
    fn unmailbox(&self, value: &Value) -> Result<(), Refusal> {
        let name = &match value {
            Value::Map(_) if self.shared.options.offers_unmailbox_id() => {
                mailbox_name(value, "MBOXNAME")?
            }
            value => MailboxName::new(text(value)?),
        };
        let mut names = lock(&self.shared.state.names);
        if let (Value::Map(_), Some(entry)) = (value, names.get(name)) {
            let uidvalidity = match entry {
                Entry::Mailbox { mailbox, .. } => lock(mailbox).head.uidvalidity,
                Entry::Intermediate(_) => UidValidity(0),
            };
            let meant = value.get("UIDVALIDITY").and_then(|v| v.u32().ok()).map(UidValidity);
            if entry.uniqueid().as_str() != field(value, "UNIQUEID")? || meant != Some(uidvalidity)
            {
                return Err(MOVED);
            }
        }
        match names.remove(name).ok_or(NONEXISTENT)? {
            Entry::Mailbox { mailbox, .. } => lock(&mailbox).gone = true,
            Entry::Intermediate(_) => {}
        }
        names.prune(name);
        Ok(())
    }

    fn unuser(&self, userid: &str) -> Result<(), Refusal> {
        let mut names = lock(&self.shared.state.names);
        for entry in names.of_user(userid) {
            if let Some(Entry::Mailbox { mailbox, .. }) = names.remove(entry.name()) {
                lock(&mailbox).gone = true;
            }
        }
        drop(names);
        lock(&self.shared.state.users).remove(userid);
        lock(&self.shared.state.quotas).retain(|root, _| owner(root).as_deref() != Some(userid));
        Ok(())
    }

    fn expunge(&self, value: &Value) -> Result<(), Refusal> {
        let name = &mailbox_name(value, "MBOXNAME")?;
        let uniqueid = field(value, "UNIQUEID")?;
        let uids = value.get("UID").and_then(|v| v.list().ok()).ok_or(BAD_PARAMETERS)?;
        let mailbox = self.shared.state.mailbox(name).ok_or(NONEXISTENT)?;
        let mut mailbox = lock(&mailbox);
        if mailbox.head.uniqueid.as_str() != uniqueid {
            return Err(self.moved());
        }
        for uid in uids {
            let uid = uid.u32().map(Uid).map_err(|_| BAD_PARAMETERS)?;
            let mut record = mailbox.record(uid).cloned().ok_or(OTHER)?;
            record.expunge();
            mailbox.put(record);
        }
        Ok(())
    }

    fn quota(&self, value: &Value) -> Result<(), Refusal> {
        let root = field(value, "ROOT")?;
        let (mut limits, version) = (Limits::default(), self.version());
        for (key, value) in value.map().map_err(|_| BAD_PARAMETERS)? {
            limits.set(key, value.u64().ok(), version);
        }
        let said = value.get("MODSEQ").filter(|_| version.has_modseqs());
        let modseq = said.and_then(|v| v.u64().ok()).map_or(ModSeq::ZERO, ModSeq);
        let quota = Quota { limits, modseq };
        lock(&self.shared.state.quotas).insert(root.to_string(), quota);
        Ok(())
    }

    pub(crate) fn with_user<T>(&self, userid: &str, change: impl FnOnce(&mut User) -> T) -> T {
        change(lock(&self.shared.state.users).entry(userid.to_string()).or_default())
    }

    fn subscribe(&self, add: bool, value: &Value) -> Result<(), Refusal> {
        let (userid, name) = (field(value, "USERID")?, mailbox_name(value, "MBOXNAME")?);
        let key = crate::names::sort_key(name.as_str());
        self.with_user(userid, |user| match add {
            true => drop(user.subscriptions.insert(key, name)),
            false => drop(user.subscriptions.remove(&key)),
        });
        Ok(())
    }

    fn seen(&self, value: &Value) -> Result<(), Refusal> {
        let date = |key| value.get(key).and_then(|v| v.date().ok()).ok_or(BAD_PARAMETERS);
        let seen = Seen {
            lastread: date("LASTREAD")?,
            lastuid: value
                .get("LASTUID")
                .and_then(|v| v.u32().ok())
                .map(Uid)
                .ok_or(BAD_PARAMETERS)?,
            lastchange: date("LASTCHANGE")?,
            seenuids: field(value, "SEENUIDS")?.to_string(),
        };
        let uniqueid = UniqueId::new(field(value, "UNIQUEID")?);
        self.with_user(field(value, "USERID")?, |user| user.seen.insert(uniqueid, seen));
        Ok(())
    }

    fn script(&self, name: &str, value: &Value) -> Result<(), Refusal> {
        let userid = field(value, "USERID")?;
        if name == "APPLY UNACTIVATE_SIEVE" {
            self.with_user(userid, |user| user.active = None);
            return Ok(());
        }
        let filename = field(value, "FILENAME")?.to_string();
        match name {
            "APPLY SIEVE" => {
                let last_update = value.get("LAST_UPDATE").and_then(|v| v.date().ok());
                let content = value.get("CONTENT").and_then(|v| v.bytes().ok());
                let script = Script {
                    last_update: last_update.ok_or(BAD_PARAMETERS)?,
                    content: content.ok_or(BAD_PARAMETERS)?.to_vec(),
                };
                // Anything but a script is silently ignored.
                if filename.ends_with(".script") {
                    self.with_user(userid, |user| user.scripts.insert(filename, script));
                }
                Ok(())
            }
            "APPLY UNSIEVE" => {
                self.with_user(userid, |user| user.scripts.remove(&filename));
                Ok(())
            }
            _ => {
                let bare = filename.strip_suffix(".bc").ok_or(OTHER)?.to_string();
                self.with_user(userid, |user| {
                    if !user.scripts.contains_key(&format!("{bare}.script")) {
                        return Err(OTHER);
                    }
                    user.active = Some(bare);
                    Ok(())
                })
            }
        }
    }

    fn annotation(&self, set: bool, value: &Value) -> Result<(), Refusal> {
        let name = &mailbox_name(value, "MBOXNAME")?;
        let (entry, userid) = (field(value, "ENTRY")?, field(value, "USERID")?);
        let new = match value.get("VALUE").filter(|_| set) {
            Some(value) => Some(Annot {
                entry: entry.into(),
                userid: userid.into(),
                modseq: ModSeq::ZERO,
                value: value.bytes().map_err(|_| BAD_PARAMETERS)?.into(),
            }),
            None if set => return Err(BAD_PARAMETERS),
            None => None,
        };
        let change = |annotations: &mut Vec<Annot>| {
            annotations.retain(|a| *a.entry != *entry || *a.userid != *userid);
            annotations.extend(new);
        };
        if name.is_empty() {
            change(&mut lock(&self.shared.state.annotations));
            return Ok(());
        }
        let mailbox = self.shared.state.mailbox(name).ok_or(NONEXISTENT)?;
        change(&mut lock(&mailbox).head.annotations);
        Ok(())
    }

    pub(crate) fn version(&self) -> Version {
        self.shared.options.version
    }

    pub(crate) fn has_partition(&self, partition: &str) -> bool {
        self.shared.options.partitions.iter().any(|p| p == partition)
    }
}
