//! SIGTERM and SIGINT: finish what is in flight and stop; a second one stops at once. SIGUSR1: say
//! on stderr what is being done for whom.

use std::time::Instant;

use actors::Board;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::exit::Exit;
use crate::tell;

/// A flag that turns true when somebody asks us to stop.
pub(crate) fn watch(board: Board) -> watch::Receiver<bool> {
    actix_rt::spawn(show_on_request(board));
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

async fn show_on_request(board: Board) {
    let mut asked = match signal(SignalKind::user_defined1()) {
        Ok(asked) => asked,
        Err(e) => {
            warn!("can't watch for SIGUSR1: {e}");
            return;
        }
    };
    while asked.recv().await.is_some() {
        tell(&board.status(Instant::now()));
    }
}
