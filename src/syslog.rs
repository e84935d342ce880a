//! Syslog through libc's syslog(3): the C client's lines where its watchers look for them.
//!
//! Facility mail; the ident is `PREFIX/sync_client` with `syslog_prefix` (or, before that, the
//! environment's CYRUS_SYSLOG_PREFIX), else `sync_client`, as `imap/global.c:cyrus_init` has it.

use std::ffi::{CStr, CString};
use std::fmt::Write;

use cyrus_store::Config;
use nix::syslog::{Facility, LogFlags, Severity, openlog, syslog};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::{Exit, Failure};

/// Opens syslog and sends it what our own code tells at level info and above.
///
/// # Errors
/// [`Exit::Config`] when the ident can't be used.
pub(crate) fn start(config: &Config) -> Result<(), Failure> {
    let prefix = std::env::var("CYRUS_SYSLOG_PREFIX").ok();
    let ident = match prefix.as_deref().or(config.syslog_prefix()) {
        Some(prefix) => format!("{prefix}/sync_client"),
        None => "sync_client".to_string(),
    };
    let bad_ident =
        |e: String| Failure::new(Exit::Config, format!("can't open syslog as {ident}: {e}"));
    let name = CString::new(ident.as_str()).map_err(|e| bad_ident(e.to_string()))?;
    // syslog(3) keeps the pointer for as long as the program lives.
    let name: &'static CStr = Box::leak(name.into_boxed_c_str());
    openlog(Some(name), LogFlags::LOG_PID, Facility::LOG_MAIL)
        .map_err(|e| bad_ident(e.to_string()))?;
    tracing_subscriber::registry()
        .with(Syslog.with_filter(LevelFilter::INFO))
        .try_init()
        .map_err(|e| Failure::new(Exit::Config, format!("can't start logging: {e}")))
}

struct Syslog;

impl<S: Subscriber> Layer<S> for Syslog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let severity = if level == Level::ERROR {
            Severity::LOG_ERR
        } else if level == Level::WARN {
            Severity::LOG_WARNING
        } else {
            Severity::LOG_INFO
        };
        let mut line = Line::default();
        event.record(&mut line);
        // A syslogd that is gone is no reason to stop replicating.
        let _ = syslog(severity, line.text.as_str());
    }
}

/// The message first, then what fields it has.
#[derive(Default)]
struct Line {
    text: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.text, " {name}=<{value:?}>"),
        };
    }
}
