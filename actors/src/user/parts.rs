//! The parts of a work, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use cyrus_types::Owner;
use tracing::Instrument;

use crate::error::{Interrupt, UserError};
use crate::master::user_read::Names;
use crate::monitor::report::Outcome;
use crate::monitor::spans;
use crate::replica::acquire::acquire_shared;
use crate::replica::lease::Lease;
use crate::user::look::Scope;
use crate::user::one_sided::with_more;
use crate::user::tasks::{Feeder, Part};
use crate::user::user_work::UserWork;
use crate::user::{removal, server_annotations};

impl UserWork {
    /// Carries out all parts; a failed one does not stop the others. Returns the first error that cut a part short, else
    /// everything that failed alone.
    pub(crate) async fn run_parts(
        &mut self,
        parts: Vec<(Owner, Part)>,
        feeder: Feeder,
        lease: Lease,
    ) -> Result<Outcome, Interrupt> {
        let mut first = Some(lease);
        let mut outcome = Outcome::Unchanged;
        let mut by_themselves = Vec::new();
        let mut cut_short = None;
        let mut only_there = Vec::new();
        let mut parts: VecDeque<(Owner, Part)> = parts.into();
        while let Some((owner, part)) = parts.pop_front() {
            self.owner = owner;
            self.all_else_done = false;
            let lease = match first.take() {
                Some(lease) => Ok(lease),
                None => acquire_shared(&self.context.pool).await,
            };
            let lease = match lease {
                Ok(lease) => lease,
                Err(e) => return Err(failed_before(cut_short, by_themselves, e.into())),
            };
            let span = spans::user(&self.owner, self.context.settings.run.channel.as_deref());
            let result = async {
                let result = self.run_part(part, lease).await;
                self.complain_of(&result);
                result
            };
            let result = result.instrument(span).await;
            self.add_what_follows(&mut parts);
            only_there.extend(self.take_only_there());
            match result {
                Ok(Outcome::Unchanged) => {}
                Ok(now) if outcome == Outcome::Unchanged => outcome = now,
                Ok(_) => {}
                Err(Interrupt::Failed(e)) if self.all_else_done => by_themselves.push(e),
                Err(e) if e.is_of_pool() => {
                    return Err(failed_before(cut_short, by_themselves, e));
                }
                Err(e) => cut_short = cut_short.or(Some(e)),
            }
        }
        self.all_else_done = false;
        let result = match cut_short {
            Some(e) => Err(e),
            None => self.but_for(by_themselves, outcome).map_err(Interrupt::from),
        };
        // In the log it was reported, and stays as it is.
        if feeder == Feeder::List { self.with_found(result, only_there) } else { result }
    }

    /// With what is on one side only, or on none.
    fn with_found(
        &self,
        result: Result<Outcome, Interrupt>,
        found: Vec<UserError>,
    ) -> Result<Outcome, Interrupt> {
        let was_well = result.is_ok();
        let result = with_more(result, found);
        if was_well {
            self.complain_of(&result);
        }
        result
    }

    /// Mailboxes that were added, users whose subscriptions may be lost, and quota roots of a removed user are looked at in
    /// the end.
    fn add_what_follows(&mut self, parts: &mut VecDeque<(Owner, Part)>) {
        let mailboxes = std::mem::take(&mut self.taken_in);
        if !mailboxes.is_empty() {
            let names = Names { mailboxes, ..Names::default() };
            parts.push_back((self.owner.clone(), Part::Some(Arc::new(names))));
        }
        let quotas = std::mem::take(&mut self.roots_of_before);
        if !quotas.is_empty() {
            let names = Names { quotas, ..Names::default() };
            parts.push_back((self.owner.clone(), Part::Some(Arc::new(names))));
        }
        for userid in std::mem::take(&mut self.meta_of) {
            let names = Names { meta: Some(userid.clone()), ..Names::default() };
            parts.push_back((Owner::User(userid), Part::Some(Arc::new(names))));
        }
    }

    async fn run_part(&mut self, part: Part, lease: Lease) -> Result<Outcome, Interrupt> {
        match part {
            Part::Whole => match self.run(&Scope::Whole, lease).await? {
                // Mailboxes that a removed user left below DELETED must not be forgotten.
                Outcome::Absent if !self.owner.is_shared() => {
                    let lease = acquire_shared(&self.context.pool).await?;
                    self.run(&Scope::Gone, lease).await
                }
                outcome => Ok(outcome),
            },
            Part::Some(names) => self.run(&Scope::Some(names), lease).await,
            Part::Unuser => removal::run(self, lease).await,
            Part::Server => server_annotations::run(self, lease).await,
        }
    }
}

/// What ends the work when a part gets no connection. A part that was not started does not hide an earlier one's failure,
/// which counts as a try.
fn failed_before(
    cut_short: Option<Interrupt>,
    by_themselves: Vec<UserError>,
    e: Interrupt,
) -> Interrupt {
    match e {
        Interrupt::NotStarted => {
            let alone = || UserError::all_of(by_themselves).map(Interrupt::from);
            cut_short.or_else(alone).unwrap_or(e)
        }
        e => e,
    }
}
