//! The plan for one user, case by case.

use cyrus_types::{MailboxName, ModSeq, Owner, Uid, UniqueId};

use super::*;

fn here(name: &str, id: &str) -> Folder {
    Folder::Mailbox(Box::new(MasterMailbox {
        name: MailboxName::new(name),
        uniqueid: UniqueId::new(id),
        partition: "default".into(),
        highestmodseq: ModSeq(5),
        ..Default::default()
    }))
}

fn there(name: &str, id: &str) -> ReplicaMailbox {
    ReplicaMailbox {
        name: MailboxName::new(name),
        uniqueid: UniqueId::new(id),
        partition: "default".into(),
        highestmodseq: ModSeq(5),
        ..Default::default()
    }
}

fn held(mailbox: &str, uniqueid: &str) -> PlanError {
    PlanError::NameHeld {
        mailbox: MailboxName::new(mailbox),
        uniqueid: UniqueId::new(uniqueid),
        alive: false,
    }
}

fn filled(name: &str, id: &str) -> ReplicaMailbox {
    ReplicaMailbox { last_uid: Uid(1), ..there(name, id) }
}

fn sides(folders: Vec<Folder>, mailboxes: Vec<ReplicaMailbox>) -> (MasterUser, ReplicaUser) {
    (
        MasterUser { owner: "a".into(), folders, ..Default::default() },
        ReplicaUser { mailboxes, ..Default::default() },
    )
}

#[test]
fn equal_users_need_nothing() {
    let (m, r) = sides(vec![here("user.a", "1")], vec![there("user.a", "1")]);
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert!(plan.is_empty());
    assert_eq!(plan.unchanged, 1);
}

#[test]
fn nothing_is_deleted_without_a_tombstone() {
    let (m, r) = sides(
        vec![here("user.a", "1")],
        vec![
            there("user.a", "1"),
            there("user.a.x", "2"),
            there("user.a.y", "3"),
            there("user.a.z", "4"),
        ],
    );
    let uniqueids = HashSet::from([UniqueId::new("3")]);
    let tombstones = Tombstones { uniqueids, ..Tombstones::default() };
    let mut m = MasterUser { tombstone_names: vec![MailboxName::new("user.a.x")], ..m };
    let plan = plan_user(&m, &r, &tombstones, &Options::default());
    assert_eq!(plan.deletes, ["user.a.y"], "a name proves nothing");
    assert_eq!(plan.orphans, ["user.a.x", "user.a.z"]);
    // A mailbox that was deleted with delay and has expired here goes below DELETED there, once.
    let moved = Moved { name: MailboxName::new("DELETED.user.a.z.1"), uidvalidity: UidValidity(7) };
    let moved = HashMap::from([(UniqueId::new("4"), moved)]);
    let alive = HashSet::from([UniqueId::new("4")]);
    let mut r = r;
    let tombstones = Tombstones { moved, alive, ..tombstones };
    let plan = plan_user(&m, &r, &tombstones, &Options::default());
    let renames: Vec<_> = plan.renames.iter().map(|r| (r.from.as_str(), r.to.as_str())).collect();
    assert_eq!(renames, [("user.a.z", "DELETED.user.a.z.1")]);
    r.mailboxes[3].name = MailboxName::new("DELETED.user.a.z.1");
    let plan = plan_user(&m, &r, &tombstones, &Options::default());
    assert!(plan.renames.is_empty() && plan.orphans == ["user.a.x"], "{plan:?}");
    r.mailboxes[3].name = MailboxName::new("user.a.z");
    // While anything can't be read, nothing is removed.
    m.incomplete = true;
    let plan = plan_user(&m, &r, &tombstones, &Options::default());
    assert!(plan.deletes.is_empty() && plan.renames.is_empty(), "{plan:?}");
    assert_eq!(plan.withheld.mailboxes, ["user.a.y", "user.a.z"]);
}

#[test]
fn what_lives_here_is_never_deleted_nor_reported() {
    let (m, r) = sides(
        vec![here("user.a", "1")],
        vec![there("user.a", "1"), there("user.a.x", "2"), there("user.a.y", "3")],
    );
    let alive = HashSet::from([UniqueId::new("2"), UniqueId::new("3")]);
    let uniqueids = HashSet::from([UniqueId::new("2")]);
    let tombstones = Tombstones { uniqueids, alive, ..Tombstones::default() };
    let plan = plan_user(&m, &r, &tombstones, &Options::default());
    assert!(plan.is_empty() && plan.orphans.is_empty(), "{plan:?}");
}

#[test]
fn nothing_of_a_user_is_taken_away_while_something_can_not_be_read() {
    let (m, r) = sides(vec![here("user.a", "1")], vec![there("user.a", "1")]);
    let quota = csync::ReplicaQuota { root: "user.a".into(), limits: vec![], modseq: ModSeq(1) };
    let r =
        ReplicaUser { quotas: vec![quota], subscriptions: vec![MailboxName::new("user.a")], ..r };
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!((plan.quotas.len(), plan.subscriptions.len()), (1, 1));
    let m = MasterUser { incomplete: true, ..m };
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert!(plan.is_empty(), "{plan:?}");
    let said = plan.withheld.to_string();
    assert_eq!(said, "quota root user.a, a subscription or script");
}

#[test]
fn a_name_held_by_an_orphan_is_a_conflict_also_for_who_needs_it_in_turn() {
    let (m, r) = sides(
        vec![here("user.a.x", "new"), here("user.a.y", "4"), here("user.a.z", "5")],
        vec![filled("user.a.x", "old"), there("user.a.w", "4"), filled("user.a.y", "3")],
    );
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!(plan.left_out, [held("user.a.x", "old"), held("user.a.y", "3")]);
    assert!(plan.renames.is_empty());
    assert_eq!(plan.updates.len(), 1, "user.a.z goes on: {plan:?}");
}

#[test]
fn a_held_name_is_contested_with_one_way_alone() {
    let (m, r) = sides(
        vec![here("user.a.x", "new"), here("user.a.y", "4")],
        vec![filled("user.a.x", "old"), filled("user.a.y", "3"), there("user.a.w", "4")],
    );
    let one_way = Options { one_way: true, ..Options::default() };
    let alive = HashSet::from([UniqueId::new("3")]);
    let tombstones = Tombstones { alive, ..Tombstones::default() };
    let plan = plan_user(&m, &r, &tombstones, &one_way);
    let contest = Contest {
        mailbox: MailboxName::new("user.a.x"),
        ours: UniqueId::new("new"),
        theirs: UniqueId::new("old"),
    };
    assert_eq!(plan.contests, std::slice::from_ref(&contest));
    assert!(!plan.is_empty() && plan.deletes.is_empty(), "{plan:?}");
    assert_eq!(plan.left_out.len(), 1, "what lives here is not contested");
    assert_eq!(contest.lost(), held("user.a.x", "old"));
    let m = MasterUser { incomplete: true, ..m };
    let plan = plan_user(&m, &r, &tombstones, &one_way);
    assert_eq!((plan.contests.len(), plan.left_out.len()), (0, 2));
}

#[test]
fn a_name_held_by_what_never_held_a_message_is_freed() {
    let (m, r) = sides(
        vec![here("user.a.x", "new"), here("user.a.y", "4")],
        vec![there("user.a.x", "made up"), there("user.a.y", "4"), there("user.a.z", "5")],
    );
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!(plan.deletes, ["user.a.x"]);
    assert_eq!((plan.orphans, plan.left_out), (vec![MailboxName::new("user.a.z")], vec![]));
    assert_eq!(plan.updates.len(), 1);
    // Unless it exists here all the same.
    let alive = HashSet::from([UniqueId::new("made up")]);
    let tombstones = Tombstones { alive, ..Tombstones::default() };
    let plan = plan_user(&m, &r, &tombstones, &Options::default());
    assert_eq!((plan.deletes.len(), plan.left_out.len()), (0, 1));
    // Shared mailboxes may be another master's: one of ours must be below it.
    let mut m = MasterUser { owner: Owner::Shared, ..m };
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!((plan.deletes.len(), plan.left_out.len()), (0, 1));
    m.folders.push(here("user.a.x.below", "6"));
    let mut r = r;
    r.mailboxes.push(there("user.a.x.below", "6"));
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!((plan.deletes.len(), plan.left_out.len()), (1, 0));
}

#[test]
fn another_name_or_partition_is_a_rename() {
    let (m, r) = sides(
        vec![here("user.a", "1"), here("user.a.new", "2")],
        vec![there("user.a", "1"), there("user.a.old", "2")],
    );
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!(plan.renames.len(), 1);
    assert_eq!(plan.renames[0].from, "user.a.old");
    let options = Options { partition: Some("big".into()), ..Default::default() };
    let plan = plan_user(&m, &r, &Tombstones::default(), &options);
    assert_eq!(plan.renames.len(), 2);
    assert!(plan.renames.iter().all(|r| r.partition == "big"));
}

#[test]
fn a_mailbox_that_needs_copyback_is_left_out_and_the_others_go_on() {
    let mut ahead = there("user.a", "1");
    ahead.highestmodseq = ModSeq(6);
    let (m, r) = sides(vec![here("user.a", "1"), here("user.a.new", "2")], vec![ahead]);
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!(plan.left_out.len(), 1);
    let said = plan.left_out[0].to_string();
    assert!(said.starts_with("mailbox user.a needs copyback"), "{said}");
    assert_eq!(plan.left_out[0].mailbox(), "user.a");
    let names: Vec<_> = plan.updates.iter().map(MailboxUpdate::name).collect();
    assert_eq!(names, ["user.a.new"]);
    let one_way = Options { one_way: true, ..Default::default() };
    let plan = plan_user(&m, &r, &Tombstones::default(), &one_way);
    assert_eq!((plan.updates.len(), plan.left_out.len()), (2, 0));
}

#[test]
fn a_user_whose_inbox_is_nowhere_to_be_had_waits_for_it() {
    let (mut m, mut r) = sides(vec![here("user.a.x", "2")], vec![]);
    m.unread_inbox = Some(MailboxName::new("user.a"));
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert!(plan.is_empty());
    assert_eq!(plan.left_out, [PlanError::NeedsInbox { mailbox: MailboxName::new("user.a.x") }]);
    // With an INBOX there, the others go on.
    r.mailboxes.push(there("user.a", "1"));
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!((plan.updates.len(), plan.left_out.len()), (1, 0));
}

#[test]
fn what_needs_copyback_is_renamed_all_the_same_and_keeps_its_uidvalidity() {
    let mut ahead = there("user.a.old", "1");
    ahead.uidvalidity = UidValidity(9);
    let (m, r) = sides(vec![here("user.a.new", "1")], vec![ahead]);
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!((plan.left_out.len(), plan.updates.len()), (1, 0));
    let [rename] = &plan.renames[..] else { panic!("{plan:?}") };
    assert_eq!((rename.to.as_str(), rename.uidvalidity), ("user.a.new", UidValidity(9)));
}

#[test]
fn names_without_a_mailbox_go_to_who_tells_of_them() {
    let name = Folder::Intermediate(Intermediate {
        name: MailboxName::new("user.a.x"),
        uniqueid: UniqueId::new("2"),
        ..Default::default()
    });
    let (m, r) = sides(vec![here("user.a", "1"), name], vec![there("user.a", "1")]);
    let plan = plan_user(&m, &r, &Tombstones::default(), &Options::default());
    assert_eq!(plan.updates.len(), 1);
    let options = Options { without_intermediates: true, ..Options::default() };
    assert!(plan_user(&m, &r, &Tombstones::default(), &options).is_empty());
}
