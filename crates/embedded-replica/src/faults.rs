//! Failures on demand: at the n-th command of a name, something goes wrong.

use std::sync::Mutex;
use std::time::Duration;

use crate::state::lock;

/// What goes wrong at a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered this much later.
    Delay(Duration),
    /// It is never answered, and nothing more is read; the connection stays.
    Stall,
    /// The connection is closed before it is carried out.
    Drop,
    /// It is carried out, and the connection is closed before the answer.
    DropAfter,
    /// It is not carried out, and answered `NO CODE text`.
    Refuse {
        /// Such as `IMAP_MAILBOX_LOCKED`.
        code: String,
        /// What follows it.
        text: String,
    },
    /// It is not carried out, and these bytes are the answer.
    Answer(Vec<u8>),
}

#[derive(Debug)]
struct Planned {
    command: String,
    /// So many more of them pass.
    passing: u64,
    fault: Fault,
}

/// The failures that are planned.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<Vec<Planned>>,
    latency: Mutex<Duration>,
}

impl Faults {
    /// At the `nth` command (from 1) of this name from now on, such as `APPLY MAILBOX`. It happens once.
    pub fn at(&self, command: &str, nth: u64, fault: Fault) {
        let command = command.to_string();
        lock(&self.planned).push(Planned { command, passing: nth.saturating_sub(1), fault });
    }

    /// Every command is answered this much later.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.latency) = latency;
    }

    /// How many planned failures have not happened yet.
    #[must_use]
    pub fn left(&self) -> usize {
        lock(&self.planned).len()
    }

    pub(crate) fn latency(&self) -> Duration {
        *lock(&self.latency)
    }

    /// What is to go wrong at this command, which has just come.
    pub(crate) fn take(&self, command: &str) -> Option<Fault> {
        let mut planned = lock(&self.planned);
        let mut due = None;
        for (nr, plan) in planned.iter_mut().enumerate().filter(|(_, p)| p.command == command) {
            if plan.passing == 0 {
                due = due.or(Some(nr));
            } else {
                plan.passing -= 1;
            }
        }
        due.map(|nr| planned.remove(nr).fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_once_at_its_turn() {
        let faults = Faults::default();
        faults.at("GET USER", 2, Fault::Drop);
        faults.at("GET USER", 1, Fault::Stall);
        assert_eq!(faults.take("APPLY SUB"), None);
        assert_eq!(faults.take("GET USER"), Some(Fault::Stall));
        assert_eq!(faults.take("GET USER"), Some(Fault::Drop));
        assert_eq!(faults.take("GET USER"), None);
        assert_eq!(faults.left(), 0);
    }
}
