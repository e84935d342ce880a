//! What happens to users that want a connection while none can be had.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::monitor::events::Event;
use crate::replica::acquire::{acquire_exclusive, acquire_shared};
use crate::replica::connection::testing::lost;
use crate::replica::pool::{ConnectionPool, StopWaiting};
use crate::replica::pool_error::{NoLease, PoolError};
use crate::replica::testing::dial::{Tries, Try};
use crate::replica::testing::given::{in_paused_time, settings};
use crate::settings::Settings;

const UNREACHABLE: &str = "Can not connect to server 'replica' (replica:csync: Connection refused)";

fn given() -> Settings {
    let mut settings = settings();
    settings.replica.server = "replica".into();
    settings
}

fn once() -> Settings {
    let mut settings = given();
    settings.replica.connect_once = true;
    settings
}

/// A task that waits to look from now on; returns its result.
fn wait_for_shared(pool: &Addr<ConnectionPool>) -> oneshot::Receiver<Option<NoLease>> {
    let (tell, told) = oneshot::channel();
    let pool = pool.clone();
    actix_rt::spawn(async move { drop(tell.send(acquire_shared(&pool).await.err())) });
    told
}

fn failed(e: PoolError) -> Option<NoLease> {
    Some(NoLease::Failed(e))
}

#[test]
fn with_o_nobody_waits_for_a_second_try() {
    in_paused_time(async {
        let tries = Tries::of([Try::After(Duration::from_secs(3)), Try::Unreachable]);
        let (pool, _told) = tries.pool(once());
        let unreachable = || failed(PoolError::NoConnection(UNREACHABLE.into()));
        let waiting = [wait_for_shared(&pool), wait_for_shared(&pool)];
        let exclusive = acquire_exclusive(&pool).await.err();
        assert_eq!(exclusive, unreachable());
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), unreachable());
        }
        assert_eq!(acquire_shared(&pool).await.err(), unreachable(), "nor later");
        assert_eq!((tries.times(), tries.now()), (vec![0], 3000));
    });
}

#[test]
fn with_o_a_replica_that_said_bye_and_is_gone_is_being_shut_down() {
    in_paused_time(async {
        let bye = Try::Peer("C: NOOP\nS: * BYE shutting down");
        let tries = Tries::of([bye, Try::Unreachable]);
        let (pool, _told) = tries.pool(once());
        let lease = acquire_exclusive(&pool).await.unwrap();
        lost(lease.client.noop().await);
        drop(lease);
        let gone = acquire_exclusive(&pool).await.err();
        assert_eq!(gone, failed(PoolError::SaidBye(UNREACHABLE.into())));
    });
}

#[test]
fn without_o_pauses_double_up_to_the_bound_and_are_announced() {
    in_paused_time(async {
        let away = [Try::Unreachable, Try::Unreachable, Try::Unreachable, Try::Unreachable];
        let tries = Tries::of(away);
        let (pool, mut told) = tries.pool(given());
        let lease = acquire_shared(&pool).await.unwrap();
        assert_eq!(lease.number, 5);
        let times: Vec<u128> = tries.times().iter().map(|at| at / 1000).collect();
        assert_eq!(times, [0, 15, 45, 105, 165]);
        for seconds in [15, 30, 60, 60] {
            let Some(Event::Notice(line)) = told.recv().await else { panic!("no notice") };
            let pause = format!("retrying in {seconds} seconds");
            assert!(line.contains(&pause) && line.contains("Connection refused"), "{line}");
        }
    });
}

#[test]
fn a_login_that_is_refused_again_and_again_is_wrong() {
    in_paused_time(async {
        let tries = Tries::of([Try::Refused, Try::Refused, Try::Refused]);
        let (pool, _told) = tries.pool(given());
        let refused = acquire_shared(&pool).await.err();
        let why = "replica:csync: authentication failure";
        assert_eq!(refused, failed(PoolError::Fatal(why.into())));
        assert_eq!(tries.times(), [0, 1000, 3000]);
    });
}

#[test]
fn a_login_that_was_granted_once_may_be_refused_for_a_while() {
    in_paused_time(async {
        let refusals = [Try::Refused, Try::Refused, Try::Refused, Try::Refused];
        let tries = Tries::of([Try::Peer("-- 1s\nclose")].into_iter().chain(refusals));
        let (pool, _told) = tries.pool(given());
        drop(acquire_exclusive(&pool).await.unwrap());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(acquire_shared(&pool).await.unwrap().number, 6);
    });
}

#[test]
fn a_setting_that_must_be_changed_ends_the_wait_at_once_but_not_of_a_run_without_end() {
    in_paused_time(async {
        let tries = Tries::of([Try::Fatal]);
        let (pool, _told) = tries.pool(given());
        let why = "replica:csync: no mechanism";
        assert_eq!(acquire_shared(&pool).await.err(), failed(PoolError::Fatal(why.into())));
        let tries = Tries::of([Try::Fatal]);
        let mut settings = given();
        settings.replica.for_ever = true;
        let (pool, _told) = tries.pool(settings);
        assert_eq!(acquire_shared(&pool).await.unwrap().number, 2);
    });
}

/// The error of waiting users when the program is stopped after this many seconds.
async fn stopped_after(seconds: u64, tries: Tries) -> Option<NoLease> {
    let (pool, _told) = tries.pool(given());
    let waiting = wait_for_shared(&pool);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    pool.send(StopWaiting).await.unwrap();
    let told = waiting.await.unwrap();
    let later = [acquire_shared(&pool).await.err(), acquire_exclusive(&pool).await.err()];
    assert_eq!(later, [told.clone(), told.clone()], "who asks later is told the same");
    assert_eq!(tries.now() / 1000, u128::from(seconds), "nobody waits for a pause or a login");
    told
}

#[test]
fn who_waits_when_the_program_is_stopped_is_told_why() {
    in_paused_time(async {
        let away = stopped_after(5, Tries::of([Try::Unreachable])).await;
        assert_eq!(away, failed(PoolError::Stopped));
        let slow = Tries::of([Try::After(Duration::from_secs(60)), Try::Peer("")]);
        assert_eq!(stopped_after(5, slow).await, Some(NoLease::NotStarted));
    });
}

#[test]
fn a_login_under_way_is_no_failure_although_an_earlier_one_failed() {
    in_paused_time(async {
        let slow = [Try::After(Duration::from_secs(60)), Try::Peer("")];
        let tries = [Try::Unreachable, Try::Peer("-- 1s\nclose")].into_iter().chain(slow);
        let (pool, _told) = Tries::of(tries).pool(given());
        drop(acquire_shared(&pool).await.unwrap());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let waiting = wait_for_shared(&pool);
        tokio::time::sleep(Duration::from_secs(1)).await;
        pool.send(StopWaiting).await.unwrap();
        assert_eq!(waiting.await.unwrap(), Some(NoLease::NotStarted));
    });
}

#[test]
fn who_waits_behind_others_when_the_program_is_stopped_was_not_started() {
    in_paused_time(async {
        let tries = Tries::of([]);
        let (pool, _told) = tries.pool(given());
        let held = acquire_exclusive(&pool).await.unwrap();
        let waiting = {
            let pool = pool.clone();
            actix_rt::spawn(async move { acquire_exclusive(&pool).await.err() })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        pool.send(StopWaiting).await.unwrap();
        assert_eq!(waiting.await.unwrap(), Some(NoLease::NotStarted));
        // A user with a connection goes on with it; no other gets one.
        drop(held);
        assert_eq!(acquire_exclusive(&pool).await.err(), Some(NoLease::NotStarted));
        assert_eq!(acquire_shared(&pool).await.err(), Some(NoLease::NotStarted));
        assert_eq!(tries.now() / 1000, 1);
    });
}
