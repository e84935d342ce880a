//! One run from its first user to its report: starts the actors, waits, stops them.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use cyrus_types::Owner;
use tokio::sync::watch;

use crate::batch::dispatcher::{Dispatcher, Ran, RunUsers};
use crate::batch::names::Selected;
use crate::batch::user_lister::{ListUsers, Listed, Selection, UserLister};
use crate::master::source::Source;
use crate::monitor::events::{Event, EventSink};
use crate::monitor::monitor::Watching;
use crate::monitor::progress::Progress;
use crate::monitor::report::{RunReport, Stopped};
use crate::monitor::reporting::Reporting;
use crate::runtime::Runtime;
use crate::settings::Settings;

/// Replicates the selected users. Call it on an actix system; it ends when all users have ended, or soon after `stop`
/// becomes true. `progress` shows its status all the while; `reporting` says what is written where.
pub async fn replicate(
    settings: Settings,
    source: Arc<dyn Source>,
    work: Selection,
    reporting: Reporting,
    stop: watch::Receiver<bool>,
    progress: Progress,
) -> RunReport {
    let since = Instant::now();
    let settings = Arc::new(settings);
    let (events, told) = EventSink::channel(settings.run.narrate, settings.run.trace);
    let channel = settings.run.channel.as_deref();
    let left_to_do = reporting.left_to_do().to_vec();
    let sinks = reporting.sinks(&settings.replica(), channel, settings.sync.prefix.as_deref());
    let watching = Watching::start(sinks, told, progress.clone());
    let mut report = run(settings, source, work, events.clone(), stop, progress).await;
    report.took = since.elapsed();
    report.left_to_do = left_to_do;
    let report = Arc::new(report);
    let unwritten = watching.end(&events, Some(report.clone())).await;
    RunReport { unwritten, ..Arc::unwrap_or_clone(report) }
}

async fn run(
    settings: Arc<Settings>,
    source: Arc<dyn Source>,
    work: Selection,
    events: EventSink,
    stop: watch::Receiver<bool>,
    progress: Progress,
) -> RunReport {
    let by_name = !matches!(work, Selection::AllUsers { .. });
    let nobody = nobody(&work, &*source);
    let listed = match list(&source, work).await {
        Ok(listed) => listed,
        Err(why) => return RunReport { stopped: Some(why), by_name, ..RunReport::default() },
    };
    let no_names = listed.no_names;
    if listed.all.is_empty() && !no_names.is_empty() {
        return RunReport { no_names, by_name, mailboxes: Some(0), ..RunReport::default() };
    }
    if listed.all.is_empty() {
        let stopped = Some(Stopped::Nobody(nobody));
        return RunReport { stopped, by_name, ..RunReport::default() };
    }
    if let Some(note) = listed.note {
        events.tell(Event::Remark(note)).await;
    }

    progress.list(listed.sizes);
    events.tell(Event::Listed { users: listed.all.len() as u64 }).await;
    let runtime = Runtime::start(settings, source, events, progress).await;
    let dispatcher =
        Dispatcher::new(runtime.context.clone(), runtime.locks.clone(), runtime.loops.clone())
            .start();
    let running = dispatcher.send(RunUsers { works: listed.works, stop }).await;
    let ran = running.unwrap_or_else(|e| {
        let stopped = Some(Stopped::Internal(e.to_string()));
        Ran { report: RunReport { stopped, ..RunReport::default() }, ..Ran::default() }
    });
    let not_reached = not_reached(&listed.all, &ran);
    let mailboxes = listed.all.mailboxes();
    let report = RunReport { by_name, not_reached, no_names, mailboxes, ..ran.report };

    drop(dispatcher);
    runtime.stop().await;
    report
}

async fn list(source: &Arc<dyn Source>, work: Selection) -> Result<Listed, Stopped> {
    let lister = UserLister::new(source.clone()).start();
    match lister.send(ListUsers(work)).await {
        Ok(listed) => listed.map_err(|e| Stopped::Listing(e.to_string())),
        Err(e) => Err(Stopped::Internal(e.to_string())),
    }
}

/// The message if no user was selected.
fn nobody(work: &Selection, source: &dyn Source) -> String {
    match work {
        Selection::Users(_) | Selection::Meta(_) => "the list of users is empty".into(),
        Selection::Mailboxes(_) => "the list of mailboxes is empty".into(),
        Selection::AllUsers { prefix: None } => {
            format!("{} lists no users", source.listed_in())
        }
        Selection::AllUsers { prefix: Some(prefix) } => format!(
            "no mailbox's internal name and no user's name begins with {prefix:?}; a prefix is the beginning of internal names, such as user.an for the users whose names begin with \"an\""
        ),
    }
}

/// The users that neither ended nor were aborted, in the order of the list.
fn not_reached(all: &Selected, ran: &Ran) -> Vec<Owner> {
    let within = all.iter().take(ran.taken).filter(|owner| ran.open.contains(owner));
    let beyond = all.iter().skip(ran.taken);
    if ran.open.is_empty() {
        return beyond.collect();
    }
    within.chain(beyond).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_not_taken_or_has_not_ended_was_not_reached() {
        let mut all = Selected { shared: true, ..Selected::default() };
        ["a", "b", "c", "d"].into_iter().for_each(|userid| all.users.push(userid));
        let reached = |taken, open: &[Owner]| {
            let open = open.iter().cloned().collect();
            not_reached(&all, &Ran { taken, open, ..Ran::default() })
        };
        assert!(reached(5, &[]).is_empty());
        let user = Owner::from;
        assert_eq!(reached(3, &[]), [user("d"), Owner::Shared]);
        assert_eq!(
            reached(3, &[user("c"), user("a")]),
            [user("a"), user("c"), user("d"), Owner::Shared]
        );
        assert_eq!(reached(5, &[Owner::Shared]), [Owner::Shared]);
        assert_eq!(reached(0, &[]).len(), 5);
    }
}
