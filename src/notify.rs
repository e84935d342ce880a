//! Telling systemd how we are: ready, a status line, signs of life. Without NOTIFY_SOCKET nothing is told.
//!
//! READY comes when every channel's log has been read once and its replica has let us in; WATCHDOG only while every channel shows
//! that it lives. See sd_notify(3) and `docs/sync_client.service`.

use std::time::{Duration, Instant};

use actors::RollStatus;
use sd_notify::NotifyState;
use tracing::debug;

/// How often the status is told.
const PAUSE: Duration = Duration::from_secs(2);
/// A channel that has shown no sign of life for so long is stuck.
const STUCK: Duration = Duration::from_secs(30);

/// Tells systemd.
pub(crate) struct Notifier;

impl Notifier {
    /// Begins to tell what these channels' statuses are.
    pub(crate) fn start(statuses: impl Fn() -> Vec<RollStatus> + 'static) -> Notifier {
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            actix_rt::spawn(async move {
                let mut ready = false;
                loop {
                    ready = tell(&statuses(), ready);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Notifier
    }

    /// We stop.
    pub(crate) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }
}

/// Tells the present state; returns whether READY has been told.
fn tell(statuses: &[RollStatus], ready: bool) -> bool {
    let now = Instant::now();
    let lines: Vec<String> = statuses.iter().map(|status| status.line(now)).collect();
    let line = lines.join("; ");
    let mut states = vec![NotifyState::Status(&line)];
    let all_ready = statuses.iter().all(RollStatus::is_ready);
    if all_ready && !ready {
        states.push(NotifyState::Ready);
    }
    if statuses.iter().all(|status| status.is_alive(now, STUCK)) {
        states.push(NotifyState::Watchdog);
    }
    notify(&states);
    ready || all_ready
}

/// A socket that is gone is no reason to stop replicating.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        debug!("systemd can't be told: {e}");
    }
}
