//! Leases: which user gets which, and how they are returned.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::replica::acquire::{acquire_exclusive, acquire_exclusive_look, acquire_shared};
use crate::replica::connection::testing::lost;
use crate::replica::lease::Lease;
use crate::replica::pool::ConnectionPool;
use crate::replica::pool_error::NoLease;
use crate::replica::testing::dial::{Tried, Tries, Try};
use crate::replica::testing::given::{in_paused_time, settings};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pool(tries: &Tries) -> Addr<ConnectionPool> {
    tries.pool(settings()).0
}

/// Takes a lease for work and returns it at once; gives the connection's number.
async fn number_of_next(pool: &Addr<ConnectionPool>) -> u64 {
    acquire_exclusive(pool).await.unwrap().number
}

/// A task that waits for an exclusive lease from now on, and gets it sooner or later.
fn wait_for_exclusive(pool: &Addr<ConnectionPool>) -> oneshot::Receiver<Result<Lease, NoLease>> {
    let (tell, told) = oneshot::channel();
    let pool = pool.clone();
    actix_rt::spawn(async move { drop(tell.send(acquire_exclusive(&pool).await)) });
    told
}

#[test]
fn a_lease_that_is_dropped_comes_back() {
    in_paused_time(async {
        let tries = Tries::of([]);
        let pool = pool(&tries);
        for _ in 0..5 {
            assert_eq!(number_of_next(&pool).await, 1);
            assert_eq!(acquire_shared(&pool).await.unwrap().number, 1);
        }
        assert_eq!(tries.tried().len(), 1);
    });
}

#[test]
fn a_lease_of_one_who_panics_comes_back_and_ends_its_connection() {
    in_paused_time(async {
        let tries = Tries::of([Try::Peer("farewell")]);
        let pool = pool(&tries);
        let lease = acquire_exclusive(&pool).await.unwrap();
        let holder = actix_rt::spawn(async move {
            let _held = lease;
            panic!("a panic that a test wants");
        });
        assert!(holder.await.unwrap_err().is_panic());
        assert_eq!(number_of_next(&pool).await, 2);
        tries.all_played().await;
    });
}

#[test]
fn a_spoilt_lease_ends_its_connection() {
    in_paused_time(async {
        let tries = Tries::of([Try::Peer("farewell"), Try::Peer("")]);
        let pool = pool(&tries);
        let mut lease = acquire_exclusive(&pool).await.unwrap();
        lease.spoil();
        drop(lease);
        assert_eq!(number_of_next(&pool).await, 2);
        tries.all_played().await;
    });
}

#[test]
fn a_connection_that_was_lost_is_not_lent_again_whoever_gives_it_back() {
    in_paused_time(async {
        let tries = Tries::of([Try::Peer("C: NOOP\nclose"), Try::Peer("-- 5s\nclose")]);
        let pool = pool(&tries);
        let lease = acquire_exclusive(&pool).await.unwrap();
        lost(lease.client.noop().await);
        // Returned as if its user had not noticed.
        assert!(lease.usable);
        drop(lease);
        assert_eq!(number_of_next(&pool).await, 2);
        // One that is lost while nobody uses it is replaced, too.
        tokio::time::sleep(seconds(10)).await;
        assert_eq!(number_of_next(&pool).await, 3);
    });
}

#[test]
fn who_looks_shares_a_connection_and_who_works_has_one_alone() {
    in_paused_time(async {
        let tries = Tries::of([]);
        let pool = pool(&tries);
        let one = acquire_shared(&pool).await.unwrap();
        let two = acquire_shared(&pool).await.unwrap();
        assert_eq!((one.number, two.number), (1, 1));
        assert!(tries.now() < 5);
        // Looks are in flight on the first: another one is made, after a moment.
        let work = acquire_exclusive(&pool).await.unwrap();
        assert_eq!((work.number, tries.times()), (2, vec![0, 25]));
        let three = acquire_shared(&pool).await.unwrap();
        assert_eq!(three.number, 1, "nobody looks where somebody works");
        // There is one job: the next one waits until the first is done.
        let mut next = wait_for_exclusive(&pool);
        tokio::time::sleep(seconds(5)).await;
        assert!(next.try_recv().is_err());
        drop(work);
        assert_eq!(next.await.unwrap().unwrap().number, 2);
    });
}

#[test]
fn who_waits_too_long_to_work_gives_up_and_takes_no_connection_with_it() {
    in_paused_time(async {
        let tries = Tries::of([]);
        let pool = pool(&tries);
        let held = acquire_exclusive(&pool).await.unwrap();
        let late = acquire_exclusive(&pool).await.err();
        assert_eq!((late, tries.now() / 1000), (Some(NoLease::NotStarted), 10));
        let number = held.number;
        drop(held);
        assert_eq!(number_of_next(&pool).await, number);
    });
}

#[test]
fn connections_double_as_long_as_somebody_waits() {
    in_paused_time(async {
        let tries = Tries::of([]);
        let mut settings = settings();
        settings.run.jobs = 8;
        let pool = tries.pool(settings).0;
        let waiting: Vec<_> = (0..8).map(|_| wait_for_exclusive(&pool)).collect();
        let mut leases = Vec::new();
        for granted in waiting {
            leases.push(granted.await.unwrap().unwrap());
        }
        let mut numbers: Vec<u64> = leases.iter().map(|lease| lease.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
        assert_eq!(tries.times(), [0, 25, 50, 50, 75, 75, 75, 75]);
        // One more is made, for looks; then no user lacks a connection.
        acquire_shared(&pool).await.unwrap();
        tokio::time::sleep(seconds(60)).await;
        assert_eq!(tries.tried().len(), 9);
    });
}

#[test]
fn a_connection_that_idled_for_long_is_asked_for_a_sign_of_life_first() {
    in_paused_time(async {
        let tries = Tries::of([
            Try::Peer("quiet 59s\nquiet 70s\nC: NOOP\nS: OK Noop completed\nC: NOOP\nclose"),
            Try::Peer("quiet 5m"),
        ]);
        let pool = pool(&tries);
        assert_eq!(number_of_next(&pool).await, 1);
        tokio::time::sleep(seconds(59)).await;
        assert_eq!(number_of_next(&pool).await, 1, "it is trusted");
        tokio::time::sleep(seconds(71)).await;
        assert_eq!(number_of_next(&pool).await, 1, "it lives");
        tokio::time::sleep(seconds(61)).await;
        assert_eq!(number_of_next(&pool).await, 2, "it does not");
        tries.all_played().await;
    });
}

const AGREED: &str = "
    C: NOOP
    S: * ENABLED (SIEVE-MAILBOX)
    S: OK success
    S: OK Noop completed
    C: COMPRESS DEFLATE
    S: OK DEFLATE active
    deflate
    C: NOOP
    S: OK Noop completed";

#[test]
fn a_connection_for_looks_is_opened_early_and_compressed_before_work() {
    in_paused_time(async {
        let tries = Tries::of([Try::EarlyPeer(AGREED)]);
        let pool = pool(&tries);
        let look = acquire_shared(&pool).await.unwrap();
        look.client.noop().await.unwrap();
        drop(look);
        let work = acquire_exclusive(&pool).await.unwrap();
        work.client.noop().await.unwrap();
        assert_eq!((work.number, tries.tried()), (1, vec![Tried { at: 0, early: true }]));
        tries.all_played().await;
    });
}

#[test]
fn after_one_that_failed_early_connections_are_opened_with_patience() {
    in_paused_time(async {
        let tries =
            Tries::of([Try::EarlyPeer("C: NOOP\nS: NO Permission denied"), Try::EarlyPeer("")]);
        let pool = pool(&tries);
        let look = acquire_shared(&pool).await.unwrap();
        assert!(lost(look.client.noop().await).1, "it counts as never asked");
        drop(look);
        acquire_shared(&pool).await.unwrap();
        let early: Vec<bool> = tries.tried().iter().map(|tried| tried.early).collect();
        assert_eq!(early, [true, false]);
    });
}

#[test]
fn who_wants_to_ask_alone_waits_until_an_early_connection_is_open() {
    in_paused_time(async {
        let script = "-- 5s\nS: * ENABLED (SIEVE-MAILBOX)\nS: OK success";
        let tries = Tries::of([Try::EarlyPeer(script)]);
        let pool = pool(&tries);
        drop(acquire_shared(&pool).await.unwrap());
        assert!(tries.now() < 5);
        let alone = acquire_exclusive_look(&pool).await.unwrap();
        assert_eq!((alone.number, tries.now()), (1, 5000));
    });
}
