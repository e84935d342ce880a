//! One login at each replica before anything else is done, for a program that is about to go into the background:
//! afterwards nobody sees its errors.
//!
//! It runs on an event loop of its own that is gone, with all its threads, when it ends: a process with threads must not
//! fork.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;

use crate::monitor::events::EventSink;
use crate::monitor::report::Stopped;
use crate::monitor::reporting::write_line;
use crate::replica::transport;
use crate::settings::Settings;

/// How long a replica may take. Cyrus' master waits for a program in the START section of cyrus.conf before it serves
/// clients; a wrong password takes three seconds (`failedloginpause`).
const LONGEST: Duration = Duration::from_secs(10);

/// The name of the threads that look names up.
const THREADS: &str = "login-check";

/// How a replica answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginCheck {
    /// The login is accepted, and we may replicate.
    Good,
    /// Going on is useless: the error that a run would end with.
    Bad(Stopped),
    /// It can't be reached now; the reason in words.
    Away(String),
}

/// Logs in at the replica of each of these settings, at the same time, and logs out again. It waits about ten seconds at
/// most, must not be called on an event loop, and leaves no thread behind.
///
/// # Errors
/// No event loop can be made.
pub fn check_logins(all: &[Settings]) -> io::Result<Vec<LoginCheck>> {
    let mut event_loop = tokio::runtime::Builder::new_current_thread();
    let event_loop = event_loop.enable_all().thread_name(THREADS).build()?;
    let checked = event_loop.block_on(join_all(all.iter().map(check)));
    // Waits for its threads.
    drop(event_loop);
    Ok(checked)
}

async fn check(settings: &Settings) -> LoginCheck {
    let (events, mut told) = EventSink::channel(false, settings.run.trace);
    let connecting =
        tokio::time::timeout(LONGEST, transport::connect(settings, &events, 0, false, true));
    let mut connecting = std::pin::pin!(connecting);
    let ended = loop {
        tokio::select! {
            biased;
            Some(event) = told.recv() => write_line(&event),
            ended = &mut connecting => break ended,
        }
    };
    while let Ok(event) = told.try_recv() {
        write_line(&event);
    }
    let problem = match ended {
        Ok(Ok(_)) => return LoginCheck::Good,
        Ok(Err(e)) if e.is_fatal() => return LoginCheck::Bad(Stopped::Fatal(e.to_string())),
        Ok(Err(e)) => e.to_string(),
        Err(_) => format!("no answer in {} seconds", LONGEST.as_secs()),
    };
    let why = format!("Can not connect to server '{}': {problem}", settings.replica.server);
    if settings.replica.connect_once {
        return LoginCheck::Bad(Stopped::NoConnection(why));
    }
    LoginCheck::Away(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::testing::given::settings;

    /// The threads of this process that have our name.
    fn threads() -> usize {
        let all = std::fs::read_dir("/proc/self/task").unwrap();
        let names = all.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")));
        names.filter(|name| name.as_ref().is_ok_and(|name| name.trim_end() == THREADS)).count()
    }

    #[test]
    fn no_thread_is_left_behind() {
        // A name is looked up on a thread; nothing listens there.
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut there = settings();
        (there.replica.server, there.replica.port) = ("localhost".into(), Some(port.to_string()));
        let mut once = there.clone();
        once.replica.connect_once = true;
        let checked = check_logins(&[there, once]).unwrap();
        assert_eq!(threads(), 0);
        let words = "Can not connect to server 'localhost': ";
        assert!(
            matches!(&checked[0], LoginCheck::Away(why) if why.starts_with(words)),
            "{checked:?}"
        );
        let given_up = LoginCheck::Bad(Stopped::NoConnection(String::new()));
        assert_eq!(std::mem::discriminant(&checked[1]), std::mem::discriminant(&given_up));
    }
}
