//! A MAILBOX command as it arrives: the keys of its head, and each RECORD as a record, never a tree of values.

use cyrus_types::{Guid, MailboxName, ModSeq, Uid, UidValidity, UniqueId};

use crate::mailbox::{Annot, EXPUNGED, Head};
use crate::parse::Parser;
use crate::wire::End;

/// A record as it arrived; its flags have no numbers yet.
#[derive(Debug, Default)]
pub(crate) struct NewRecord {
    pub(crate) uid: Uid,
    pub(crate) modseq: ModSeq,
    pub(crate) last_updated: i64,
    pub(crate) internaldate: i64,
    pub(crate) size: u64,
    pub(crate) guid: Option<Guid>,
    pub(crate) flags: Vec<Box<str>>,
    pub(crate) annotations: Vec<Annot>,
    /// How many of these have a MODSEQ: those before the first one without.
    pub(crate) with_modseq: usize,
}

impl NewRecord {
    pub(crate) fn is_expunged(&self) -> bool {
        self.flags.iter().any(|f| f.eq_ignore_ascii_case(EXPUNGED))
    }
}

/// A MAILBOX command as it arrived.
#[derive(Debug, Default)]
pub(crate) struct NewMailbox {
    pub(crate) head: Head,
    pub(crate) crcs: (u32, u32),
    pub(crate) since: (ModSeq, u32, u32),
    pub(crate) records: Vec<NewRecord>,
    /// Names of flags that the mailbox should know, even if no message has them.
    pub(crate) user_flags: Vec<String>,
    /// How many of the head's annotations have a MODSEQ: those before the first one without.
    pub(crate) with_modseq: usize,
    /// The owner's groups, with tabs between them.
    pub(crate) groups: Option<String>,
    /// Required keys.
    pub(crate) found: Vec<&'static str>,
}

/// Keys without which a command is refused, except for intermediates.
const NEEDED: [&str; 9] = [
    "PARTITION",
    "LAST_UID",
    "RECENTUID",
    "RECENTTIME",
    "LAST_APPENDDATE",
    "POP3_LAST_LOGIN",
    "UIDVALIDITY",
    "ACL",
    "RECORD",
];

impl NewMailbox {
    /// Reads `%(KEY value …)`.
    pub(crate) fn read(parser: &mut Parser<'_>) -> Result<NewMailbox, End> {
        let mut new = NewMailbox::default();
        parser.expect(b'%')?;
        parser.list(|parser| {
            let key = parser.key()?;
            new.found.extend(NEEDED.iter().find(|n| **n == key));
            let head = &mut new.head;
            match key.as_str() {
                "UNIQUEID" => head.uniqueid = UniqueId::new(parser.text()?),
                "MBOXNAME" => head.name = MailboxName::new(parser.text()?),
                "MBOXTYPE" => head.mboxtype = Some(parser.text()?).filter(|t| !t.is_empty()),
                "PARTITION" => head.partition = parser.text()?,
                "ACL" => head.acl = parser.text()?,
                "OPTIONS" => head.options = parser.text()?,
                "LAST_UID" => head.last_uid = Uid(parser.number32()?),
                "HIGHESTMODSEQ" => head.highestmodseq = ModSeq(parser.number()?),
                "RECENTUID" => head.recentuid = Uid(parser.number32()?),
                "RECENTTIME" => head.recenttime = parser.number()? as i64,
                "LAST_APPENDDATE" => head.last_appenddate = parser.number()? as i64,
                "POP3_LAST_LOGIN" => head.pop3_last_login = parser.number()? as i64,
                "POP3_SHOW_AFTER" => head.pop3_show_after = parser.number()? as i64,
                "UIDVALIDITY" => head.uidvalidity = UidValidity(parser.number32()?),
                "XCONVMODSEQ" => head.xconvmodseq = ModSeq(parser.number()?),
                "RACLMODSEQ" => head.raclmodseq = ModSeq(parser.number()?),
                "CREATEDMODSEQ" => head.createdmodseq = ModSeq(parser.number()?),
                "FOLDERMODSEQ" => head.foldermodseq = ModSeq(parser.number()?),
                "SYNC_CRC" => new.crcs.0 = parser.number32()?,
                "SYNC_CRC_ANNOT" => new.crcs.1 = parser.number32()?,
                "SINCE_MODSEQ" => new.since.0 = ModSeq(parser.number()?),
                "SINCE_CRC" => new.since.1 = parser.number32()?,
                "SINCE_CRC_ANNOT" => new.since.2 = parser.number32()?,
                "ANNOTATIONS" => (head.annotations, new.with_modseq) = annotations(parser)?,
                "USERFLAGS" => parser.list(|parser| {
                    new.user_flags.push(parser.text()?);
                    Ok(())
                })?,
                "USERGROUPS" => new.groups = Some(parser.text()?),
                "JMAPID" => head.jmapid = parser.text()?,
                "VERSION" => head.index_version = parser.number32()?,
                "DELETEDMODSEQ" => head.deletedmodseq = ModSeq(parser.number()?),
                "RECORD" => parser.list(|parser| {
                    new.records.push(record(parser)?);
                    Ok(())
                })?,
                // Keys of newer masters, and QUOTAROOT, which the replica determines itself.
                _ => drop(parser.value()?),
            }
            Ok(())
        })?;
        Ok(new)
    }

    pub(crate) fn lacks_something(&self) -> bool {
        self.head.uniqueid.is_empty()
            || self.head.name.is_empty()
            || NEEDED.iter().any(|key| !self.found.contains(key))
    }
}

fn record(parser: &mut Parser<'_>) -> Result<NewRecord, End> {
    let mut record = NewRecord::default();
    parser.expect(b'%')?;
    parser.list(|parser| {
        match parser.key()?.as_str() {
            "UID" => record.uid = Uid(parser.number32()?),
            "MODSEQ" => record.modseq = ModSeq(parser.number()?),
            "LAST_UPDATED" => record.last_updated = parser.number()? as i64,
            "INTERNALDATE" => record.internaldate = parser.number()? as i64,
            "SIZE" => record.size = parser.number()?,
            "GUID" => record.guid = Some(parser.guid()?),
            "FLAGS" => parser.list(|parser| {
                record.flags.push(parser.text()?.into());
                Ok(())
            })?,
            "ANNOTATIONS" => (record.annotations, record.with_modseq) = annotations(parser)?,
            _ => drop(parser.value()?),
        }
        Ok(())
    })?;
    if record.uid == Uid::NONE || record.guid.is_none() {
        return Err(End::Nonsense("a record without UID or GUID".into()));
    }
    Ok(record)
}

/// Annotations, and how many of them have a MODSEQ: those before the first one without.
fn annotations(parser: &mut Parser<'_>) -> Result<(Vec<Annot>, usize), End> {
    let mut annotations = Vec::new();
    let mut with_modseq = None;
    parser.list(|parser| {
        let mut annotation = Annot {
            entry: "".into(),
            userid: "".into(),
            modseq: ModSeq::ZERO,
            value: Box::default(),
        };
        let mut modseq = None;
        parser.expect(b'%')?;
        parser.list(|parser| {
            match parser.key()?.as_str() {
                "ENTRY" => annotation.entry = parser.text()?.into(),
                "USERID" => annotation.userid = parser.text()?.into(),
                "MODSEQ" => modseq = Some(ModSeq(parser.number()?)),
                "VALUE" => annotation.value = parser.string()?.into(),
                _ => drop(parser.value()?),
            }
            Ok(())
        })?;
        if modseq.is_none() {
            with_modseq = with_modseq.or(Some(annotations.len()));
        }
        annotation.modseq = modseq.unwrap_or_default();
        annotations.push(annotation);
        Ok(())
    })?;
    let with_modseq = with_modseq.unwrap_or(annotations.len());
    Ok((annotations, with_modseq))
}
