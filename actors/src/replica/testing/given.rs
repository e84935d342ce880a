//! Settings, and an event loop whose clock advances by itself when all tasks wait.

use std::time::Duration;

use crate::settings::{ReplicaSettings, Settings};

/// How long to wait for a silent replica in tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
/// A test that takes longer, in real time, hangs.
const LONGEST: Duration = Duration::from_secs(60);
/// A test in which so much time passes hangs.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The password in [`settings`].
pub(crate) const PASSWORD: &str = "open sesame";

/// Settings of a run with one job; most are empty.
pub(crate) fn settings() -> Settings {
    Settings {
        replica: ReplicaSettings {
            authname: "cyrus".into(),
            password: PASSWORD.into(),
            try_imap: false,
            reconnect_maxwait: Duration::from_secs(60),
            timeout: TIMEOUT,
            ..ReplicaSettings::default()
        },
        ..Settings::default()
    }
}

/// Runs a test on an event loop whose clock, whenever all tasks wait, jumps to the next time that a task sleeps until.
pub(crate) fn in_paused_time<F: Future>(test: F) -> F::Output {
    // If no task waits for anything else, the clock advances to this.
    on_event_loop(true, async { tokio::time::timeout(DAY, test).await.expect("the test hangs") })
}

/// Runs a test that waits for threads or sockets: their work takes time.
pub(crate) fn in_real_time<F: Future>(test: F) -> F::Output {
    on_event_loop(false, async {
        tokio::time::timeout(LONGEST, test).await.expect("the test hangs")
    })
}

fn on_event_loop<F: Future>(paused: bool, test: F) -> F::Output {
    let make = move || {
        let mut event_loop = tokio::runtime::Builder::new_current_thread();
        event_loop.enable_all().start_paused(paused).build().expect("an event loop")
    };
    actix_rt::System::with_tokio_rt(make).block_on(test)
}
