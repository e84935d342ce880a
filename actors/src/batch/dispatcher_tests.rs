//! Users in flight, with workers that end as planned.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use csync::CommandKind;
use testkit::store::Plan;

use super::*;
use crate::error::{Interrupt, MasterError, ReplicaError};
use crate::master::testing::Master;
use crate::monitor::events::Event;
use crate::monitor::report::Outcome;
use crate::replica::command_error::CommandError;
use crate::replica::lease::Purpose;
use crate::replica::pool_error::PoolError;
use crate::replica::testing::dial::{Tries, Try};
use crate::replica::testing::given::{in_paused_time, settings};
use crate::user::tasks::whole;
use crate::user::testing::context;
use crate::user::user_sync::SyncWork;
use crate::user::user_work::Synced;

/// The text of the Dispatcher's own panic.
const NO_MORE: &str = "a panic of the Dispatcher that a test wants";

/// How a try at a user ends.
enum Ends {
    With(Outcome),
    /// Well, after so many seconds.
    After(u64),
    In(Interrupt),
    /// The worker dies, after so many seconds.
    InPanic(u64),
    /// It survives, although a change on the replica was started.
    Never,
}

/// A try.
struct Tried {
    user: &'static str,
    /// When, in seconds.
    at: u64,
    /// On what kind of connection.
    how: Purpose,
    /// Which worker did it.
    worker: usize,
}

/// Ends the tries at each user as planned, then well.
#[derive(Clone, Default)]
struct Planned(Rc<PlannedInner>);

#[derive(Default)]
struct PlannedInner {
    ends: RefCell<Vec<(&'static str, VecDeque<Ends>)>>,
    tried: RefCell<Vec<Tried>>,
    workers: RefCell<usize>,
    most_workers: Option<usize>,
}

struct Worker {
    number: usize,
    planned: Planned,
    start: tokio::time::Instant,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<SyncWork> for Worker {
    type Result = ResponseFuture<Synced>;

    fn handle(&mut self, msg: SyncWork, _: &mut Context<Self>) -> Self::Result {
        let Planned(planned) = self.planned.clone();
        let at = self.start.elapsed().as_secs();
        let mut all = planned.ends.borrow_mut();
        let (name, ends) = all.iter_mut().find(|(name, _)| *name == msg.work.key().name()).unwrap();
        let (how, worker) = (msg.lease.purpose, self.number);
        planned.tried.borrow_mut().push(Tried { user: name, at, how, worker });
        let end = ends.pop_front().unwrap_or(Ends::With(Outcome::Done));
        Box::pin(async move {
            let _lease = msg.lease;
            let result = match end {
                Ends::With(outcome) => Ok(outcome),
                Ends::After(seconds) => {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    Ok(Outcome::Done)
                }
                Ends::In(e) => Err(e),
                Ends::InPanic(seconds) => {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    panic!("a panic that a test wants")
                }
                Ends::Never => {
                    msg.begun.store(true, Ordering::Relaxed);
                    std::future::pending().await
                }
            };
            match result {
                Err(e) => Synced::nothing(e),
                well => Synced { result: well, ..Synced::nothing(Interrupt::NotStarted) },
            }
        })
    }
}

/// The result of a run.
struct Came {
    ran: Ran,
    tried: Vec<Tried>,
    workers: usize,
    /// How many users were told to have been started.
    started: usize,
}

impl Came {
    /// When there was a try at this user, in seconds.
    fn times(&self, user: &str) -> Vec<u64> {
        self.of(user).map(|tried| tried.at).collect()
    }

    fn of(&self, user: &str) -> impl Iterator<Item = &Tried> {
        self.tried.iter().filter(move |tried| tried.user == user)
    }

    /// How a user ended that is named in the report: after how many tries, and why it failed.
    fn failed(&self, user: &str) -> (u32, &str) {
        let mut named = self.ran.report.named.iter();
        match named.find(|named| named.owner.name() == user) {
            Some(UserReport { tries, outcome: Outcome::Failed { reason }, .. }) => (*tries, reason),
            other => panic!("{user}: {other:?}"),
        }
    }

    fn well(&self) -> u64 {
        self.ran.report.well.replicated
    }
}

/// Runs these users, whose tries end as planned; stops after `stop_after` seconds.
fn run(users: Vec<(&'static str, Vec<Ends>)>, stop_after: Option<u64>) -> Came {
    run_with(settings(), users, stop_after, None)
}

/// With `most_workers` the Dispatcher panics when it needs another one.
fn run_with(
    settings: Settings,
    users: Vec<(&'static str, Vec<Ends>)>,
    stop_after: Option<u64>,
    most_workers: Option<usize>,
) -> Came {
    in_paused_time(async move {
        let master = Master::of(&Plan { users: 0, ..Plan::default() });
        let tries: Vec<Try> = Vec::new();
        let dial = Arc::new(Tries::of(tries));
        let (context, mut told) = context(&master, settings.clone(), dial);
        let started = Rc::new(Cell::new(0));
        let count = started.clone();
        actix_rt::spawn(async move {
            while let Some(event) = told.recv().await {
                let is_first = matches!(event, Event::Started { tries: 1 });
                count.set(count.get() + usize::from(is_first));
            }
        });
        let store = master.store.clone();
        let locks = LockKeeper::new(store, "replica", None, context.events.clone()).start();
        let (list, users_listed) = mpsc::channel(16);
        for (name, _) in &users {
            list.send(whole((*name).into())).await.unwrap();
        }
        drop(list);
        let planned = Planned(Rc::new(PlannedInner { most_workers, ..PlannedInner::default() }));
        let in_order = users.into_iter().map(|(name, ends)| (name, ends.into()));
        *planned.0.ends.borrow_mut() = in_order.collect();
        let (making, start) = (planned.clone(), tokio::time::Instant::now());
        let workers = WorkerPool::made_by(move || {
            let mut made = making.0.workers.borrow_mut();
            *made += 1;
            assert!(making.0.most_workers.is_none_or(|most| *made <= most), "{NO_MORE}");
            let worker = Worker { number: *made, planned: making.clone(), start };
            worker.start().recipient()
        });
        let queue = queue(&settings, &context.rules);
        let works = Works::new(queue, Feeder::List, context, locks, workers);
        let run = Run { ahead: Ahead::new(settings.run.jobs), works, ran: Ran::default() };
        let (tell_stop, stop) = watch::channel(false);
        actix_rt::spawn(async move {
            match stop_after {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
            tell_stop.send(true).unwrap();
            std::future::pending::<()>().await;
        });
        let ran = run.ended(users_listed, stop).await;
        let (tried, workers) = (planned.0.tried.take(), *planned.0.workers.borrow());
        Came { ran, tried, workers, started: started.get() }
    })
}

fn lost() -> Ends {
    let reason = "the replica closed the connection".into();
    let lost = CommandError::Lost { command: CommandKind::GetUser, reason, behind: false };
    Ends::In(lost.into())
}

#[test]
fn a_failure_in_passing_is_tried_four_times_with_longer_pauses_while_others_go_on() {
    let came = run(
        vec![("anna", vec![lost(), lost(), lost(), lost()]), ("bert", vec![]), ("carl", vec![])],
        None,
    );
    assert_eq!(came.times("anna"), [0, 1, 3, 7]);
    assert_eq!((came.times("bert"), came.times("carl")), (vec![0], vec![0]));
    let (tries, reason) = came.failed("anna");
    assert!(tries == 4 && reason.contains("the replica closed the connection"), "{reason}");
    assert_eq!(came.well(), 2);
    assert!(came.ran.open.is_empty() && came.ran.report.stopped.is_none());
}

#[test]
fn who_lost_a_connection_is_asked_about_alone_from_then_on() {
    let came = run(vec![("anna", vec![lost(), lost()]), ("bert", vec![])], None);
    let purposes: Vec<Purpose> = came.of("anna").map(|tried| tried.how).collect();
    assert_eq!(purposes, [Purpose::Shared, Purpose::Exclusive, Purpose::Exclusive]);
    assert_eq!((came.times("anna"), came.well()), (vec![0, 1, 3], 2));
}

#[test]
fn what_was_not_started_is_no_try() {
    let not_started = || Ends::In(Interrupt::NotStarted);
    let ends = (0..6).map(|_| not_started()).chain([lost(), lost(), lost()]).collect();
    let came = run(vec![("anna", ends)], None);
    assert_eq!((came.tried.len(), came.well()), (10, 1), "three losses are not four");
    assert_eq!(came.started, 1);
}

#[test]
fn what_would_end_the_same_is_not_tried_again() {
    let refused = CommandError::Refused {
        command: CommandKind::Mailbox,
        code: None,
        text: "no such thing".into(),
    };
    let came = run(vec![("anna", vec![Ends::In(refused.into())]), ("bert", vec![])], None);
    let (tries, reason) = came.failed("anna");
    assert!(tries == 1 && reason.contains("no such thing"), "{reason}");
    assert_eq!(came.well(), 1);
}

#[test]
fn a_worker_that_dies_costs_its_user_alone() {
    let users = vec![("anna", vec![Ends::InPanic(0)]), ("bert", vec![]), ("carl", vec![])];
    let came = run(users, None);
    let (tries, reason) = came.failed("anna");
    assert!(tries == 1 && reason.starts_with("internal error"), "{reason}");
    assert_eq!((came.well(), came.ran.report.named.len()), (2, 1));
    // The run comes to its end, and to exit code 1.
    assert!(came.ran.report.stopped.is_none() && came.ran.report.is_complete());
    assert!(!came.ran.report.all_well());
}

#[test]
fn a_worker_that_died_is_not_used_again() {
    // Anna is tried again when the others are done, so some workers have nothing to do.
    let users = vec![("anna", vec![lost()]), ("bert", vec![]), ("carl", vec![Ends::InPanic(0)])];
    let came = run(users, None);
    let [dead] = came.of("carl").collect::<Vec<_>>()[..] else { panic!("one try") };
    assert_eq!((came.times("anna"), came.workers), (vec![0, 1], 3));
    assert!(came.of("anna").all(|tried| tried.worker != dead.worker));
}

#[test]
fn what_no_user_can_escape_ends_the_run() {
    let why = || "replica: authentication failure".to_string();
    let fatal = ReplicaError::Pool(PoolError::Fatal(why()));
    let fatal = Ends::In(Interrupt::Failed(fatal.into()));
    let came = run(vec![("anna", vec![lost(), fatal]), ("bert", vec![lost(), lost()])], None);
    assert_eq!(came.ran.report.stopped, Some(Stopped::Fatal(why())));
    // Bert paused or was in flight: nothing waits for another try.
    assert_eq!(came.failed("bert").0, 2);
    assert_eq!(came.times("bert"), [0, 1]);
}

#[test]
fn an_internal_failure_is_final() {
    let internal = || MasterError::Internal("a panic while reading".into());
    let came = run(vec![("anna", vec![Ends::In(internal().into())])], None);
    assert!(came.failed("anna").1.contains("a panic while reading"));
    assert_eq!(came.times("anna"), [0]);
}

#[test]
fn after_a_signal_who_is_worked_on_has_ten_seconds_and_nobody_is_tried_again() {
    let losses = || (0..4).map(|_| lost()).collect();
    let users = vec![("anna", vec![Ends::Never]), ("bert", losses()), ("carl", vec![])];
    let came = run(users, Some(5));
    assert_eq!(came.ran.report.stopped, Some(Stopped::Signal));
    assert_eq!(came.ran.report.broken_off, ["anna".into()]);
    assert_eq!((came.times("bert"), came.failed("bert").0), (vec![0, 1, 3], 3));
    assert_eq!(came.well(), 1);
    assert!(came.ran.open.is_empty());
}

#[test]
fn a_lock_of_our_own_is_waited_for_although_locked_users_are_left_out() {
    let mut left_out = settings();
    left_out.run.skip_locked = true;
    let linked = Interrupt::Linked { owner: "bert".into(), other: "anna".into() };
    let users = vec![("anna", vec![Ends::After(3)]), ("bert", vec![Ends::In(linked)])];
    let came = run_with(left_out, users, None, None);
    assert_eq!((came.times("anna"), came.times("bert")), (vec![0], vec![0, 3]));
    assert_eq!((came.well(), came.ran.report.named.len()), (2, 0));
}

#[test]
fn after_a_panic_of_the_dispatcher_everybody_is_reported_once() {
    let mut few = settings();
    few.run.jobs = 1;
    // Eleven are in flight. When one of the workers has died, the last user needs another one.
    let dies = ("dora", vec![Ends::InPanic(2)]);
    let mut users = vec![("anna", vec![]), ("bert", vec![Ends::Never]), dies];
    let others = ["e", "f", "g", "h", "i", "j", "k", "l"];
    users.extend(others.map(|user| (user, vec![Ends::After(9)])));
    users.extend([("m", vec![Ends::After(9)]), ("n", vec![])]);
    let came = run_with(few, users, None, Some(11));
    let report = came.ran.report;
    assert_eq!(report.stopped, Some(Stopped::Internal(NO_MORE.into())));
    assert_eq!((report.broken_off, report.well.replicated), (vec!["bert".into()], 1));
    assert_eq!(report.named.iter().map(|user| user.owner.name()).collect::<Vec<_>>(), ["dora"]);
    let mut open: Vec<&str> = came.ran.open.iter().map(Owner::name).collect();
    open.sort_unstable();
    assert_eq!(open, ["e", "f", "g", "h", "i", "j", "k", "l", "m", "n"]);
}
