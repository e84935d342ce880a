//! SIGTERM and SIGINT: finish the users in flight and stop; a second one stops at once. SIGUSR1: report on stderr and in
//! syslog the status of the run and what is being done for which user. SIGHUP: in rolling replication, read the
//! configuration again and retry everything that pauses; in other runs as SIGTERM.

use std::time::{Duration, Instant};

use actors::Progress;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::exit::Exit;
use crate::tell;

/// How long the program waits for its last line to be taken.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A flag that becomes true when a signal asks us to stop. SIGUSR1 shows the progress.
pub fn watch(progress: Progress) -> watch::Receiver<bool> {
    let shown = progress.clone();
    show_on_request(move || shown.text(Instant::now()));
    let (asked, stop) = watch::channel(false);
    let signals = Signals::new(true);
    actix_rt::spawn(async move {
        let Some(mut signals) = signals else { return };
        // A closed terminal (SIGHUP) ends a run in good order, too.
        loop {
            signals.next().await;
            progress.stopping();
            info!("asked to stop: finishing the users in flight");
            // A run that has ended may still wait for its output to be taken: a second signal ends that, too.
            let _ = asked.send(true);
        }
    });
    stop
}

/// The signals that end the program, and SIGHUP if requested.
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Option<Signal>,
    stops: u32,
}

impl Signals {
    /// `None`, and a line in syslog, if they can't be watched.
    pub fn new(with_hangup: bool) -> Option<Signals> {
        let open = || -> std::io::Result<Signals> {
            let hup = if with_hangup { Some(signal(SignalKind::hangup())?) } else { None };
            let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            Ok(Signals { term, int, hup, stops: 0 })
        };
        open().inspect_err(|e| warn!("can't watch for signals: {e}")).ok()
    }

    /// Waits for one of them. A second one that is to end the program ends it at once.
    pub async fn next(&mut self) -> Heard {
        let hangup = async {
            match &mut self.hup {
                Some(hup) => hup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
            _ = hangup => return Heard::Hangup,
        }
        self.stops += 1;
        if self.stops > 1 {
            last_words("interrupted a second time: ended at once");
            std::process::exit(Exit::TempFail as i32);
        }
        Heard::Stop
    }
}

/// Says this, but waits no longer than a second: a terminal may not take it (Ctrl-S, a pager).
fn last_words(text: &'static str) {
    let (said, waiting) = std::sync::mpsc::channel();
    let saying = move || {
        actors::remove_bar();
        tell(text);
        // Whoever waited may have gone.
        let _ = said.send(());
    };
    if std::thread::Builder::new().spawn(saying).is_ok() {
        let _ = waiting.recv_timeout(LAST_WORDS);
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// To stop (SIGTERM, SIGINT).
    Stop,
    /// To read the configuration again (SIGHUP).
    Hangup,
}

/// Prints the status whenever SIGUSR1 arrives: on stderr and, since that may be /dev/null (under Cyrus' master it is), in
/// syslog.
pub fn show_on_request(text: impl Fn() -> String + 'static) {
    let mut asked = match signal(SignalKind::user_defined1()) {
        Ok(asked) => asked,
        Err(e) => {
            warn!("can't watch for SIGUSR1: {e}");
            return;
        }
    };
    actix_rt::spawn(async move {
        while asked.recv().await.is_some() {
            let text = text();
            for line in text.lines() {
                info!("{line}");
            }
            // A terminal that does not take it must not stop the event loop.
            actix_rt::task::spawn_blocking(move || tell(&text));
        }
    });
}
