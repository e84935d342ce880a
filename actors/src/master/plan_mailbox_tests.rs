//! Batches as they are planned, without a connection.

use cyrus_types::{Guid, Uid};
use testkit::store::Plan;

use crate::error::MasterError;
use crate::master::bad_files::{BadFile, Files};
use crate::master::plan_mailbox::{BatchPlan, BatchPlanner, Next, Planned, SendMode};
use crate::master::source::Message;
use crate::master::testing::{Master, messages};
use crate::replica::staged::Staged;
use crate::settings::SyncSettings;

const MESSAGES: usize = 25;

fn master() -> Master {
    Master::of(&Plan { users: 1, mailboxes: 1, messages: MESSAGES, ..Plan::default() })
}

/// Plans the INBOX for a replica that lacks it, in batches of ten.
fn plan(master: &Master, next: Option<&Next>, staged: &Staged, files: &mut Files) -> Planned {
    let sync = SyncSettings { batch_messages: 10, ..SyncSettings::default() };
    let planner = BatchPlanner {
        sync: &sync,
        entry: &master.entry(0, 0),
        replica: None,
        how: &SendMode::Since,
        next,
        staged,
        user_flags: false,
    };
    planner.plan(&*master.inbox(), files).unwrap()
}

fn batch(planned: Planned) -> BatchPlan {
    match planned {
        Planned::Batch(batch) => *batch,
        Planned::Unchanged | Planned::NeedsFull | Planned::Bad => panic!("no batch"),
    }
}

fn uids(messages: &[Message]) -> Vec<u32> {
    messages.iter().map(|message| message.uid.0).collect()
}

#[test]
fn a_large_mailbox_is_planned_batch_by_batch() {
    let master = master();
    let mut next = None;
    let mut planned = Vec::new();
    loop {
        let mut files = Files::default();
        let batch = batch(plan(&master, next.as_ref(), &Staged::default(), &mut files));
        assert_eq!(batch.bytes, batch.messages.iter().map(|m| m.size).sum::<u64>());
        assert_eq!(batch.brings.mailboxes, u64::from(batch.next.is_none()));
        assert!(batch.records.size() > 100 * batch.messages.len());
        planned.push(uids(&batch.messages));
        next = batch.next;
        if next.is_none() {
            break;
        }
    }
    let wanted: [Vec<u32>; 3] = [(1..=10).collect(), (11..=20).collect(), (21..=25).collect()];
    assert_eq!(planned, wanted);
}

#[test]
fn what_the_replica_keeps_for_us_is_not_sent_again() {
    let master = master();
    let kept: Vec<Guid> = messages(&*master.inbox())[..4].iter().map(|m| m.guid).collect();
    let mut staged = Staged::default();
    staged.add("default", kept.iter().copied());
    let batch = batch(plan(&master, None, &staged, &mut Files::default()));
    assert_eq!((uids(&batch.messages), batch.reserved), ((5..=10).collect(), 4));
}

#[test]
fn messages_with_bad_files_are_left_out_and_nothing_is_sent_for_them_alone() {
    let master = master();
    let all = messages(&*master.inbox());
    let bad = |messages: &[Message]| Files {
        bad: messages
            .iter()
            .map(|m| BadFile { uid: m.uid, guid: m.guid, why: None::<MasterError> })
            .collect(),
        ..Files::default()
    };
    let mut files = bad(&all[1..3]);
    let first = batch(plan(&master, None, &Staged::default(), &mut files));
    assert_eq!(uids(&first.messages), [1, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(files.without, [Uid(2), Uid(3)]);

    let second = batch(plan(&master, first.next.as_ref(), &Staged::default(), &mut files));
    let mut files = bad(&all[20..]);
    let third = plan(&master, second.next.as_ref(), &Staged::default(), &mut files);
    assert!(matches!(third, Planned::Bad));
}
