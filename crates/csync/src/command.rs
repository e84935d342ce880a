//! Commands as bytes, in the csync form; [`tag`] turns them into their IMAP form.
//!
//! ```text
//!  csync:      GET USER anna CRLF         APPLY SUB %(USERID anna …) CRLF    RESTART CRLF       EXIT CRLF
//!  IMAP:  S12 SYNCGET USER anna CRLF  S13 SYNCAPPLY SUB %(…) CRLF       S14 SYNCRESTART CRLF  S15 LOGOUT CRLF
//! ```
//! Source: the callers of `sync_send_apply`, `sync_send_lookup` and `sync_send_restart` in
//! `imap/sync_support.c` of cyrus-imapd 3.6.1; keys stand in the order in which it sends them.
//! Literals are always `{n+}`, so nothing here waits for an answer.

use crate::decode::Framing;
use crate::guid::Guid;
use crate::write::{DlistWriter, put_num};

/// Hands out tags for csync over IMAP: `S0`, `S1`, … as the C client's.
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

/// Writes what stands before a command of this module in the IMAP form: the tag, and `SYNC` where
/// the command is one of replication's own. `command` is its beginning, at least the first word.
/// In the csync form nothing is written.
pub fn tag(out: &mut Vec<u8>, framing: Framing, tag: u64, command: &[u8]) {
    if framing == Framing::Csync {
        return;
    }
    out.push(b'S');
    put_num(out, tag);
    out.push(b' ');
    if is_sync_command(command) {
        out.extend_from_slice(b"SYNC");
    }
}

fn is_sync_command(command: &[u8]) -> bool {
    [&b"GET "[..], b"APPLY ", b"RESTORE ", b"RESTART"].iter().any(|verb| command.starts_with(verb))
}

/// The first word of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Asks.
    Get,
    /// Changes.
    Apply,
    /// Forgets the messages that were staged on this connection.
    Restart,
    /// Nothing.
    Noop,
    /// Ends the connection.
    Exit,
}

/// Writes a command's beginning, tag and name included; what follows is its value and CRLF. `name`
/// is ignored for RESTART, NOOP and EXIT.
pub fn begin(out: &mut Vec<u8>, framing: Framing, number: u64, verb: Verb, name: &str) {
    let word: &[u8] = match verb {
        Verb::Get => b"GET ",
        Verb::Apply => b"APPLY ",
        Verb::Restart => b"RESTART",
        Verb::Noop => b"NOOP",
        Verb::Exit => exit_word(framing),
    };
    tag(out, framing, number, word);
    out.extend_from_slice(word);
    if matches!(verb, Verb::Get | Verb::Apply) {
        DlistWriter::new(out).atom(name);
        out.push(b' ');
    }
}

fn exit_word(framing: Framing) -> &'static [u8] {
    match framing {
        Framing::Csync => b"EXIT",
        Framing::Imap => b"LOGOUT",
    }
}

/// `NOOP`, the same in both forms.
pub fn noop(out: &mut Vec<u8>) {
    out.extend_from_slice(b"NOOP\r\n");
}

/// `RESTART`: the server drops the files it was sent or found for this connection.
pub fn restart(out: &mut Vec<u8>) {
    out.extend_from_slice(b"RESTART\r\n");
}

/// `EXIT`, which is called `LOGOUT` over IMAP. There the answer is an untagged BYE first.
pub fn exit(out: &mut Vec<u8>, framing: Framing) {
    out.extend_from_slice(exit_word(framing));
    out.extend_from_slice(b"\r\n");
}

/// `GET USER`: a user's mailboxes, quota roots, seen state, subscriptions and scripts.
pub fn get_user(out: &mut Vec<u8>, userid: &str) {
    named(out, "GET ", "USER", userid);
}

/// `GET META`: seen state, subscriptions and scripts alone.
pub fn get_meta(out: &mut Vec<u8>, userid: &str) {
    named(out, "GET ", "META", userid);
}

/// `GET QUOTA`
pub fn get_quota(out: &mut Vec<u8>, root: &str) {
    named(out, "GET ", "QUOTA", root);
}

/// `GET FULLMAILBOX`: a mailbox with all its records.
pub fn get_fullmailbox(out: &mut Vec<u8>, mboxname: &str) {
    named(out, "GET ", "FULLMAILBOX", mboxname);
}

/// `GET ANNOTATION`: a mailbox's annotations; with an empty name the server's own.
pub fn get_annotation(out: &mut Vec<u8>, mboxname: &str) {
    named(out, "GET ", "ANNOTATION", mboxname);
}

/// `GET MAILBOXES`: mailboxes by name, without their records.
pub fn get_mailboxes<'n>(out: &mut Vec<u8>, mboxnames: impl IntoIterator<Item = &'n str>) {
    line(out, "GET ", |w| {
        w.key("MAILBOXES").list_begin();
        for name in mboxnames {
            w.atom(name);
        }
        w.list_end();
    });
}

/// `GET UNIQUEIDS`: mailboxes by unique id, without their records. Not known before 3.2.
pub fn get_uniqueids<'n>(out: &mut Vec<u8>, uniqueids: impl IntoIterator<Item = &'n str>) {
    line(out, "GET ", |w| {
        w.key("UNIQUEIDS").list_begin();
        for id in uniqueids {
            w.atom(id);
        }
        w.list_end();
    });
}

/// `GET FETCH`: one message's file.
pub fn get_fetch(
    out: &mut Vec<u8>,
    mboxname: &str,
    partition: &str,
    uniqueid: &str,
    guid: &Guid,
    uid: u32,
) {
    line(out, "GET ", |w| {
        w.key("FETCH").map_begin().key("MBOXNAME").atom(mboxname).key("PARTITION").atom(partition);
        w.key("UNIQUEID")
            .atom(uniqueid)
            .key("GUID")
            .guid(guid)
            .key("UID")
            .num(uid.into())
            .map_end();
    });
}

/// `GET FETCH_SIEVE`: one Sieve script's content.
pub fn get_fetch_sieve(out: &mut Vec<u8>, userid: &str, filename: &str) {
    line(out, "GET ", |w| {
        w.key("FETCH_SIEVE")
            .map_begin()
            .key("USERID")
            .atom(userid)
            .key("FILENAME")
            .atom(filename)
            .map_end();
    });
}

/// `APPLY CAPABILITIES`: switches on what the banner offers.
pub fn capabilities<'n>(out: &mut Vec<u8>, names: impl IntoIterator<Item = &'n str>) {
    line(out, "APPLY ", |w| {
        w.key("CAPABILITIES").list_begin();
        for name in names {
            w.atom(name);
        }
        w.list_end();
    });
}

/// `APPLY FORCE`: the server takes what the master says, whatever it has (-O). It stays in force
/// for the server's process, not just for this connection. Not known before 3.6.
pub fn force(out: &mut Vec<u8>) {
    // The map is empty, but it must be there: with nothing after FORCE the server reads on.
    line(out, "APPLY ", |w| {
        w.key("FORCE").map_begin().map_end();
    });
}

/// `APPLY RESERVE`: asks which of these messages the replica has in one of these mailboxes. It
/// keeps them for this connection and answers with the others ([`missing`](crate::missing)).
pub fn reserve<'n>(
    out: &mut Vec<u8>,
    partition: &str,
    mboxnames: impl IntoIterator<Item = &'n str>,
    guids: impl IntoIterator<Item = &'n Guid>,
) {
    line(out, "APPLY ", |w| {
        w.key("RESERVE").map_begin().key("PARTITION").atom(partition).key("MBOXNAME").list_begin();
        for name in mboxnames {
            w.atom(name);
        }
        w.list_end().key("GUID").list_begin();
        for guid in guids {
            w.guid(guid);
        }
        w.list_end().map_end();
    });
}

/// Opens `APPLY MESSAGE (`. Then for every file [`message_file`] and its bytes, then [`message_end`].
pub fn message_begin(out: &mut Vec<u8>) {
    out.extend_from_slice(b"APPLY ");
    DlistWriter::new(out).key("MESSAGE").list_begin();
}

/// One file's head in `APPLY MESSAGE`; exactly `size` bytes follow it. `first` is true for the
/// first file of the command.
pub fn message_file(out: &mut Vec<u8>, first: bool, partition: &str, guid: &Guid, size: u64) {
    let mut writer = if first { DlistWriter::new(out) } else { DlistWriter::resume(out) };
    writer.file_head(partition, guid, size);
}

/// Closes `APPLY MESSAGE`.
pub fn message_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b")\r\n");
}

/// `APPLY RENAME`; with `local` `LOCAL_RENAME` (-L).
pub fn rename(
    out: &mut Vec<u8>,
    local: bool,
    old: &str,
    new: &str,
    partition: &str,
    uidvalidity: u32,
) {
    line(out, "APPLY ", |w| {
        w.key(if local { "LOCAL_RENAME" } else { "RENAME" }).map_begin();
        w.key("OLDMBOXNAME").atom(old).key("NEWMBOXNAME").atom(new);
        w.key("PARTITION").atom(partition).key("UIDVALIDITY").num(uidvalidity.into()).map_end();
    });
}

/// `APPLY UNMAILBOX`; with `local` `LOCAL_UNMAILBOX` (-L).
pub fn unmailbox(out: &mut Vec<u8>, local: bool, mboxname: &str) {
    named(out, "APPLY ", if local { "LOCAL_UNMAILBOX" } else { "UNMAILBOX" }, mboxname);
}

/// `APPLY UNUSER`; with `local` `LOCAL_UNUSER` (-L).
pub fn unuser(out: &mut Vec<u8>, local: bool, userid: &str) {
    named(out, "APPLY ", if local { "LOCAL_UNUSER" } else { "UNUSER" }, userid);
}

/// `APPLY QUOTA`. `limits` are sent as they are: `LIMIT` first (STORAGE again, 4294967295 for none),
/// then those that are set, in the order STORAGE, MESSAGE, X-ANNOTATION-STORAGE, X-NUM-FOLDERS.
pub fn quota<'n>(
    out: &mut Vec<u8>,
    root: &str,
    limits: impl IntoIterator<Item = (&'n str, u64)>,
    modseq: u64,
) {
    line(out, "APPLY ", |w| {
        w.key("QUOTA").map_begin().key("ROOT").atom(root);
        for (name, limit) in limits {
            w.atom(name).num(limit);
        }
        w.key("MODSEQ").num(modseq).map_end();
    });
}

/// `APPLY UNQUOTA`
pub fn unquota(out: &mut Vec<u8>, root: &str) {
    named(out, "APPLY ", "UNQUOTA", root);
}

/// `APPLY SUB`, or `APPLY UNSUB` when `subscribed` is false.
pub fn subscription(out: &mut Vec<u8>, subscribed: bool, userid: &str, mboxname: &str) {
    line(out, "APPLY ", |w| {
        w.key(if subscribed { "SUB" } else { "UNSUB" }).map_begin();
        w.key("USERID").atom(userid).key("MBOXNAME").atom(mboxname).map_end();
    });
}

/// What `APPLY SEEN` sends: a user's seen state in one mailbox. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Whose it is.
    pub userid: &'a str,
    /// The mailbox.
    pub uniqueid: &'a str,
    /// When it was last read.
    pub lastread: i64,
    /// The highest UID at that time.
    pub lastuid: u32,
    /// When the state last changed.
    pub lastchange: i64,
    /// A sequence set.
    pub seenuids: &'a str,
}

/// `APPLY SEEN`
pub fn seen(out: &mut Vec<u8>, seen: &Seen<'_>) {
    line(out, "APPLY ", |w| {
        w.key("SEEN")
            .map_begin()
            .key("USERID")
            .atom(seen.userid)
            .key("UNIQUEID")
            .atom(seen.uniqueid);
        w.key("LASTREAD").date(seen.lastread).key("LASTUID").num(seen.lastuid.into());
        w.key("LASTCHANGE").date(seen.lastchange).key("SEENUIDS").atom(seen.seenuids).map_end();
    });
}

/// `APPLY SIEVE`: uploads a script. `last_update` in Unix seconds.
pub fn sieve(out: &mut Vec<u8>, userid: &str, filename: &str, last_update: i64, content: &[u8]) {
    line(out, "APPLY ", |w| {
        w.key("SIEVE").map_begin().key("USERID").atom(userid).key("FILENAME").atom(filename);
        w.key("LAST_UPDATE").date(last_update).key("CONTENT").amap(content).map_end();
    });
}

/// `APPLY UNSIEVE`: deletes a script.
pub fn unsieve(out: &mut Vec<u8>, userid: &str, filename: &str) {
    line(out, "APPLY ", |w| {
        w.key("UNSIEVE")
            .map_begin()
            .key("USERID")
            .atom(userid)
            .key("FILENAME")
            .atom(filename)
            .map_end();
    });
}

/// `APPLY ACTIVATE_SIEVE`. `filename` is the compiled one, `name.bc`: the server cuts three characters
/// off and looks for the script `name`. The active script is also listed under that name.
pub fn activate_sieve(out: &mut Vec<u8>, userid: &str, filename: &str) {
    line(out, "APPLY ", |w| {
        w.key("ACTIVATE_SIEVE").map_begin();
        w.key("USERID").atom(userid).key("FILENAME").atom(filename).map_end();
    });
}

/// `APPLY UNACTIVATE_SIEVE`: no script is active any more.
pub fn unactivate_sieve(out: &mut Vec<u8>, userid: &str) {
    line(out, "APPLY ", |w| {
        w.key("UNACTIVATE_SIEVE").map_begin().key("USERID").atom(userid).map_end();
    });
}

/// `APPLY ANNOTATION`: a mailbox's annotation by itself.
pub fn annotation(out: &mut Vec<u8>, mboxname: &str, entry: &str, userid: &str, value: &[u8]) {
    line(out, "APPLY ", |w| {
        w.key("ANNOTATION").map_begin().key("MBOXNAME").atom(mboxname).key("ENTRY").atom(entry);
        w.key("USERID").atom(userid).key("VALUE").amap(value).map_end();
    });
}

/// `APPLY UNANNOTATION`
pub fn unannotation(out: &mut Vec<u8>, mboxname: &str, entry: &str, userid: &str) {
    line(out, "APPLY ", |w| {
        w.key("UNANNOTATION").map_begin().key("MBOXNAME").atom(mboxname);
        w.key("ENTRY").atom(entry).key("USERID").atom(userid).map_end();
    });
}

/// `APPLY EXPUNGE`: these messages go, if the mailbox still has this unique id.
pub fn expunge(
    out: &mut Vec<u8>,
    mboxname: &str,
    uniqueid: &str,
    uids: impl IntoIterator<Item = u32>,
) {
    line(out, "APPLY ", |w| {
        w.key("EXPUNGE").map_begin().key("MBOXNAME").atom(mboxname).key("UNIQUEID").atom(uniqueid);
        w.key("UID").list_begin();
        for uid in uids {
            w.num(uid.into());
        }
        w.list_end().map_end();
    });
}

fn named(out: &mut Vec<u8>, verb: &str, name: &'static str, value: &str) {
    line(out, verb, |w| {
        w.key(name).atom(value);
    });
}

fn line(out: &mut Vec<u8>, verb: &str, write: impl FnOnce(&mut DlistWriter<'_>)) {
    out.extend_from_slice(verb.as_bytes());
    let mut writer = DlistWriter::new(out);
    write(&mut writer);
    writer.end_line();
}

#[cfg(test)]
mod tests;
