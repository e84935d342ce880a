//! What a failure means for the next try. Decided here, for all errors, and nowhere else.
//!
//! | class | what is done |
//! |---|---|
//! | transient | again after a pause, a few times |
//! | unsure | once more |
//! | permanent | reported |
//! | fatal | the run stops: no user can be replicated |

use csync::Code;
use cyrus_store::{ErrorClass, StoreError};

use super::{MasterError, ReplicaError, UserError};
use crate::replica::command_error::CommandError;

/// "Too many open files", in this process and on this machine (`errno(3)` of Linux).
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// What a failure means for the user's next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A transient failure: try again after a pause.
    Transient,
    /// Perhaps a file that was read in the middle of a change: one more try shows.
    Unsure,
    /// Another try would end the same: report it.
    Permanent,
    /// No user can be replicated any more: stop the run.
    Fatal,
}

impl UserError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            UserError::Master(e) => e.class(),
            UserError::Replica(e) => e.class(),
            UserError::Several { of } => class_of_several(of),
            UserError::Withheld(_) => Class::Unsure,
            UserError::Unsettled { .. } => Class::Transient,
            UserError::Plan(_)
            | UserError::TooManyRemovals { .. }
            | UserError::Kept(_)
            | UserError::Uncounted(_)
            | UserError::OnlyThere { .. }
            | UserError::Nowhere { .. }
            | UserError::MayHaveMoved { .. }
            | UserError::Internal(_) => Class::Permanent,
        }
    }

    /// Whether a look at all of the user may help where a look at a part of it did not: not if the connection or our own
    /// store failed.
    pub(crate) fn more_may_help(&self) -> bool {
        match self {
            UserError::Replica(e) => match e.command() {
                None | Some(CommandError::Lost { .. }) => false,
                Some(CommandError::InvalidAnswer { .. }) => true,
                Some(CommandError::Refused { code, .. }) => *code != Some(Code::MailboxLocked),
            },
            UserError::Unsettled { .. } | UserError::Plan(_) => true,
            UserError::Several { of } => of.iter().any(UserError::more_may_help),
            _ => false,
        }
    }

    /// Whether a connection ended when this user's answer was due: users who share a connection with it may lose their
    /// answers, too.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            UserError::Replica(e) => matches!(e.command(), Some(CommandError::Lost { .. })),
            UserError::Several { of } => of.iter().any(UserError::is_lost),
            _ => false,
        }
    }
}

impl MasterError {
    fn class(&self) -> Class {
        match self {
            MasterError::Store(e) => class_of_store(e),
            MasterError::Mailbox { source, .. } => class_of_store(source),
            MasterError::Unreadable { source, .. } | MasterError::Unread { source } => {
                class_of_store(source)
            }
            MasterError::NoThread => Class::Transient,
            MasterError::MessageFile { .. }
            | MasterError::RecordBuffer { .. }
            | MasterError::ScriptFiles { .. }
            | MasterError::Internal(_) => Class::Permanent,
        }
    }
}

impl ReplicaError {
    fn class(&self) -> Class {
        match self {
            ReplicaError::Command(e)
            | ReplicaError::Refused { source: e, .. }
            | ReplicaError::RefusedItem { source: e, .. } => class_of_command(e),
            ReplicaError::Pool(_) | ReplicaError::NoPartition { .. } => Class::Fatal,
            // The user that had it may be replicated meanwhile.
            ReplicaError::ElsewhereThere { .. } => Class::Transient,
            ReplicaError::DeletedThere { .. } => Class::Permanent,
        }
    }
}

/// Another try may help if it may help one of them.
fn class_of_several(of: &[UserError]) -> Class {
    let classes = || of.iter().map(UserError::class);
    if classes().any(|class| class == Class::Fatal) {
        Class::Fatal
    } else if classes().any(|class| class == Class::Transient) {
        Class::Transient
    } else if classes().any(|class| class == Class::Unsure) {
        Class::Unsure
    } else {
        Class::Permanent
    }
}

fn class_of_command(e: &CommandError) -> Class {
    match e {
        CommandError::Lost { .. } => Class::Transient,
        CommandError::InvalidAnswer { .. } => Class::Permanent,
        CommandError::Refused { code, .. } => match code {
            Some(
                Code::MailboxLocked
                | Code::MailboxMoved
                | Code::MailboxNonexistent
                | Code::SyncChanged
                | Code::SyncChecksum,
            ) => Class::Transient,
            _ => Class::Permanent,
        },
    }
}

/// A mailbox that is being created, deleted or renamed reads as missing or damaged for a moment. If it is still so a second
/// later it is broken, and waiting does not help. Too many open files are fewer when other users have ended.
fn class_of_store(e: &StoreError) -> Class {
    if let StoreError::Io { source, .. } = e
        && matches!(source.raw_os_error(), Some(EMFILE | ENFILE))
    {
        return Class::Transient;
    }
    match e.class() {
        ErrorClass::Locked => Class::Transient,
        ErrorClass::Missing | ErrorClass::Damaged => Class::Unsure,
        _ => Class::Permanent,
    }
}

#[cfg(test)]
mod tests {
    use csync::CommandKind;

    use super::*;

    #[test]
    fn too_many_open_files_are_transient_and_a_failing_disk_is_not() {
        let io = |number| StoreError::Io {
            action: "open",
            path: "cyrus.index".into(),
            source: std::io::Error::from_raw_os_error(number),
        };
        assert_eq!(UserError::from(MasterError::from(io(EMFILE))).class(), Class::Transient);
        assert_eq!(UserError::from(MasterError::from(io(5))).class(), Class::Permanent);
    }
    use crate::replica::pool_error::PoolError;

    fn refused(code: Option<Code>) -> UserError {
        CommandError::Refused { command: CommandKind::Mailbox, code, text: String::new() }.into()
    }

    #[test]
    fn the_worst_of_several_that_a_try_may_help_counts() {
        let internal = || UserError::Internal("x".into());
        let of = |errors: Vec<UserError>| UserError::Several { of: errors }.class();
        assert_eq!(of(vec![internal(), internal()]), Class::Permanent);
        assert_eq!(of(vec![internal(), UserError::Unsettled { tries: 4 }]), Class::Transient);
        let fatal = || UserError::from(ReplicaError::Pool(PoolError::Stopped));
        assert_eq!(of(vec![UserError::Unsettled { tries: 4 }, fatal()]), Class::Fatal);
    }

    #[test]
    fn a_refusal_in_passing_is_tried_again_and_no_other() {
        assert_eq!(refused(Some(Code::MailboxLocked)).class(), Class::Transient);
        assert_eq!(refused(Some(Code::SyncChecksum)).class(), Class::Transient);
        assert_eq!(refused(None).class(), Class::Permanent);
        assert!(!refused(Some(Code::MailboxLocked)).more_may_help());
        assert!(refused(None).more_may_help());
    }
}
