//! Why there is no connection: for nobody, or for one who asked.

use crate::monitor::report::Stopped;

/// Why no user gets a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Trying again would not help: the login, a certificate or the configuration is wrong.
    #[error("{0}")]
    Fatal(String),
    /// The replica can't be reached and -o forbids to wait.
    #[error("{0}")]
    NoConnection(String),
    /// The same, after the replica said BYE: it is being shut down.
    #[error("{0}")]
    SaidBye(String),
    /// The program was told to stop.
    #[error("stopped while the replica could not be reached")]
    Stopped,
}

/// Why a user gets no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoLease {
    /// The program was told to stop, or other users took too long: the caller's work was not started.
    NotStarted,
    /// No connection can be had.
    Failed(PoolError),
}

impl From<PoolError> for Stopped {
    fn from(e: PoolError) -> Stopped {
        match e {
            PoolError::Fatal(why) => Stopped::Fatal(why),
            PoolError::NoConnection(why) => Stopped::NoConnection(why),
            PoolError::SaidBye(why) => Stopped::SaidBye(why),
            PoolError::Stopped => Stopped::WhileConnecting,
        }
    }
}

impl From<PoolError> for NoLease {
    fn from(e: PoolError) -> NoLease {
        NoLease::Failed(e)
    }
}
