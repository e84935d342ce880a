//! Syslog through libc's syslog(3): the C client's lines where its watchers look for them.
//!
//! Facility mail, or `syslog_facility`; the ident is `PREFIX/sync_client` with `syslog_prefix` (or, before that, the
//! environment's CYRUS_SYSLOG_PREFIX), else `sync_client`, as `imap/global.c:cyrus_init` has it.

use std::ffi::{CStr, CString};
use std::fmt::Write;

use actors::plain;
use cyrus_store::Config;
use nix::syslog::{Facility, LogFlags, Severity, openlog, syslog};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, error};
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
    let wanted = config.get("syslog_facility");
    let facility = wanted.map_or(Some(Facility::LOG_MAIL), facility_of);
    openlog(Some(name), LogFlags::LOG_PID, facility.unwrap_or(Facility::LOG_MAIL))
        .map_err(|e| bad_ident(e.to_string()))?;
    tracing_subscriber::registry()
        .with(Syslog.with_filter(LevelFilter::INFO))
        .try_init()
        .map_err(|e| Failure::new(Exit::Config, format!("can't start logging: {e}")))?;
    if let (None, Some(name)) = (facility, wanted) {
        // Cyrus' words, which go where they would be looked for.
        error!("config error: syslog name {name} not recognised");
    }
    Ok(())
}

/// The facilities that Cyrus knows, upper and lower case being alike (`imap/global.c`: get_facility).
fn facility_of(name: &str) -> Option<Facility> {
    let facility = match name.to_ascii_lowercase().as_str() {
        "daemon" => Facility::LOG_DAEMON,
        "mail" => Facility::LOG_MAIL,
        "news" => Facility::LOG_NEWS,
        "user" => Facility::LOG_USER,
        "local0" => Facility::LOG_LOCAL0,
        "local1" => Facility::LOG_LOCAL1,
        "local2" => Facility::LOG_LOCAL2,
        "local3" => Facility::LOG_LOCAL3,
        "local4" => Facility::LOG_LOCAL4,
        "local5" => Facility::LOG_LOCAL5,
        "local6" => Facility::LOG_LOCAL6,
        "local7" => Facility::LOG_LOCAL7,
        _ => return None,
    };
    Some(facility)
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
        let _ = syslog(severity, &*plain::line(&line.text));
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
