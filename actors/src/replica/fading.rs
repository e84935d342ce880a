//! Connections that fell silent and were given up, although the replica may still carry out what was sent on them.
//!
//! The replica may not yet have reached commands that it has read, and the network may hold others. If they are carried out
//! late, after the commands of a newer connection, they undo changes. So such a connection is not just dropped: we send no
//! more, and listen until it ends; by then everything that was sent has been carried out or never will be. The user whose
//! work it was waits for that, for a limited time, before it is looked at again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cyrus_types::Owner;

use crate::replica::frames::End;

/// How long a user waits for the end of a connection that fell silent.
const LONGEST: Duration = Duration::from_secs(60);

/// Such connections, by the user whose work was on them. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fading(Arc<Mutex<HashMap<Owner, Vec<End>>>>);

impl Fading {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<Owner, Vec<End>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This user's work on a connection failed: if the connection fell silent, the user must wait for its end.
    pub(crate) fn note(&self, owner: &Owner, end: &End) {
        if end.is_fading() {
            self.with(|all| all.entry(owner.clone()).or_default().push(end.clone()));
        }
    }

    /// Waits until nothing that was sent for this user can be carried out any more; a minute at most.
    pub(crate) async fn wait(&self, owner: &Owner) {
        let Some(ends) = self.with(|all| all.remove(owner)) else { return };
        let all = async {
            for end in &ends {
                end.gone().await;
            }
        };
        if tokio::time::timeout(LONGEST, all).await.is_err() {
            tracing::warn!(
                "user {}: a connection that fell silent has not ended; what was sent on it may still be carried out, so look at the user again when the replica is well",
                owner.name()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::frames::Closed;

    #[tokio::test]
    async fn only_who_worked_on_a_silent_connection_waits() {
        let fading = Fading::default();
        let (anna, bert) = (Owner::from("anna"), Owner::from("bert"));
        let (silent, cut) = (End::default(), End::default());
        silent.set(Closed { fading: true, ..Closed::default() });
        cut.set(Closed::default());
        fading.note(&anna, &silent);
        fading.note(&bert, &cut);
        fading.wait(&bert).await;
        let soon = Duration::from_millis(50);
        let waiting = fading.clone();
        let mut wait = std::pin::pin!(async move { waiting.wait(&anna).await });
        assert!(tokio::time::timeout(soon, &mut wait).await.is_err());
        silent.set_gone();
        wait.await;
    }
}
