//! Runs over all users make both sides equal, send nothing twice and do not change the master.

use testkit::fill::{self, RandomWork};
use testkit::{Builder, Cyrus, DeleteMode, Via, snapshot};

use crate::common::{Pair, summary};

/// The master's files that no run may change: messages and indexes, configuration folder, scripts.
fn store(master: &Cyrus) -> Vec<snapshot::Tree> {
    [master.spool(), master.partition("second"), master.config_dir(), master.sieve_dir()]
        .iter()
        .map(|folder| snapshot::tree(folder).unwrap())
        .collect()
}

fn assert_untouched(before: &[snapshot::Tree], after: &[snapshot::Tree]) {
    let changed: Vec<String> =
        before.iter().zip(after).flat_map(|(old, new)| snapshot::changes(old, new)).collect();
    assert!(changed.is_empty(), "the store was touched:\n{}", changed.join("\n"));
}

/// The commands that change something, from a trace: those after `APPLY ` and `SYNCAPPLY `.
fn applied(trace: &str) -> Vec<&str> {
    trace
        .match_indices("APPLY ")
        .filter_map(|(at, word)| trace[at + word.len()..].split([' ', '\r']).next())
        .collect()
}

/// A run that finds both sides equal: it reports that for every user, and changes nothing on the replica.
fn assert_nothing_to_do(pair: &Pair, users: usize) {
    let run = pair.sync_well(&["-A", "-j", "8", "-v", "-v"]);
    let equal = |line: &str| line.starts_with("DONE ") && line.contains(": already equal in ");
    let told = run.stdout.lines().filter(|line| !line.starts_with("USER ") && !equal(line));
    let told: Vec<&str> = told.collect();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(summary(&run), format!("{users} users: {users} already equal"));
    let applied = applied(&run.stderr);
    assert!(!applied.is_empty(), "the trace shows no connection's start:\n{}", run.stderr);
    assert!(applied.iter().all(|command| *command == "CAPABILITIES"), "{applied:?}");
}

// Shows that 60 users with every special case are equal after one run, over the csync port and over IMAP to a replica that
// runs only imapd; that a second run sends nothing; and that no run changes the master's store.
#[test]
fn sixty_odd_users_are_equal_after_one_run() {
    let mut pair = Pair::start();
    let options = fill::FillOptions { messages: 5, ..fill::FillOptions::new(1, 60) };
    let users = fill::fill_with(&pair.master, &options).unwrap();
    // Without its servers only we could change the store.
    pair.master.stop();
    let before = store(&pair.master);

    let run = pair.sync_well(&["-A", "-j", "8"]);
    assert!(summary(&run).starts_with("60 users: 60 replicated; sent "), "{}", run.stderr);
    assert_untouched(&before, &store(&pair.master));
    assert_nothing_to_do(&pair, 60);

    // The same to an imapd.
    let replica = Cyrus::replica().csync(false).start().unwrap();
    let csync_replica = std::mem::replace(&mut pair.replica, replica);
    pair.master.replicate_to(&pair.replica, Via::Imap).unwrap();
    let run = pair.sync_well(&["-A", "-j", "8"]);
    assert!(summary(&run).starts_with("60 users: 60 replicated; sent "), "{}", run.stderr);
    assert_nothing_to_do(&pair, 60);
    assert_untouched(&before, &store(&pair.master));

    // Last, because the master's own private sync_server may write.
    pair.assert_equal(&users);
    pair.replica = csync_replica;
    pair.assert_equal(&users);

    // The checks above can fail: one changed flag is found, sent, and a changed store is noticed.
    pair.master.replicate_to(&pair.replica, Via::Csync).unwrap();
    pair.master.start().unwrap();
    let mut client = pair.master.login(&users[0]).unwrap();
    client.select("INBOX").unwrap();
    client.store("1:*", "+FLAGS", &["$fresh"]).unwrap();
    drop(client);
    let run = pair.sync_well(&["-A", "-v", "-v"]);
    assert!(
        summary(&run).starts_with("60 users: 1 replicated, 59 already equal"),
        "{}",
        summary(&run)
    );
    // Conversations' modseq changes in other mailboxes with copies of these messages, too.
    assert!(applied(&run.stderr).contains(&"MAILBOX"), "{}", run.stderr);
    let touched: Vec<String> = before
        .iter()
        .zip(&store(&pair.master))
        .flat_map(|(old, new)| snapshot::changes(old, new))
        .collect();
    assert!(touched.iter().any(|line| line.contains("cyrus.index")), "{touched:?}");
    pair.assert_equal(&users[..1]);
}

/// One round after another: 2,000 random operations on the master, one run, both sides equal.
fn work_and_compare(master: Builder, replica: Builder, seeds: &[u64], users: usize) {
    let pair = Pair::with(master, replica, Via::Csync);
    let options = fill::FillOptions {
        big_message_bytes: 0,
        messages: 6,
        ..fill::FillOptions::new(seeds[0], users)
    };
    let users = fill::fill_with(&pair.master, &options).unwrap();
    for (round, seed) in seeds.iter().enumerate() {
        let tally = RandomWork::new(*seed).run(&pair.master, &users, 2000).unwrap();
        assert!(tally.total_done() > 1000, "the work was refused: {tally:?}");
        let run = pair.sync_well(&["-A", "-j", "4"]);
        let lines = pair.differences(&users);
        assert!(lines.is_empty(), "round {round} (seed {seed}): {lines}\n{}", run.stderr);
        assert_nothing_to_do(&pair, users.len());
    }
    pair.assert_equal(&users);
}

// Shows that both sides are equal after any work, in rounds: conversations, `/` between folders,
// delayed deletion, and batches so small that most mailboxes need several.
#[test]
fn random_work_with_conversations_in_small_batches() {
    let master = Cyrus::master().option("sync_batchsize", "7");
    work_and_compare(master, Cyrus::replica(), &[11, 12, 13], 8);
}

// The same without conversations, with `.` between folders, and with mailboxes and messages that
// are gone at once.
#[test]
fn random_work_without_conversations_and_immediate_deletion() {
    let like = |builder: Builder| {
        builder
            .conversations(false)
            .unixhierarchysep(false)
            .delete_mode(DeleteMode::Immediate)
            .delayed_expunge(false)
    };
    work_and_compare(like(Cyrus::master()), like(Cyrus::replica()), &[21, 22], 8);
}
