//! What a replica reports about a user, a mailbox and a file, as typed values.
//!
//! ```text
//!  GET USER, META, MAILBOXES   * MAILBOX %(…)  * QUOTA %(…)  * SEEN %(…)  * LSUB (…)  * SIEVE %(…)
//!  GET FULLMAILBOX             * MAILBOX %(… RECORD (%(…) …))
//!  GET ANNOTATION              * ANNOTATION %(MBOXNAME … ENTRY … USERID … VALUE …)
//!  GET FETCH                   * MESSAGE %{partition guid size}CRLF…
//!  GET FETCH_SIEVE             * SIEVE %(USERID … FILENAME … CONTENT …)
//!  APPLY RESERVE               * MISSING (guid …)
//!  APPLY CAPABILITIES          * ENABLED (SIEVE-MAILBOX …)
//! ```
//! Source: `imap/sync_support.c` of cyrus-imapd 3.6.1 (`sync_kl_parse`, `sync_prepare_dlists`,
//! `sync_get_*`). Unknown keys are ignored: newer versions add some.

use bytes::Bytes;
use cyrus_types::{Guid, MailboxName, ModSeq, SyncCrcs, Uid, UidValidity, UniqueId};

use crate::decode::Item;
use crate::fields::Fields;
use crate::limits::AnswerError;
use crate::value::{Value, ValueError};

/// An annotation that the replica has, of a mailbox or of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnedAnnotation {
    /// Its entry, such as `/comment`.
    pub entry: String,
    /// Its owner; empty for a shared one.
    pub userid: String,
    /// Its modseq; 0 from servers before 3.2.
    pub modseq: ModSeq,
    /// Its value.
    pub value: Vec<u8>,
}

/// A mailbox as the replica describes it. Times are Unix seconds; optional keys default to 0 or "".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaMailbox {
    /// `UNIQUEID`
    pub uniqueid: UniqueId,
    /// `MBOXNAME`, internal: `user.anna.Sent`.
    pub name: MailboxName,
    /// `MBOXTYPE`; empty for plain mail.
    pub mboxtype: String,
    /// `LAST_UID`
    pub last_uid: Uid,
    /// `HIGHESTMODSEQ`
    pub highestmodseq: ModSeq,
    /// `UIDVALIDITY`
    pub uidvalidity: UidValidity,
    /// `RECENTUID`
    pub recentuid: Uid,
    /// `RECENTTIME`
    pub recenttime: i64,
    /// `LAST_APPENDDATE`
    pub last_appenddate: i64,
    /// `POP3_LAST_LOGIN`
    pub pop3_last_login: i64,
    /// `POP3_SHOW_AFTER`
    pub pop3_show_after: i64,
    /// `SYNC_CRC` and `SYNC_CRC_ANNOT`; 0 is unknown.
    pub crcs: SyncCrcs,
    /// `PARTITION`, on the replica.
    pub partition: String,
    /// `ACL`: `user TAB rights TAB …`.
    pub acl: String,
    /// `OPTIONS`, letters.
    pub options: String,
    /// `QUOTAROOT`
    pub quotaroot: Option<String>,
    /// `XCONVMODSEQ`; 0 when not sent.
    pub xconvmodseq: ModSeq,
    /// `RACLMODSEQ`; 0 when not sent.
    pub raclmodseq: ModSeq,
    /// `CREATEDMODSEQ`; 0 when not sent.
    pub createdmodseq: ModSeq,
    /// `FOLDERMODSEQ`; 0 when not sent.
    pub foldermodseq: ModSeq,
    /// The mailbox's own annotations, in the order received.
    pub annotations: Vec<OwnedAnnotation>,
}

impl ReplicaMailbox {
    /// Reads a `MAILBOX` line. Records in it are not read: see [`FullMailbox`].
    ///
    /// # Errors
    /// When a key is missing that the C client needs too, or a value is malformed.
    pub fn decode(item: &Item) -> Result<ReplicaMailbox, AnswerError> {
        let f = Fields::of(item)?;
        Ok(ReplicaMailbox {
            uniqueid: f.unique_id("UNIQUEID")?,
            name: f.mailbox_name("MBOXNAME")?,
            mboxtype: f.text_or_none("MBOXTYPE")?.unwrap_or_default(),
            last_uid: f.uid("LAST_UID")?,
            highestmodseq: f.modseq("HIGHESTMODSEQ")?,
            uidvalidity: f.uidvalidity("UIDVALIDITY")?,
            recentuid: f.uid("RECENTUID")?,
            recenttime: f.date("RECENTTIME")?,
            last_appenddate: f.date_or_zero("LAST_APPENDDATE")?,
            pop3_last_login: f.date("POP3_LAST_LOGIN")?,
            pop3_show_after: f.date_or_zero("POP3_SHOW_AFTER")?,
            crcs: SyncCrcs {
                basic: f.u32_or_zero("SYNC_CRC")?,
                annot: f.u32_or_zero("SYNC_CRC_ANNOT")?,
            },
            partition: f.text("PARTITION")?,
            acl: f.text("ACL")?,
            options: f.text("OPTIONS")?,
            quotaroot: f.text_or_none("QUOTAROOT")?,
            xconvmodseq: f.modseq_or_zero("XCONVMODSEQ")?,
            raclmodseq: f.modseq_or_zero("RACLMODSEQ")?,
            createdmodseq: f.modseq_or_zero("CREATEDMODSEQ")?,
            foldermodseq: f.modseq_or_zero("FOLDERMODSEQ")?,
            annotations: annotations(&f)?,
        })
    }
}

/// A message's record on the replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaRecord {
    /// `UID`
    pub uid: Uid,
    /// `MODSEQ`
    pub modseq: ModSeq,
    /// `LAST_UPDATED`, Unix seconds.
    pub last_updated: i64,
    /// `FLAGS`: `\Seen`, `\Expunged`, then user flags in the replica's own order.
    pub flags: Vec<String>,
    /// `INTERNALDATE`, Unix seconds.
    pub internaldate: i64,
    /// `SIZE` in bytes.
    pub size: u64,
    /// `GUID`
    pub guid: Guid,
    /// Annotations, including the virtual ones (thread id, savedate, createdmodseq).
    pub annotations: Vec<OwnedAnnotation>,
}

/// A mailbox with all its records: the answer to GET FULLMAILBOX.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FullMailbox {
    /// The mailbox.
    pub mailbox: ReplicaMailbox,
    /// Its records by ascending UID, including expunged ones.
    pub records: Vec<ReplicaRecord>,
}

impl FullMailbox {
    /// Reads a `MAILBOX` line with its records.
    ///
    /// # Errors
    /// When a key is missing that the C client needs too, or a value is malformed.
    pub fn decode(item: &Item) -> Result<FullMailbox, AnswerError> {
        let mut records = Vec::new();
        for value in Fields::of(item)?.list_or_empty("RECORD")? {
            records.push(ReplicaRecord::decode(value)?);
        }
        Ok(FullMailbox { mailbox: ReplicaMailbox::decode(item)?, records })
    }
}

impl ReplicaRecord {
    /// Reads one value of a `MAILBOX` line's `RECORD` list.
    ///
    /// # Errors
    /// When a key is missing that the C client needs too, or a value is malformed.
    pub fn decode(value: &Value) -> Result<ReplicaRecord, AnswerError> {
        let f = Fields::within("RECORD", value)?;
        Ok(ReplicaRecord {
            uid: f.uid("UID")?,
            modseq: f.modseq("MODSEQ")?,
            last_updated: f.date("LAST_UPDATED")?,
            flags: f.need("FLAGS", strings)?,
            internaldate: f.date("INTERNALDATE")?,
            size: f.u64("SIZE")?,
            guid: f.guid("GUID")?,
            annotations: annotations(&f)?,
        })
    }
}

fn annotations(fields: &Fields<'_>) -> Result<Vec<OwnedAnnotation>, AnswerError> {
    let mut read = Vec::new();
    for value in fields.list_or_empty("ANNOTATIONS")? {
        read.push(owned_annotation(&Fields::within("ANNOTATIONS", value)?)?);
    }
    Ok(read)
}

fn owned_annotation(f: &Fields<'_>) -> Result<OwnedAnnotation, AnswerError> {
    Ok(OwnedAnnotation {
        entry: f.text("ENTRY")?,
        userid: f.text("USERID")?,
        modseq: f.modseq_or_zero("MODSEQ")?,
        value: f.maybe("VALUE", |v| v.bytes().map(<[u8]>::to_vec))?.unwrap_or_default(),
    })
}

/// A quota root on the replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaQuota {
    /// `ROOT`
    pub root: String,
    /// Every limit as it was sent, `LIMIT` (which repeats STORAGE, 4294967295 for none) first.
    pub limits: Vec<(String, i64)>,
    /// `MODSEQ`; 0 when not sent.
    pub modseq: ModSeq,
}

/// A Sieve script on a replica that does not keep them in a mailbox. The active one is listed twice: as `name.script`, not
/// active, and as `name.bc`, active, with the null guid and LAST_UPDATE 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaSieve {
    /// `FILENAME`
    pub filename: String,
    /// `LAST_UPDATE`, Unix seconds.
    pub last_update: i64,
    /// `GUID`; old servers send none.
    pub guid: Option<Guid>,
    /// `ISACTIVE`
    pub active: bool,
}

/// A user's seen state in one mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaSeen {
    /// `UNIQUEID` of the mailbox.
    pub uniqueid: UniqueId,
    /// `LASTREAD`, Unix seconds.
    pub lastread: i64,
    /// `LASTUID`
    pub lastuid: Uid,
    /// `LASTCHANGE`, Unix seconds.
    pub lastchange: i64,
    /// `SEENUIDS`, a sequence set.
    pub seenuids: String,
}

/// Everything a replica reports about a user, collected line by line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplicaUser {
    /// Mailboxes in the replica's order, including intermediate and DELETED ones.
    pub mailboxes: Vec<ReplicaMailbox>,
    /// Quota roots.
    pub quotas: Vec<ReplicaQuota>,
    /// Names of subscribed mailboxes.
    pub subscriptions: Vec<MailboxName>,
    /// Sieve scripts.
    pub sieve: Vec<ReplicaSieve>,
    /// Seen state.
    pub seen: Vec<ReplicaSeen>,
}

impl ReplicaUser {
    /// Takes one line of an answer to GET USER, META, MAILBOXES, UNIQUEIDS or QUOTA.
    ///
    /// # Errors
    /// When the line belongs to another answer, lacks a key, or a value is malformed.
    pub fn push(&mut self, item: Item) -> Result<(), AnswerError> {
        match item.name.as_str() {
            "MAILBOX" => self.mailboxes.push(ReplicaMailbox::decode(&item)?),
            "QUOTA" => self.quotas.push(quota(&item)?),
            "LSUB" => {
                let names =
                    strings(&item.value).map_err(|source| bad(&item, "MBOXNAME", source))?;
                self.subscriptions.extend(names.into_iter().map(MailboxName::new));
            }
            "SEEN" => self.seen.push(seen(&item)?),
            "SIEVE" => self.sieve.push(sieve(&item)?),
            _ => return Err(unexpected("GET", &item)),
        }
        Ok(())
    }
}

fn quota(item: &Item) -> Result<ReplicaQuota, AnswerError> {
    let f = Fields::of(item)?;
    let mut limits = Vec::new();
    for (name, value) in f.entries() {
        if name != "ROOT" && name != "MODSEQ" {
            let limit = value.u32().map_err(|source| bad(item, "limit", source))?;
            limits.push((name.clone(), i64::from(limit)));
        }
    }
    Ok(ReplicaQuota { root: f.text("ROOT")?, limits, modseq: f.modseq_or_zero("MODSEQ")? })
}

fn seen(item: &Item) -> Result<ReplicaSeen, AnswerError> {
    let f = Fields::of(item)?;
    Ok(ReplicaSeen {
        uniqueid: f.unique_id("UNIQUEID")?,
        lastread: f.date("LASTREAD")?,
        lastuid: f.uid("LASTUID")?,
        lastchange: f.date("LASTCHANGE")?,
        seenuids: f.text("SEENUIDS")?,
    })
}

fn sieve(item: &Item) -> Result<ReplicaSieve, AnswerError> {
    let f = Fields::of(item)?;
    Ok(ReplicaSieve {
        filename: f.text("FILENAME")?,
        last_update: f.date("LAST_UPDATE")?,
        guid: f.maybe("GUID", Value::guid)?,
        active: f.u32_or_zero("ISACTIVE")? != 0,
    })
}

/// One of the server's annotations: a line of the answer to GET ANNOTATION, which has no modseq.
///
/// # Errors
/// When the line is another one, lacks a key, or a value is malformed.
pub fn annotation(item: &Item) -> Result<OwnedAnnotation, AnswerError> {
    if item.name != "ANNOTATION" {
        return Err(unexpected("ANNOTATION", item));
    }
    owned_annotation(&Fields::of(item)?)
}

/// The guids that the replica still needs: a line of the answer to APPLY RESERVE. No line at all
/// means that it has everything.
///
/// # Errors
/// When the line is another one, or holds something else than guids.
pub fn missing(item: &Item) -> Result<Vec<Guid>, AnswerError> {
    if item.name != "MISSING" {
        return Err(unexpected("RESERVE", item));
    }
    let values = item.value.list().map_err(|source| bad(item, "GUID", source))?;
    let guids: Result<Vec<Guid>, ValueError> = values.iter().map(Value::guid).collect();
    guids.map_err(|source| bad(item, "GUID", source))
}

/// The capabilities that the replica has switched on: the answer to APPLY CAPABILITIES.
///
/// # Errors
/// When the line is another one, or holds something else than names.
pub fn enabled(item: &Item) -> Result<Vec<String>, AnswerError> {
    if item.name != "ENABLED" {
        return Err(unexpected("CAPABILITIES", item));
    }
    strings(&item.value).map_err(|source| bad(item, "capability", source))
}

/// A message file: the answer to GET FETCH. Whether the bytes have this guid is for the caller to check.
///
/// # Errors
/// When the line is another one, or holds no file.
pub fn message(item: Item) -> Result<(Guid, Bytes), AnswerError> {
    match item.value {
        Value::File { guid, data, .. } if item.name == "MESSAGE" => Ok((guid, data)),
        _ => Err(unexpected("FETCH", &item)),
    }
}

fn strings(value: &Value) -> Result<Vec<String>, ValueError> {
    value.list()?.iter().map(|name| name.str().map(str::to_owned)).collect()
}

fn bad(item: &Item, key: &'static str, source: ValueError) -> AnswerError {
    AnswerError::Bad { line: item.name.clone(), key, source }
}

fn unexpected(command: &'static str, item: &Item) -> AnswerError {
    AnswerError::Unexpected { command, line: item.name.clone() }
}
