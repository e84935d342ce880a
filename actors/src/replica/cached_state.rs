//! A mailbox's state on the replica as the cache stores it: the line that answers GET MAILBOXES.

use bytes::BytesMut;
use csync::{Annotation, Decoder, Framing, Limits, MailboxHead, ReplicaMailbox, Reply};

pub(crate) fn encode(state: &ReplicaMailbox) -> Vec<u8> {
    let annotations: Vec<Annotation<'_>> = state
        .annotations
        .iter()
        .map(|a| Annotation {
            entry: &a.entry,
            userid: &a.userid,
            modseq: a.modseq,
            value: &a.value,
        })
        .collect();
    let head = MailboxHead {
        uniqueid: &state.uniqueid,
        mboxname: &state.name,
        mboxtype: (!state.mboxtype.is_empty()).then_some(&*state.mboxtype),
        sync_crc: state.crcs.basic,
        sync_crc_annot: Some(state.crcs.annot),
        last_uid: state.last_uid,
        highestmodseq: state.highestmodseq,
        recentuid: state.recentuid,
        recenttime: state.recenttime,
        last_appenddate: state.last_appenddate,
        pop3_last_login: state.pop3_last_login,
        pop3_show_after: state.pop3_show_after,
        xconvmodseq: state.xconvmodseq,
        raclmodseq: state.raclmodseq,
        uidvalidity: state.uidvalidity,
        partition: &state.partition,
        acl: &state.acl,
        options: &state.options,
        quotaroot: state.quotaroot.as_deref(),
        createdmodseq: state.createdmodseq,
        foldermodseq: state.foldermodseq,
        annotations: &annotations,
        userflags: None,
        usergroups: None,
        since: None,
    };
    let mut line = b"* ".to_vec();
    csync::mailbox_line(&mut line, &head);
    line.extend_from_slice(b"\r\n");
    line
}

/// `None` if it was written by another version of this program.
pub(crate) fn decode(line: &[u8]) -> Option<ReplicaMailbox> {
    match Decoder::new(Framing::Csync, Limits::default()).decode(&mut BytesMut::from(line)) {
        Ok(Some(Reply::Untagged(item))) => ReplicaMailbox::decode(&item).ok(),
        _ => None,
    }
}
