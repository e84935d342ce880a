//! Tests of the pool's decisions.

use super::*;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const GROW: Action = Action::GrowAfter(GROWTH_PAUSE);

#[test]
fn it_doubles_while_somebody_waits() {
    let mut pool = PoolPlan::new(4, false, secs(1200));
    assert_eq!(pool.want_exclusive(), [Action::Connect]);
    for _ in 0..3 {
        assert_eq!(pool.want_exclusive(), []);
    }
    assert_eq!(pool.connected(1), [Action::GrantExclusive(1), GROW]);
    assert_eq!(pool.grow(), [Action::Connect, GROW]);
    assert_eq!(pool.grow(), [Action::Connect, Action::Connect], "enough for all");
    assert_eq!(pool.connected(2), [Action::GrantExclusive(2)]);
    assert_eq!(pool.connected(3), [Action::GrantExclusive(3)]);
    assert_eq!(pool.connected(4), [Action::GrantExclusive(4)]);
    // More users than jobs wait until one of those in work ends.
    assert_eq!(pool.want_exclusive(), []);
    assert_eq!(pool.released(2), [Action::GrantExclusive(2)]);
}

#[test]
fn many_look_on_one_connection_and_work_goes_first() {
    let mut pool = PoolPlan::new(2, false, secs(1200));
    assert_eq!(pool.want_shared(), [Action::Connect]);
    assert_eq!(pool.want_shared(), []);
    assert_eq!(pool.connected(1), [Action::GrantShared(1), Action::GrantShared(1)]);
    assert_eq!(pool.looked(1), []);
    assert_eq!(pool.want_exclusive(), [GROW], "the other look's answers come first");
    assert_eq!(pool.want_shared(), [], "and no new ones go there");
    assert_eq!(pool.looked(1), [Action::GrantExclusive(1)]);
    // Not behind the work of another user.
    assert_eq!(pool.grow(), [Action::Connect]);
    assert_eq!(pool.connected(2), [Action::GrantShared(2)]);
    pool.looked(2);
    assert_eq!(pool.want_exclusive(), [Action::GrantExclusive(2)]);
    assert_eq!(pool.want_shared(), [GROW]);
    assert_eq!(pool.grow(), [Action::Connect], "one more than jobs");
    assert_eq!(pool.connected(3), [Action::GrantShared(3)]);
    pool.looked(3);
    assert_eq!(pool.want_exclusive(), [], "no more work than jobs");
    assert_eq!(pool.released(1), [Action::GrantExclusive(1)]);
}

#[test]
fn many_users_start_two_connections_unless_the_replica_is_away() {
    let mut pool = PoolPlan::new(16, false, secs(1200));
    let connects = |pool: &mut PoolPlan| {
        (0..80).map(|_| pool.want_shared()).filter(|a| *a == [Action::Connect]).count()
    };
    assert_eq!(connects(&mut pool), 2);
    assert_eq!(pool.connected(1), vec![Action::GrantShared(1); 40]);
    assert_eq!(pool.connected(2), vec![Action::GrantShared(2); 40]);
    let further: Vec<Action> = (0..112).flat_map(|_| pool.want_shared()).collect();
    assert_eq!(further.iter().filter(|a| **a == Action::GrantShared(1)).count(), 56);
    assert_eq!(further.iter().filter(|a| **a == Action::GrantShared(2)).count(), 56);
    assert_eq!(pool.want_shared(), [GROW]);
    let mut pool = PoolPlan::new(16, false, secs(1200));
    pool.want_shared();
    pool.connect_failed(Fault::Passing);
    assert_eq!(connects(&mut pool), 0);
}

#[test]
fn a_connection_that_received_much_in_clear_is_compressed_once_nobody_uses_it() {
    let mut pool = PoolPlan::new(2, false, secs(1200));
    pool.want_shared();
    pool.want_shared();
    pool.connected(1);
    pool.received_much(1);
    assert_eq!(pool.looked(1), []);
    assert_eq!(pool.want_shared(), [GROW], "it is to be free");
    assert_eq!(pool.looked(1), [Action::Compress(1)]);
    assert_eq!(pool.released(1), [Action::GrantShared(1)]);
    pool.received_much(1);
    assert_eq!(pool.want_exclusive(), []);
    assert_eq!(pool.looked(1), [Action::GrantExclusive(1)], "who works does it");
    assert_eq!(pool.released(1), []);
}

#[test]
fn nobody_looks_further_while_a_round_of_users_waits_for_work() {
    let mut pool = PoolPlan::new(1, false, secs(1200));
    pool.want_exclusive();
    assert_eq!(pool.connected(1), [Action::GrantExclusive(1)]);
    assert_eq!(pool.want_exclusive(), []);
    assert_eq!(pool.want_shared(), []);
    assert_eq!(pool.grow(), []);
    assert_eq!(pool.released(1), [Action::GrantExclusive(1), GROW], "now somebody may look");
    pool.forget_waiting();
    assert_eq!(pool.grow(), []);
}

#[test]
fn an_unreachable_replica_is_tried_after_15_30_60_seconds_up_to_the_bound() {
    let mut pool = PoolPlan::new(4, false, secs(50));
    pool.want_shared();
    for wait in [15, 30, 50, 50] {
        let wait = secs(wait);
        assert_eq!(
            pool.connect_failed(Fault::Passing),
            [Action::Announce { wait }, Action::ConnectAfter(wait)]
        );
        assert!(pool.still_wanted());
    }
    pool.connected(1);
    assert_eq!(pool.want_exclusive(), [GROW]);
    assert_eq!(pool.grow(), [Action::Connect]);
    assert_eq!(pool.connect_failed(Fault::Passing), [Action::ConnectAfter(secs(15))]);
}

#[test]
fn a_fatal_error_and_once_give_up() {
    let mut pool = PoolPlan::new(4, true, secs(50));
    pool.want_exclusive();
    assert_eq!(pool.connect_failed(Fault::Passing), [Action::FailWaiting]);
    assert_eq!(pool.want_shared(), [Action::FailWaiting]);
    let mut pool = PoolPlan::new(4, false, secs(50));
    pool.want_shared();
    assert_eq!(pool.connect_failed(Fault::Setting), [Action::FailWaiting]);
    assert!(pool.has_given_up());
}

#[test]
fn a_lost_connection_that_is_given_back_is_not_used_again() {
    let mut pool = PoolPlan::new(1, false, secs(50));
    pool.want_exclusive();
    pool.connected(1);
    pool.down(1, true);
    pool.released(1);
    assert_eq!(pool.want_exclusive(), [Action::Connect]);
}

#[test]
fn a_connection_that_is_slow_to_answer_takes_nobody_else() {
    let mut pool = PoolPlan::new(1, false, secs(50));
    pool.want_shared();
    assert_eq!(pool.connected(1), [Action::GrantShared(1)]);
    pool.note_pace(1, secs(1));
    assert_eq!(pool.want_shared(), [Action::GrantShared(1)], "not slow yet");
    pool.note_pace(1, secs(2));
    assert_eq!(pool.want_shared(), [GROW]);
    assert_eq!(pool.grow(), [Action::Connect]);
    assert_eq!(pool.connected(2), [Action::GrantShared(2)]);
    // The users behind the slow one were sent elsewhere; no work goes there either.
    pool.looked(1);
    pool.looked(1);
    pool.looked(2);
    pool.note_pace(2, secs(60));
    assert_eq!(pool.want_exclusive(), [GROW]);
    assert_eq!(pool.grow(), [Action::Connect], "one more for one that is stuck");
    assert_eq!(pool.connected(3), [Action::GrantExclusive(3)]);
    // And when it answers again it is as good as any.
    pool.note_pace(1, Duration::ZERO);
    assert_eq!(pool.want_shared(), [Action::GrantShared(1)]);
}

#[test]
fn a_refused_login_is_wrong_when_it_was_refused_three_times_and_never_granted() {
    let mut pool = PoolPlan::new(4, false, secs(50));
    pool.want_shared();
    for wait in [1, 2] {
        assert_eq!(pool.connect_failed(Fault::Refused), [Action::ConnectAfter(secs(wait))]);
        assert!(pool.still_wanted() && !pool.has_given_up());
    }
    assert_eq!(pool.connect_failed(Fault::Refused), [Action::FailWaiting]);
    // A login with it has succeeded: it is right.
    let mut pool = PoolPlan::new(4, false, secs(50));
    pool.want_shared();
    pool.connected(1);
    pool.want_exclusive();
    for fault in [Fault::Refused, Fault::Setting, Fault::Refused, Fault::Refused] {
        pool.grow();
        assert_eq!(pool.connect_failed(fault).len(), 1, "{fault:?}");
        assert!(!pool.has_given_up());
    }
    // A daemon goes on whatever the answer.
    let mut pool = PoolPlan::new(4, false, secs(50));
    pool.go_on_for_ever();
    pool.want_shared();
    for fault in [Fault::Refused, Fault::Setting, Fault::Refused, Fault::Refused] {
        assert!(matches!(
            *pool.connect_failed(fault),
            [Action::Announce { .. }, Action::ConnectAfter(_)]
        ));
    }
    assert!(!pool.has_given_up());
    // A run that wants no second try gets none.
    let mut pool = PoolPlan::new(4, true, secs(50));
    pool.want_shared();
    assert_eq!(pool.connect_failed(Fault::Refused), [Action::FailWaiting]);
}

/// A login that succeeds for a user that may not replicate: a connection that was lent early failed in its handshake. That
/// was counted as a successful login, so that the run went on trying for ever.
#[test]
fn one_that_fell_in_its_opening_lets_nobody_in() {
    let mut pool = PoolPlan::new(4, false, Duration::ZERO);
    assert_eq!(pool.want_shared(), [Action::Connect]);
    pool.connected(1);
    pool.down(1, false);
    assert_eq!(pool.want_shared(), [Action::Connect]);
    assert_eq!(pool.connect_failed(Fault::Setting), [Action::FailWaiting]);
    assert!(pool.has_given_up());
}
