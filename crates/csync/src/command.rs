//! Commands as values: their kind and their bytes, in the csync form; [`tag`] turns them into their IMAP form.
//!
//! ```text
//!  csync:      GET USER anna CRLF         APPLY SUB %(USERID anna …) CRLF    RESTART CRLF       EXIT CRLF
//!  IMAP:  S12 SYNCGET USER anna CRLF  S13 SYNCAPPLY SUB %(…) CRLF       S14 SYNCRESTART CRLF  S15 LOGOUT CRLF
//! ```
//! The two commands that are too large for one value are streamed:
//! [`MessageCommand`](crate::MessageCommand) and [`MailboxCommand`](crate::MailboxCommand).
//!
//! Source: the callers of `sync_send_apply`, `sync_send_lookup` and `sync_send_restart` in
//! `imap/sync_support.c` of cyrus-imapd 3.6.1; keys have the order in which it sends them.
//! Literals are always `{n+}`, so nothing here waits for an answer.

use cyrus_types::{Guid, MailboxName, ModSeq, Uid, UidValidity, UniqueId};

use crate::decode::Framing;
use crate::kind::CommandKind;
use crate::write::{DlistWriter, put_num};

/// A whole command, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its kind.
    pub kind: CommandKind,
    /// Its bytes in the csync form, including the CRLF.
    pub bytes: Vec<u8>,
}

/// Makes tags for csync over IMAP: `S0`, `S1`, … like the C client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tags {
    next: u64,
}

impl Tags {
    /// Starts at `S0`.
    pub fn new() -> Tags {
        Tags::default()
    }

    /// The next tag's number.
    pub fn take(&mut self) -> u64 {
        let tag = self.next;
        self.next = self.next.wrapping_add(1);
        tag
    }

    /// The tag's text, as a [`Status`](crate::Status) carries it.
    pub fn text(tag: u64) -> String {
        format!("S{tag}")
    }
}

/// Writes the prefix of a command in the IMAP form: the tag, and `SYNC` if it is one of replication's own commands. In the
/// csync form nothing is written.
pub fn tag(out: &mut Vec<u8>, framing: Framing, tag: u64, kind: CommandKind) {
    if framing == Framing::Csync {
        return;
    }
    out.push(b'S');
    put_num(out, tag);
    out.push(b' ');
    if kind.is_replications_own() {
        out.extend_from_slice(b"SYNC");
    }
}

/// `NOOP`, the same in both forms.
pub fn noop() -> Command {
    bare(CommandKind::Noop, "NOOP")
}

/// `RESTART`: the server drops the files it was sent or found for this connection.
pub fn restart() -> Command {
    bare(CommandKind::Restart, "RESTART")
}

/// `COMPRESS DEFLATE`: after the OK both directions are deflated. Nothing may follow it before its answer: the server would
/// read that as uncompressed.
pub fn compress() -> Command {
    bare(CommandKind::Compress, "COMPRESS DEFLATE")
}

/// `EXIT`, which is called `LOGOUT` over IMAP. There the answer is an untagged BYE first.
pub fn exit(framing: Framing) -> Command {
    let word = match framing {
        Framing::Csync => "EXIT",
        Framing::Imap => "LOGOUT",
    };
    bare(CommandKind::Exit, word)
}

/// `GET USER`: a user's mailboxes, quota roots, seen state, subscriptions and scripts.
pub fn get_user(userid: &str) -> Command {
    named(CommandKind::GetUser, "USER", userid)
}

/// `GET META`: only seen state, subscriptions and scripts.
pub fn get_meta(userid: &str) -> Command {
    named(CommandKind::GetMeta, "META", userid)
}

/// `GET QUOTA`
pub fn get_quota(root: &str) -> Command {
    named(CommandKind::GetQuota, "QUOTA", root)
}

/// `GET FULLMAILBOX`: a mailbox with all its records.
pub fn get_fullmailbox(mboxname: &MailboxName) -> Command {
    named(CommandKind::GetFullMailbox, "FULLMAILBOX", mboxname.as_str())
}

/// `GET ANNOTATION`: a mailbox's annotations; with an empty name the server's own.
pub fn get_annotation(mboxname: &MailboxName) -> Command {
    named(CommandKind::GetAnnotation, "ANNOTATION", mboxname.as_str())
}

/// `GET MAILBOXES`: mailboxes by name, without their records.
pub fn get_mailboxes<'n>(mboxnames: impl IntoIterator<Item = &'n MailboxName>) -> Command {
    line(CommandKind::GetMailboxes, |w| {
        w.key("MAILBOXES").list_begin();
        for name in mboxnames {
            w.atom(name.as_str());
        }
        w.list_end();
    })
}

/// `GET UNIQUEIDS`: mailboxes by unique id, without their records. Not known before 3.2.
pub fn get_uniqueids<'n>(uniqueids: impl IntoIterator<Item = &'n UniqueId>) -> Command {
    line(CommandKind::GetUniqueIds, |w| {
        w.key("UNIQUEIDS").list_begin();
        for id in uniqueids {
            w.atom(id.as_str());
        }
        w.list_end();
    })
}

/// `GET FETCH`: one message's file.
pub fn get_fetch(
    mboxname: &MailboxName,
    partition: &str,
    uniqueid: &UniqueId,
    guid: &Guid,
    uid: Uid,
) -> Command {
    line(CommandKind::GetFetch, |w| {
        w.key("FETCH")
            .map_begin()
            .key("MBOXNAME")
            .atom(mboxname.as_str())
            .key("PARTITION")
            .atom(partition);
        w.key("UNIQUEID")
            .atom(uniqueid.as_str())
            .key("GUID")
            .guid(guid)
            .key("UID")
            .uid(uid)
            .map_end();
    })
}

/// `GET FETCH_SIEVE`: one Sieve script's content.
pub fn get_fetch_sieve(userid: &str, filename: &str) -> Command {
    line(CommandKind::GetFetchSieve, |w| {
        w.key("FETCH_SIEVE")
            .map_begin()
            .key("USERID")
            .atom(userid)
            .key("FILENAME")
            .atom(filename)
            .map_end();
    })
}

/// `APPLY CAPABILITIES`: switches on what the banner offers.
pub fn capabilities<'n>(names: impl IntoIterator<Item = &'n str>) -> Command {
    line(CommandKind::Capabilities, |w| {
        w.key("CAPABILITIES").list_begin();
        for name in names {
            w.atom(name);
        }
        w.list_end();
    })
}

/// `APPLY FORCE`: the server accepts the master's state, whatever it has (-O). It stays in force mode for the server's
/// process, not only for this connection. Not known before 3.6.
pub fn force() -> Command {
    // The map is empty, but required: with nothing after FORCE the server reads on.
    line(CommandKind::Force, |w| {
        w.key("FORCE").map_begin().map_end();
    })
}

/// `APPLY RESERVE`: asks which of these messages the replica has in one of these mailboxes. It keeps those for this
/// connection and answers with the others ([`missing`](crate::missing)).
pub fn reserve<'n>(
    partition: &str,
    mboxnames: impl IntoIterator<Item = &'n MailboxName>,
    guids: impl IntoIterator<Item = &'n Guid>,
) -> Command {
    line(CommandKind::Reserve, |w| {
        w.key("RESERVE").map_begin().key("PARTITION").atom(partition).key("MBOXNAME").list_begin();
        for name in mboxnames {
            w.atom(name.as_str());
        }
        w.list_end().key("GUID").list_begin();
        for guid in guids {
            w.guid(guid);
        }
        w.list_end().map_end();
    })
}

/// `APPLY RENAME`; with `local` `LOCAL_RENAME` (-L).
pub fn rename(
    local: bool,
    old: &MailboxName,
    new: &MailboxName,
    partition: &str,
    uidvalidity: UidValidity,
) -> Command {
    line(CommandKind::Rename, |w| {
        w.key(if local { "LOCAL_RENAME" } else { "RENAME" }).map_begin();
        w.key("OLDMBOXNAME").atom(old.as_str()).key("NEWMBOXNAME").atom(new.as_str());
        w.key("PARTITION").atom(partition).key("UIDVALIDITY").uidvalidity(uidvalidity).map_end();
    })
}

/// `APPLY UNMAILBOX`; with `local` `LOCAL_UNMAILBOX` (-L).
pub fn unmailbox(local: bool, mboxname: &MailboxName) -> Command {
    named(
        CommandKind::Unmailbox,
        if local { "LOCAL_UNMAILBOX" } else { "UNMAILBOX" },
        mboxname.as_str(),
    )
}

/// `APPLY UNMAILBOX` only for the mailbox with this unique id and UIDVALIDITY, for a replica with UNMAILBOX-ID switched on;
/// with `local` `LOCAL_UNMAILBOX` (-L).
pub fn unmailbox_id(
    local: bool,
    mboxname: &MailboxName,
    uniqueid: &UniqueId,
    uidvalidity: UidValidity,
) -> Command {
    line(CommandKind::Unmailbox, |w| {
        w.key(if local { "LOCAL_UNMAILBOX" } else { "UNMAILBOX" }).map_begin();
        w.key("MBOXNAME").atom(mboxname.as_str()).key("UNIQUEID").atom(uniqueid.as_str());
        w.key("UIDVALIDITY").uidvalidity(uidvalidity).map_end();
    })
}

/// `APPLY UNUSER`; with `local` `LOCAL_UNUSER` (-L).
pub fn unuser(local: bool, userid: &str) -> Command {
    named(CommandKind::Unuser, if local { "LOCAL_UNUSER" } else { "UNUSER" }, userid)
}

/// `APPLY QUOTA`. `limits` are sent as they are: `LIMIT` first (STORAGE again, 4294967295 for none),
/// then those that are set, in the order STORAGE, MESSAGE, X-ANNOTATION-STORAGE, X-NUM-FOLDERS.
pub fn quota<'n>(
    root: &str,
    limits: impl IntoIterator<Item = (&'n str, u64)>,
    modseq: ModSeq,
) -> Command {
    line(CommandKind::Quota, |w| {
        w.key("QUOTA").map_begin().key("ROOT").atom(root);
        for (name, limit) in limits {
            w.atom(name).num(limit);
        }
        w.key("MODSEQ").modseq(modseq).map_end();
    })
}

/// `APPLY UNQUOTA`
pub fn unquota(root: &str) -> Command {
    named(CommandKind::Unquota, "UNQUOTA", root)
}

/// `APPLY SUB`, or `APPLY UNSUB` when `subscribed` is false.
pub fn subscription(subscribed: bool, userid: &str, mboxname: &MailboxName) -> Command {
    let kind = if subscribed { CommandKind::Sub } else { CommandKind::Unsub };
    line(kind, |w| {
        w.key(if subscribed { "SUB" } else { "UNSUB" }).map_begin();
        w.key("USERID").atom(userid).key("MBOXNAME").atom(mboxname.as_str()).map_end();
    })
}

/// What `APPLY SEEN` sends: a user's seen state in one mailbox. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The user.
    pub userid: &'a str,
    /// The mailbox.
    pub uniqueid: &'a UniqueId,
    /// When it was last read.
    pub lastread: i64,
    /// The highest UID at that time.
    pub lastuid: Uid,
    /// When the state last changed.
    pub lastchange: i64,
    /// A sequence set.
    pub seenuids: &'a str,
}

/// `APPLY SEEN`
pub fn seen(seen: &Seen<'_>) -> Command {
    line(CommandKind::Seen, |w| {
        w.key("SEEN")
            .map_begin()
            .key("USERID")
            .atom(seen.userid)
            .key("UNIQUEID")
            .atom(seen.uniqueid.as_str());
        w.key("LASTREAD").date(seen.lastread).key("LASTUID").uid(seen.lastuid);
        w.key("LASTCHANGE").date(seen.lastchange).key("SEENUIDS").atom(seen.seenuids).map_end();
    })
}

/// `APPLY SIEVE`: uploads a script. `last_update` in Unix seconds.
pub fn sieve(userid: &str, filename: &str, last_update: i64, content: &[u8]) -> Command {
    line(CommandKind::Sieve, |w| {
        w.key("SIEVE").map_begin().key("USERID").atom(userid).key("FILENAME").atom(filename);
        w.key("LAST_UPDATE").date(last_update).key("CONTENT").amap(content).map_end();
    })
}

/// `APPLY UNSIEVE`: deletes a script.
pub fn unsieve(userid: &str, filename: &str) -> Command {
    line(CommandKind::Unsieve, |w| {
        w.key("UNSIEVE")
            .map_begin()
            .key("USERID")
            .atom(userid)
            .key("FILENAME")
            .atom(filename)
            .map_end();
    })
}

/// `APPLY ACTIVATE_SIEVE`. `filename` is the compiled one, `name.bc`: the server cuts off three characters and looks for
/// the script `name`. The active script is also listed under that name.
pub fn activate_sieve(userid: &str, filename: &str) -> Command {
    line(CommandKind::ActivateSieve, |w| {
        w.key("ACTIVATE_SIEVE").map_begin();
        w.key("USERID").atom(userid).key("FILENAME").atom(filename).map_end();
    })
}

/// `APPLY UNACTIVATE_SIEVE`: no script is active any more.
pub fn unactivate_sieve(userid: &str) -> Command {
    line(CommandKind::UnactivateSieve, |w| {
        w.key("UNACTIVATE_SIEVE").map_begin().key("USERID").atom(userid).map_end();
    })
}

/// `APPLY ANNOTATION`: one annotation of a mailbox, separately.
pub fn annotation(mboxname: &MailboxName, entry: &str, userid: &str, value: &[u8]) -> Command {
    line(CommandKind::Annotation, |w| {
        w.key("ANNOTATION")
            .map_begin()
            .key("MBOXNAME")
            .atom(mboxname.as_str())
            .key("ENTRY")
            .atom(entry);
        w.key("USERID").atom(userid).key("VALUE").amap(value).map_end();
    })
}

/// `APPLY UNANNOTATION`
pub fn unannotation(mboxname: &MailboxName, entry: &str, userid: &str) -> Command {
    line(CommandKind::Unannotation, |w| {
        w.key("UNANNOTATION").map_begin().key("MBOXNAME").atom(mboxname.as_str());
        w.key("ENTRY").atom(entry).key("USERID").atom(userid).map_end();
    })
}

/// `APPLY EXPUNGE`: expunges these messages, if the mailbox still has this unique id.
pub fn expunge(
    mboxname: &MailboxName,
    uniqueid: &UniqueId,
    uids: impl IntoIterator<Item = Uid>,
) -> Command {
    line(CommandKind::Expunge, |w| {
        w.key("EXPUNGE")
            .map_begin()
            .key("MBOXNAME")
            .atom(mboxname.as_str())
            .key("UNIQUEID")
            .atom(uniqueid.as_str());
        w.key("UID").list_begin();
        for uid in uids {
            w.uid(uid);
        }
        w.list_end().map_end();
    })
}

fn bare(kind: CommandKind, words: &str) -> Command {
    Command { kind, bytes: format!("{words}\r\n").into_bytes() }
}

fn named(kind: CommandKind, name: &'static str, value: &str) -> Command {
    line(kind, |w| {
        w.key(name).atom(value);
    })
}

/// A command of one line: GET or APPLY, then what is written.
fn line(kind: CommandKind, write: impl FnOnce(&mut DlistWriter<'_>)) -> Command {
    let mut bytes: Vec<u8> = if kind.is_get() { b"GET ".into() } else { b"APPLY ".into() };
    let mut writer = DlistWriter::new(&mut bytes);
    write(&mut writer);
    writer.end_line();
    Command { kind, bytes }
}

#[cfg(test)]
mod tests;
