//! One MAILBOX command: the records of a batch, and the messages that must be sent before it.

use std::collections::{HashSet, VecDeque};

use cyrus_types::Uid;

use crate::error::MasterError;
use crate::master::batches::{self, Base, Batch, modseq_in_step};
use crate::master::encode::{self, State};
use crate::master::mailbox_command::{CommandHead, Encoded};
use crate::master::plan_mailbox::{BatchPlanner, spool_failed};
use crate::master::record_buffer::RecordBuffer;
use crate::master::source::{MailboxSource, Message, Which};
use crate::replica::frames::FRAME_BYTES;

impl BatchPlanner<'_> {
    pub(super) fn plan_steps(
        &self,
        m: &dyn MailboxSource,
        base: &Base,
    ) -> Result<VecDeque<Batch>, MasterError> {
        batches::plan(m, base, self.sync.batch_messages).map_err(|e| self.damaged(e))
    }

    /// The command of one batch. If it would be too large, the batches are planned again, also by bytes.
    pub(super) fn encode_step(
        &self,
        mailbox: &dyn MailboxSource,
        without: &[Uid],
        head: &mut CommandHead<'_>,
        steps: &mut VecDeque<Batch>,
    ) -> Result<Encoded, MasterError> {
        if let Some(encoded) = self.encode(mailbox, without, head)? {
            return Ok(encoded);
        }
        *steps = self.plan_steps(mailbox, &head.base)?;
        head.step = steps.pop_front();
        head.most = u64::MAX;
        match self.encode(mailbox, without, head)? {
            Some(encoded) => Ok(encoded),
            None => Err(MasterError::Internal("a step has no end".into())),
        }
    }

    /// `None` if it would bring more bytes than allowed.
    fn encode(
        &self,
        mailbox: &dyn MailboxSource,
        without: &[Uid],
        head: &CommandHead<'_>,
    ) -> Result<Option<Encoded>, MasterError> {
        let CommandHead { crcs, base, step, most, replica } = *head;
        let partition = self.partition();
        let mut spool = RecordBuffer::new();
        let mut messages = Vec::new();
        let mut records = 0;
        let mut expunged = 0;
        let state = match step {
            None => State::Whole(crcs),
            Some(Batch { last_uid, highestmodseq }) => State::Partial { last_uid, highestmodseq },
        };
        let groups = match self.user_flags {
            true => Some(mailbox.groups()?),
            false => None,
        };
        let head = encode::Head {
            local_only: self.sync.local_only,
            one_way: self.sync.one_way,
            partition: &partition,
            state,
            since: base.since,
            replica,
            groups: groups.as_deref(),
        };
        let mut encoder = encode::Encoder::begin(mailbox, &head)?;
        let spool_failed = |e| spool_failed(&self.entry.name, &e);
        let mut listed = HashSet::new();
        let (mut bytes, mut reserved) = (0, 0);
        // A new record may have a modseq that the replica has reached by a change of its own; once the replica's LAST_UID
        // has passed its UID, it can't be appended any more.
        for record in mailbox.records(Which::SinceOrAbove(base.highestmodseq, base.last_uid)) {
            let record = record.map_err(|e| self.damaged(e))?;
            if step.is_some_and(|s| record.uid > s.last_uid) {
                break;
            }
            let Some(modseq) = modseq_in_step(&record, &base, step) else { continue };
            if without.binary_search(&record.uid).is_ok() {
                continue;
            }
            records += 1;
            encoder.record(&record, modseq).map_err(|e| self.damaged(e))?;
            if encoder.pending() >= FRAME_BYTES {
                encoder.drain(|bytes| spool.write(bytes)).map_err(spool_failed)?;
            }
            expunged += u64::from(record.is_expunged() && record.uid <= base.last_uid);
            let guid = record.guid;
            let is_new = record.uid > base.last_uid && !record.is_unlinked();
            if is_new && self.staged.contains(&partition, &guid) {
                reserved += 1;
            } else if is_new && listed.insert(guid) {
                bytes += record.size;
                if bytes > most && !messages.is_empty() {
                    return Ok(None);
                }
                messages.push(Message::from(&record));
            }
        }
        spool.write(&encoder.end()).map_err(spool_failed)?;
        Ok(Some(Encoded { spool, messages, bytes, reserved, records, expunged }))
    }
}
