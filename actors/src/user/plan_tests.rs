//! What a printed plan says, and what counts as a removal.

use cyrus_types::{Guid, ModSeq, UidValidity};
use sync_plan::{
    Contest, CopybackReason, Intermediate, MasterQuota, MasterSieve, PlanError, Rename,
};

use super::*;

fn name(text: &str) -> MailboxName {
    MailboxName::new(text)
}

fn send(text: &str, there: bool, doubt: Doubt) -> MailboxUpdate {
    MailboxUpdate::Send {
        name: name(text),
        uniqueid: UniqueId::new(text),
        replica: there.then(Box::default),
        doubt,
    }
}

#[test]
fn each_finding_has_a_line_and_its_reason() {
    let between = Intermediate { name: name("user.a.y"), ..Intermediate::default() };
    let script = MasterSieve {
        name: "rules".into(),
        last_update: 0,
        guid: Guid::default(),
        active: true,
        content: Vec::new(),
    };
    let quota = MasterQuota { root: "user.a".into(), limits: Vec::new(), modseq: ModSeq(1) };
    let reason = CopybackReason::Refused { code: "IMAP_SYNC_CHECKSUM".into() };
    let changes = UserPlan {
        deletes: vec![name("user.a.old")],
        contests: vec![Contest {
            mailbox: name("user.a.both"),
            ours: UniqueId::new("1"),
            theirs: UniqueId::new("2"),
        }],
        renames: vec![Rename {
            from: name("user.a.x"),
            to: name("user.a.z"),
            partition: "default".into(),
            uidvalidity: UidValidity(1),
        }],
        updates: vec![
            send("user.a", true, Doubt::None),
            send("user.a.new", false, Doubt::None),
            send("user.a.sum", true, Doubt::Checksum),
            send("user.a.full", true, Doubt::Full),
            MailboxUpdate::Intermediate(between),
        ],
        quotas: vec![QuotaChange::Set(quota), QuotaChange::Remove("user.a.x".into())],
        subscriptions: vec![SubChange::Add(name("user.a")), SubChange::Remove(name("user.b"))],
        sieve: vec![SieveChange::Upload(script), SieveChange::Deactivate],
        orphans: vec![name("user.a.theirs")],
        left_out: vec![PlanError::Copyback { mailbox: name("user.a.apart"), reason }],
        ..UserPlan::default()
    };
    let losses = HashMap::from([
        (UniqueId::new("user.a"), Loss { removed: 1, ..Loss::default() }),
        (UniqueId::new("user.a.full"), Loss { removed: 2, unproven: 3, made_again: true }),
    ]);
    let plan = Plan { changes, losses, ..Plan::default() };
    let expected = "\
delete user.a.old: it was deleted here, or never held anything
replace user.a.both, which is 2 there, if nothing is lost by that
rename user.a.x to user.a.z
send user.a: it changed; removes 1 message
send user.a.new: the replica lacks it
send user.a.sum: only its checksums differ
send user.a.full: it is compared record by record; removes 2 messages; removes 3 messages that only the replica has; it is removed there, and made again
send user.a.y: a name without a mailbox
set quota root user.a
remove quota root user.a.x
subscribe to user.a
unsubscribe from user.b
send script rules
activate no script
leave user.a.theirs: only the replica has it, and nothing shows that it was deleted here
";
    let printed = plan.to_string();
    let (done, not_done) = printed.split_at(printed.find("not done").unwrap());
    assert_eq!(done, expected);
    assert_eq!(not_done, format!("not done: {}\n", plan.failures()[0]));
    assert!(not_done.contains("user.a.apart"), "{not_done}");
}

#[test]
fn what_can_not_be_read_or_is_refused_is_part_of_it() {
    let missing = || StoreError::MissingFile { path: "/spool/cyrus.index".into() };
    let source = CommandError::Refused {
        command: csync::CommandKind::Message,
        code: None,
        text: "no room".into(),
    };
    let plan = Plan {
        broken: vec![(name("user.a.b"), Arc::new(missing()))],
        unread: vec![Arc::new(missing())],
        refused: vec![(name("user.a.c"), source)],
        ..Plan::default()
    };
    assert!(plan.is_empty());
    assert_eq!(plan.failures().len(), 3);
    let lines: Vec<String> = plan.to_string().lines().map(str::to_string).collect();
    assert!(lines.iter().all(|line| line.starts_with("not done: ")), "{lines:?}");
    for (line, word) in lines.iter().zip(["user.a.b", "cyrus.index", "no room"]) {
        assert!(line.contains(word), "{line}");
    }
}
