//! Failures on demand: the n-th command of a name fails in a chosen way.

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
    /// It is carried out and answered, and these bytes follow the answer.
    Then(Vec<u8>),
    /// It is not carried out; the answer is this piece, repeated, and then the connection falls silent.
    Flood {
        /// The repeated piece.
        piece: Vec<u8>,
        /// How often.
        times: u64,
    },
    /// It is not carried out; these bytes are the answer, sent one at a time with this pause between them.
    Drip {
        /// The answer.
        bytes: Vec<u8>,
        /// The pause between two bytes.
        pause: Duration,
    },
}

impl Fault {
    /// Whether it replaces the command and its answer.
    pub(crate) fn is_the_answer(&self) -> bool {
        match self {
            Fault::Refuse { .. } | Fault::Answer(_) | Fault::Flood { .. } | Fault::Drip { .. } => {
                true
            }
            Fault::Delay(_) | Fault::Stall | Fault::Drop | Fault::DropAfter | Fault::Then(_) => {
                false
            }
        }
    }
}

#[derive(Debug)]
struct Planned {
    command: String,
    /// How many more commands of this name pass before it.
    passing: u64,
    fault: Fault,
}

/// What goes wrong every time for a command about this name.
#[derive(Debug)]
struct Always {
    command: String,
    about: String,
    fault: Fault,
}

/// The planned failures.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<Vec<Planned>>,
    always: Mutex<Vec<Always>>,
}

impl Faults {
    /// At the `nth` command (from 1) of this name from now on, such as `APPLY MAILBOX`. It happens once.
    pub fn at(&self, command: &str, nth: u64, fault: Fault) {
        let command = command.to_string();
        lock(&self.planned).push(Planned { command, passing: nth.saturating_sub(1), fault });
    }

    /// At every command of this name about this object, such as `GET USER` about `anna`: a name that stands alone behind
    /// the command.
    pub fn always(&self, command: &str, about: &str, fault: Fault) {
        let (command, about) = (command.to_string(), about.to_string());
        lock(&self.always).push(Always { command, about, fault });
    }

    /// Forgets all failures that happen every time.
    pub fn mend(&self) {
        lock(&self.always).clear();
    }

    /// How many planned failures have not happened yet.
    #[must_use]
    pub fn left(&self) -> usize {
        lock(&self.planned).len()
    }

    /// What goes wrong every time for this command and object.
    pub(crate) fn of(&self, command: &str, about: &str) -> Option<Fault> {
        let always = lock(&self.always);
        let found = always.iter().find(|a| a.command == command && a.about == about);
        found.map(|a| a.fault.clone())
    }

    /// What is to go wrong at this command, which has just arrived.
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

    #[test]
    fn what_always_goes_wrong_does_so_until_it_is_mended() {
        let faults = Faults::default();
        faults.always("GET USER", "anna", Fault::Drop);
        for _ in 0..2 {
            assert_eq!(faults.of("GET USER", "anna"), Some(Fault::Drop));
        }
        assert_eq!(faults.of("GET USER", "bert"), None);
        assert_eq!(faults.of("GET META", "anna"), None);
        faults.mend();
        assert_eq!(faults.of("GET USER", "anna"), None);
    }
}
