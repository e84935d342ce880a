//! What a new user meets first: exit codes that tell the truth, and words that say what to do.

use std::time::Duration;

use testkit::fill;

use crate::common::Pair;

/// A partition that the replica lacks, whether -p names it or the master's own mailbox is there: at the first user,
/// 78, with the partition's name; and not one of the replica's servers dies more than once.
#[test]
fn a_partition_that_the_replica_lacks() {
    let pair = Pair::start();
    let users = fill::uniform(&pair.master, 8, 2, 3, 500).unwrap();
    for args in [&["-A", "-j", "4", "-p", "ssd"][..], &["-u", &users[0], "-p", "ssd"]] {
        let run = pair.sync(args);
        assert_eq!(run.code, Some(78), "{}", run.stderr);
        let wanted = "sync_client: stopped: the replica has no partition \"ssd\"; add partition-ssd to its imapd.conf or choose another with -p\n";
        assert!(run.stderr.contains(wanted), "{}", run.stderr);
        assert!(run.wall < Duration::from_secs(15), "{:?}", run.wall);
        let deaths =
            pair.replica.syslog().into_iter().filter(|l| l.text.contains("signaled to death"));
        println!("{}", run.stderr);
        assert!(deaths.count() <= 2);
    }
}
