//! Reports our state to systemd: ready, a status line, signs of life. Without NOTIFY_SOCKET it does nothing.
//!
//! It sends READY when every channel's log has been read once and its replica has accepted the login, and WATCHDOG only
//! while every channel shows that it is alive. See sd_notify(3) and `docs/sync_client.service`.

use std::time::{Duration, Instant};

use actors::RollStatus;
use sd_notify::NotifyState;
use tracing::debug;

/// How often the status is sent.
const PAUSE: Duration = Duration::from_secs(2);
/// A channel without a sign of life for this long is stuck.
const STUCK: Duration = Duration::from_secs(30);

/// Sends messages to systemd.
pub(crate) struct Notifier;

impl Notifier {
    /// Starts to report the status of these channels.
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

    /// Reports that we stop.
    pub(crate) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }
}

/// Reports the present state; returns whether READY has been sent.
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
        debug!("can't notify systemd: {e}");
    }
}
