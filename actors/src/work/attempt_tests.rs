//! One attempt at a work, with workers that end as it was planned.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use actix::prelude::*;
use cyrus_store::sync_log::skip_file;
use sync_plan::backlog::{Tasks, WorkUnit};
use testkit::store::Plan;

use super::*;
use crate::error::{ReplicaError, UserError};
use crate::master::testing::Master;
use crate::monitor::report::Outcome;
use crate::replica::lease::Purpose;
use crate::replica::pool_error::PoolError;
use crate::replica::testing::dial::{Tries, Try};
use crate::replica::testing::given::{in_paused_time, settings};
use crate::user::testing::context;

/// What a worker was given: whose work, and on what kind of connection.
#[derive(Message)]
#[rtype(result = "Vec<(Owner, Purpose)>")]
struct WhatWasGiven;

/// Ends each work well; with `dies` in a panic.
#[derive(Default)]
struct Worker {
    dies: bool,
    given: Vec<(Owner, Purpose)>,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<SyncWork> for Worker {
    type Result = ResponseFuture<Synced>;

    fn handle(&mut self, msg: SyncWork, _: &mut Context<Self>) -> Self::Result {
        self.given.push((msg.work.key(), msg.lease.purpose));
        let dies = self.dies;
        Box::pin(async move {
            assert!(!dies, "a panic that a test wants");
            Synced { result: Ok(Outcome::Done), ..Synced::nothing(Interrupt::NotStarted) }
        })
    }
}

impl Handler<WhatWasGiven> for Worker {
    type Result = MessageResult<WhatWasGiven>;

    fn handle(&mut self, _: WhatWasGiven, _: &mut Context<Self>) -> Self::Result {
        MessageResult(std::mem::take(&mut self.given))
    }
}

/// An attempt under way, and what it stands on.
struct Given {
    master: Master,
    tries: Vec<Try>,
    once: bool,
    worker: Worker,
    alone: bool,
}

impl Given {
    fn new() -> Given {
        let master = Master::of(&Plan { users: 0, ..Plan::default() });
        Given { master, tries: Vec::new(), once: false, worker: Worker::default(), alone: false }
    }

    /// Where a file says that this user is not to be replicated.
    fn skip(&self, userid: &str) -> PathBuf {
        skip_file(self.master.store.config(), None, Some(userid))
    }

    /// Tries the work of these users; what came of it, and what the worker was given.
    async fn attempt(self, users: &[&str]) -> (AttemptEvent, Vec<(Owner, Purpose)>) {
        let mut settings = settings();
        settings.replica.connect_once = self.once;
        let tries = Arc::new(Tries::of(self.tries));
        let (context, _told) = context(&self.master, settings, tries);
        let store = self.master.store.clone();
        let locks = LockKeeper::new(store, "replica", None, context.events.clone()).start();
        let users = users.iter().map(|name| (Owner::from(*name), Tasks::default())).collect();
        let work = Arc::new(WorkUnit { users });
        let job = WorkJob { alone: self.alone, ..WorkJob::new(work, now()) };
        let worker = self.worker.start();
        let event = try_work(job, Feeder::Log, worker.clone().recipient(), context, locks).await;
        (event, worker.send(WhatWasGiven).await.unwrap())
    }
}

fn names(locks: &[(Owner, UserLock)]) -> VecDeque<&str> {
    locks.iter().map(|(owner, _)| owner.name()).collect()
}

#[test]
fn a_work_of_several_users_has_the_locks_of_all() {
    in_paused_time(async {
        let (event, given) = Given::new().attempt(&["anna", "bert"]).await;
        let AttemptEvent::Tried { job, synced, worker, .. } = event else { panic!("not tried") };
        assert_eq!(names(&job.locks), ["anna", "bert"]);
        assert!(matches!(synced.result, Ok(Outcome::Done)) && worker.is_some());
        assert_eq!(given, [("anna".into(), Purpose::Shared)]);
    });
}

#[test]
fn a_work_that_lost_a_connection_is_looked_at_alone() {
    in_paused_time(async {
        let (_, given) = Given { alone: true, ..Given::new() }.attempt(&["anna"]).await;
        assert_eq!(given, [("anna".into(), Purpose::Exclusive)]);
    });
}

#[test]
fn a_user_who_is_not_to_be_replicated_holds_no_lock_of_others() {
    in_paused_time(async {
        let given = Given::new();
        let skip = given.skip("bert");
        fs::create_dir_all(skip.parent().unwrap()).unwrap();
        fs::write(skip, "").unwrap();
        let (event, given) = given.attempt(&["anna", "bert", "carl"]).await;
        let AttemptEvent::Skipped { job, owner, .. } = event else { panic!("not skipped") };
        assert!(owner.name() == "bert" && job.locks.is_empty() && given.is_empty());
    });
}

#[test]
fn a_worker_that_dies_is_not_given_back_and_its_work_failed() {
    in_paused_time(async {
        let worker = Worker { dies: true, ..Worker::default() };
        let (event, _) = Given { worker, ..Given::new() }.attempt(&["anna"]).await;
        let AttemptEvent::Tried { synced, worker, .. } = event else { panic!("not tried") };
        let Err(Interrupt::Failed(e)) = synced.result else { panic!("{:?}", synced.result) };
        assert!(worker.is_none() && e.to_string().starts_with("internal error"), "{e}");
    });
}

#[test]
fn without_a_connection_no_lock_is_taken_and_the_worker_stays() {
    in_paused_time(async {
        let (tries, once) = (vec![Try::Unreachable], true);
        let (event, given) = Given { tries, once, ..Given::new() }.attempt(&["anna"]).await;
        let AttemptEvent::Tried { job, synced, worker } = event else { panic!("not tried") };
        let no_connection = matches!(
            synced.result,
            Err(Interrupt::Failed(UserError::Replica(ReplicaError::Pool(
                PoolError::NoConnection(_)
            ))))
        );
        assert!(no_connection && worker.is_some());
        assert!(job.locks.is_empty() && given.is_empty());
    });
}
