//! What holds for all users, however they change.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails by panicking")]

use std::collections::HashSet;

use actors::source::{Checked, Message, Source, Which};
use actors::user_read::{Inbox, UserRead};
use cyrus_store::mailbox::crc;
use cyrus_types::{Guid, ModSeq, Owner, UniqueId};
use sha1::{Digest, Sha1};

use crate::{Plan, Sizes, Synthetic};

fn synthetic(seed: u64) -> Synthetic {
    Synthetic::new(Plan { seed, sizes: Sizes::Between(1, 3000), ..Plan::default() })
}

fn read(source: &Synthetic, userid: &str) -> UserRead {
    source.read_user(&Owner::from(userid), true, None, Inbox::There).unwrap().unwrap()
}

#[test]
fn the_same_seed_and_steps_give_the_same_users() {
    let [one, same, other] = [7, 7, 8].map(|seed| {
        let source = synthetic(seed);
        let steps: Vec<_> = (0..50).map(|_| source.step()).collect();
        let users: Vec<_> = source.userids().map(|id| read(&source, &id).master).collect();
        (steps, users)
    });
    assert_eq!(one, same);
    assert_ne!(one, other);
}

#[test]
fn checksums_stay_right_and_messages_have_their_guids() {
    let source = synthetic(3);
    let mut kinds = HashSet::new();
    for _ in 0..300 {
        let step = source.step();
        kinds.extend(step.changes.iter().map(std::mem::discriminant));
        for entry in read(&source, &step.userid).entries.values() {
            let mut mailbox = source.open(entry).unwrap().unwrap();
            let (index, head) = (mailbox.index(), mailbox.head().unwrap());
            assert_eq!(index.crcs, mailbox.recomputed_crcs(&[]).unwrap());
            assert_eq!(head.crcs, index.crcs);
            let records: Vec<_> =
                mailbox.records(Which::Since(ModSeq::ZERO)).map(Result::unwrap).collect();
            assert!(records.is_sorted_by(|a, b| a.uid < b.uid));
            let live: Vec<_> = records.iter().filter(|r| !r.is_expunged()).collect();
            assert_eq!((index.records, index.exists), (records.len() as u32, live.len() as u32));
            let highest = records.iter().map(|r| r.modseq).max().unwrap_or_default();
            assert!(highest <= index.highestmodseq);
            let without: Vec<_> = live.iter().map(|r| r.uid).collect();
            assert_eq!(mailbox.recomputed_crcs(&without).unwrap(), crc::CRC_INIT);
            if let Some(record) = live.last() {
                let mut small = Vec::new();
                let message = Message::from(*record);
                let Checked::Small(size) = mailbox.message(&message, &mut small).unwrap() else {
                    panic!("{} bytes are not small", record.size)
                };
                assert_eq!(size as u64, record.size);
                assert_eq!(Guid(Sha1::digest(&small[..size]).into()), record.guid);
            }
        }
    }
    assert_eq!(kinds.len(), 12, "every kind of change happens");
}

#[test]
fn records_are_chosen_by_modseq_and_uid() {
    let source = synthetic(1);
    let read = read(&source, "synth000001");
    let entry = &read.entries[read.inbox_id.as_ref().unwrap()];
    let mailbox = source.open(entry).unwrap().unwrap();
    let uids = |which| -> Vec<u32> { mailbox.records(which).map(|r| r.unwrap().uid.0).collect() };
    let all: Vec<_> = mailbox.records(Which::Since(ModSeq::ZERO)).map(Result::unwrap).collect();
    assert_eq!(uids(Which::Since(all[19].modseq)), [21, 22, 23, 24, 25]);
    assert_eq!(
        uids(Which::SinceOrAbove(all[19].modseq, all[17].uid)),
        (19..=25).collect::<Vec<_>>()
    );
    assert_eq!(uids(Which::From(all[22].uid)), [23, 24, 25]);
}

#[test]
fn a_lock_is_held_until_it_is_dropped() {
    use actors::source::LockOutcome::{Busy, Lock};
    let source = synthetic(1);
    let take = |owner: &str| source.lock(&owner.into(), "replica", None).unwrap();
    let held = take("synth000000");
    assert!(matches!(held, Lock(_)) && matches!(take("synth000000"), Busy));
    assert!(matches!(take("synth000001"), Lock(_)));
    drop(held);
    assert!(matches!(take("synth000000"), Lock(_)));
}

#[test]
fn nobody_else_is_there() {
    let source = synthetic(1);
    for userid in ["synth000003", "synth1", "anna", "synth0000001"] {
        let owner = Owner::from(userid);
        assert!(source.read_user(&owner, true, None, Inbox::There).unwrap().is_none(), "{userid}");
        assert!(source.read_user(&owner, true, None, Inbox::Gone).unwrap().is_some(), "{userid}");
    }
    let mut entry = read(&source, "synth000000").entries.values().next().unwrap().clone();
    entry.uniqueid = UniqueId::new("another");
    assert!(source.open(&entry).unwrap().is_none());
}
