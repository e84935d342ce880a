//! SIGTERM and SIGINT: finish what is in flight and stop; a second one stops at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::exit::Exit;

/// A flag that turns true when somebody asks us to stop.
pub(crate) fn watch() -> watch::Receiver<bool> {
    let (asked, stop) = watch::channel(false);
    actix_rt::spawn(async move {
        let (mut term, mut int) =
            match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
                (Ok(term), Ok(int)) => (term, int),
                (Err(e), _) | (_, Err(e)) => {
                    warn!("can't watch for signals: {e}");
                    return;
                }
            };
        let mut times = 0;
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            times += 1;
            if times > 1 {
                std::process::exit(Exit::TempFail as i32);
            }
            info!("asked to stop: finishing the users in flight");
            if asked.send(true).is_err() {
                return;
            }
        }
    });
    stop
}
