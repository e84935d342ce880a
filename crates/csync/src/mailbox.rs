//! `APPLY MAILBOX`: a mailbox's head and its records, streamed.
//!
//! ```text
//!  APPLY MAILBOX %(UNIQUEID … MBOXNAME … … SINCE_CRC_ANNOT … RECORD (%(UID 1 …) %(UID 2 …)))CRLF
//!  '------------------- begin() -------------------------------''--- record() each ---''end()'
//! ```
//! Source: `imap/sync_support.c:sync_prepare_dlists`, `encode_annotations` and `sync_mailbox_byentry` of cyrus-imapd 3.6.1,
//! USERFLAGS and USERGROUPS of 3.12.3. Keys have their order, so that the result equals the master's own GET lines:
//! [`mailbox_line`] writes the GET MAILBOXES form.

use cyrus_types::{Guid, MailboxName, ModSeq, SyncCrcs, Uid, UidValidity, UniqueId};

use crate::command::Command;
use crate::kind::CommandKind;
use crate::write::DlistWriter;

/// An annotation as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotation<'a> {
    /// Its entry, such as `/comment`.
    pub entry: &'a str,
    /// Its owner; empty for a shared one.
    pub userid: &'a str,
    /// Its modseq; 0 for a virtual one.
    pub modseq: ModSeq,
    /// Its value.
    pub value: &'a [u8],
}

/// The replica's state that a change builds on: the replica refuses the change in any other state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// Its HIGHESTMODSEQ.
    pub modseq: ModSeq,
    /// Its SYNC_CRC and SYNC_CRC_ANNOT.
    pub crcs: SyncCrcs,
}

/// A mailbox without its records. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxHead<'a> {
    /// The unique id.
    pub uniqueid: &'a UniqueId,
    /// The internal name.
    pub mboxname: &'a MailboxName,
    /// The type's letters; `None` for plain mail.
    pub mboxtype: Option<&'a str>,
    /// The basic CRC; 0 in a partial batch.
    pub sync_crc: u32,
    /// The annotations' CRC; `None` in a partial batch.
    pub sync_crc_annot: Option<u32>,
    /// Highest UID.
    pub last_uid: Uid,
    /// Highest modseq.
    pub highestmodseq: ModSeq,
    /// Highest UID that was shown as recent.
    pub recentuid: Uid,
    /// When `recentuid` was set.
    pub recenttime: i64,
    /// When the last message arrived.
    pub last_appenddate: i64,
    /// Last POP3 login.
    pub pop3_last_login: i64,
    /// POP3 shows only messages after this time.
    pub pop3_show_after: i64,
    /// Conversations' modseq; 0 is not sent.
    pub xconvmodseq: ModSeq,
    /// Reverse ACLs' modseq; 0 is not sent.
    pub raclmodseq: ModSeq,
    /// UIDVALIDITY.
    pub uidvalidity: UidValidity,
    /// The partition on the replica.
    pub partition: &'a str,
    /// `user TAB rights TAB …`
    pub acl: &'a str,
    /// Option letters.
    pub options: &'a str,
    /// The quota root that covers it.
    pub quotaroot: Option<&'a str>,
    /// Modseq of the mailbox's creation; 0 is not sent.
    pub createdmodseq: ModSeq,
    /// Modseq of the folder's last change of name or ACL; 0 is not sent.
    pub foldermodseq: ModSeq,
    /// The mailbox's own annotations, in the store's order.
    pub annotations: &'a [Annotation<'a>],
    /// The names of all user flags, set on a message or not, so that both sides number them alike; `None` is not sent. A
    /// key of 3.12, which older servers ignore.
    pub userflags: Option<&'a [&'a str]>,
    /// The groups that the owner is in, `group TAB group`; `None` is not sent. As above.
    pub usergroups: Option<&'a str>,
    /// What the change builds on; `None` on a repeat, and if the replica's modseq is 0.
    pub since: Option<Since>,
}

/// A message's record. Times are Unix seconds, `size` is in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its UID.
    pub uid: Uid,
    /// Its modseq.
    pub modseq: ModSeq,
    /// When it last changed.
    pub last_updated: i64,
    /// `\Deleted \Answered \Flagged \Draft \Expunged \Seen` in this order, then the user flags in the mailbox's.
    pub flags: &'a [&'a str],
    /// When it arrived.
    pub internaldate: i64,
    /// The file's size.
    pub size: u64,
    /// The file's SHA-1.
    pub guid: Guid,
    /// Annotations, then the virtual ones: thrid, savedate, createdmodseq.
    pub annotations: &'a [Annotation<'a>],
}

/// An open `APPLY MAILBOX` command. It has no buffer: you may empty yours between two calls.
#[derive(Debug)]
#[must_use = "the command must be ended"]
pub struct MailboxCommand {
    first: bool,
}

impl MailboxCommand {
    /// Writes everything up to the records. With `local` the command is `LOCAL_MAILBOX` (-L).
    pub fn begin(out: &mut Vec<u8>, local: bool, head: &MailboxHead<'_>) -> MailboxCommand {
        out.extend_from_slice(b"APPLY ");
        let mut writer = DlistWriter::new(out);
        writer.key(if local { "LOCAL_MAILBOX" } else { "MAILBOX" }).map_begin();
        put_head(&mut writer, head);
        writer.key("RECORD").list_begin();
        MailboxCommand { first: true }
    }

    /// Writes one record. Records must come in order of UID.
    pub fn record(&mut self, out: &mut Vec<u8>, record: &Record<'_>) {
        let mut writer = if self.first { DlistWriter::new(out) } else { DlistWriter::resume(out) };
        self.first = false;
        put_record(&mut writer, record);
    }

    /// Closes the command.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"))\r\n");
    }
}

/// Writes `MAILBOX %(…)` without records and without a line's end: what GET MAILBOXES and GET USER report about this
/// mailbox after their `* `.
pub fn mailbox_line(out: &mut Vec<u8>, head: &MailboxHead<'_>) {
    let mut writer = DlistWriter::new(out).as_server();
    writer.key("MAILBOX").map_begin();
    put_head(&mut writer, head);
    writer.map_end();
}

/// A name in the tree without a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntermediateHead<'a> {
    /// The unique id.
    pub uniqueid: &'a UniqueId,
    /// The internal name.
    pub mboxname: &'a MailboxName,
    /// The type's letters: `i`, and its other types.
    pub mboxtype: &'a str,
    /// UIDVALIDITY; not sent to the replica.
    pub uidvalidity: UidValidity,
    /// The partition, if it has one; not sent to the replica.
    pub partition: Option<&'a str>,
    /// The ACL, if it has one; not sent to the replica.
    pub acl: Option<&'a str>,
    /// Modseq of its creation; sent even when 0.
    pub createdmodseq: ModSeq,
    /// Modseq of its last change; sent even when 0.
    pub foldermodseq: ModSeq,
}

/// `APPLY MAILBOX` for a name without a mailbox; -L makes no difference to it
/// (`sync_support.c:sync_do_update_mailbox`). The server takes its FOLDERMODSEQ from HIGHESTMODSEQ.
pub fn apply_intermediate(head: &IntermediateHead<'_>) -> Command {
    let mut bytes = b"APPLY ".to_vec();
    let mut writer = DlistWriter::new(&mut bytes);
    put_intermediate(&mut writer, head);
    writer.key("HIGHESTMODSEQ").modseq(head.foldermodseq);
    writer.key("CREATEDMODSEQ").modseq(head.createdmodseq);
    writer.key("FOLDERMODSEQ").modseq(head.foldermodseq).map_end().end_line();
    Command { kind: CommandKind::Mailbox, bytes }
}

/// Writes what GET MAILBOXES and GET USER report about a name without a mailbox after their `* `, up to the line's end.
pub fn intermediate_line(out: &mut Vec<u8>, head: &IntermediateHead<'_>) {
    let mut writer = DlistWriter::new(out).as_server();
    let w = &mut writer;
    put_intermediate(w, head);
    w.key("SYNC_CRC").num(0).key("LAST_UID").num(0).key("HIGHESTMODSEQ").num(0);
    w.key("RECENTUID").num(0).key("RECENTTIME").num(0).key("LAST_APPENDDATE").num(0);
    w.key("POP3_LAST_LOGIN").num(0).key("POP3_SHOW_AFTER").num(0);
    w.key("UIDVALIDITY").uidvalidity(head.uidvalidity);
    put_or_nil(w, "PARTITION", head.partition);
    put_or_nil(w, "ACL", head.acl);
    w.key("OPTIONS").atom("").key("CREATEDMODSEQ").modseq(head.createdmodseq);
    w.key("FOLDERMODSEQ").modseq(head.foldermodseq).map_end();
}

fn put_intermediate(w: &mut DlistWriter<'_>, head: &IntermediateHead<'_>) {
    w.key("MAILBOX").map_begin().key("UNIQUEID").atom(head.uniqueid.as_str());
    w.key("MBOXNAME").atom(head.mboxname.as_str()).key("MBOXTYPE").atom(head.mboxtype);
}

fn put_or_nil(w: &mut DlistWriter<'_>, key: &'static str, value: Option<&str>) {
    match value {
        Some(value) => w.key(key).atom(value),
        None => w.key(key).nil(),
    };
}

fn put_head(w: &mut DlistWriter<'_>, head: &MailboxHead<'_>) {
    w.key("UNIQUEID").atom(head.uniqueid.as_str()).key("MBOXNAME").atom(head.mboxname.as_str());
    if let Some(mboxtype) = head.mboxtype {
        w.key("MBOXTYPE").atom(mboxtype);
    }
    w.key("SYNC_CRC").num(head.sync_crc.into());
    if let Some(crc) = head.sync_crc_annot {
        w.key("SYNC_CRC_ANNOT").num(crc.into());
    }
    w.key("LAST_UID").uid(head.last_uid).key("HIGHESTMODSEQ").modseq(head.highestmodseq);
    w.key("RECENTUID").uid(head.recentuid).key("RECENTTIME").date(head.recenttime);
    w.key("LAST_APPENDDATE").date(head.last_appenddate);
    w.key("POP3_LAST_LOGIN").date(head.pop3_last_login);
    w.key("POP3_SHOW_AFTER").date(head.pop3_show_after);
    put_unless_zero(w, "XCONVMODSEQ", head.xconvmodseq);
    put_unless_zero(w, "RACLMODSEQ", head.raclmodseq);
    if let Some(groups) = head.usergroups {
        w.key("USERGROUPS").atom(groups);
    }
    w.key("UIDVALIDITY").uidvalidity(head.uidvalidity).key("PARTITION").atom(head.partition);
    w.key("ACL").atom(head.acl).key("OPTIONS").atom(head.options);
    if let Some(root) = head.quotaroot {
        w.key("QUOTAROOT").atom(root);
    }
    put_unless_zero(w, "CREATEDMODSEQ", head.createdmodseq);
    put_unless_zero(w, "FOLDERMODSEQ", head.foldermodseq);
    put_annotations(w, head.annotations);
    if let Some(flags) = head.userflags {
        w.key("USERFLAGS").list_begin();
        for flag in flags {
            w.flag(flag);
        }
        w.list_end();
    }
    if let Some(since) = head.since {
        w.key("SINCE_MODSEQ").modseq(since.modseq).key("SINCE_CRC").num(since.crcs.basic.into());
        w.key("SINCE_CRC_ANNOT").num(since.crcs.annot.into());
    }
}

fn put_unless_zero(w: &mut DlistWriter<'_>, key: &'static str, modseq: ModSeq) {
    if !modseq.is_zero() {
        w.key(key).modseq(modseq);
    }
}

fn put_record(w: &mut DlistWriter<'_>, record: &Record<'_>) {
    w.map_begin().key("UID").uid(record.uid).key("MODSEQ").modseq(record.modseq);
    w.key("LAST_UPDATED").date(record.last_updated).key("FLAGS").list_begin();
    for flag in record.flags {
        w.flag(flag);
    }
    w.list_end().key("INTERNALDATE").date(record.internaldate);
    w.key("SIZE").num(record.size).key("GUID").guid(&record.guid);
    put_annotations(w, record.annotations);
    w.map_end();
}

fn put_annotations(w: &mut DlistWriter<'_>, annotations: &[Annotation<'_>]) {
    if annotations.is_empty() {
        return;
    }
    w.key("ANNOTATIONS").list_begin();
    for annotation in annotations {
        w.map_begin().key("ENTRY").atom(annotation.entry).key("USERID").atom(annotation.userid);
        w.key("MODSEQ").modseq(annotation.modseq).key("VALUE").amap(annotation.value).map_end();
    }
    w.list_end();
}
