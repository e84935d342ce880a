//! Syslog through libc's syslog(3): the C client's lines, where log watchers look for them.
//!
//! Facility mail, or `syslog_facility`; the ident is `PREFIX/sync_client` with `syslog_prefix` (or, before that, the
//! environment's CYRUS_SYSLOG_PREFIX), else `sync_client`, as `imap/global.c:cyrus_init` has it.

use std::ffi::{CStr, CString};
use std::fmt::Write;

use actors::{NOTICE, plain};
use cyrus_store::Config;
use nix::syslog::{Facility, LogFlags, Severity, openlog, syslog};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::{Exit, Failure};

/// Opens syslog and sends it the lines of our own code at level info and above.
///
/// # Errors
/// [`Exit::Config`] when the ident can't be used.
pub fn start(config: &Config, program: &str) -> Result<(), Failure> {
    let prefix = std::env::var("CYRUS_SYSLOG_PREFIX").ok();
    let ident = match prefix.as_deref().or(config.syslog_prefix()) {
        Some(prefix) => format!("{prefix}/{program}"),
        None => program.to_string(),
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
        // Cyrus' own texts, which go where they are expected.
        error!("config error: syslog name {name} not recognised");
    }
    Ok(())
}

/// The facilities that Cyrus knows, in upper or lower case (`imap/global.c`: get_facility).
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

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Syslog {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let level = *event.metadata().level();
        let severity = if level == Level::ERROR {
            Severity::LOG_ERR
        } else if level == Level::WARN {
            Severity::LOG_WARNING
        } else if event.metadata().target() == NOTICE {
            Severity::LOG_NOTICE
        } else {
            Severity::LOG_INFO
        };
        let mut line = Line::default();
        event.record(&mut line.fields);
        line.text = line.fields.take_message();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.fields.0.extend(fields.0.iter().cloned());
            }
        }
        // A dead syslogd is not a reason to stop replicating.
        let _ = syslog(severity, &*plain::line(&line.words()));
    }
}

/// Names and values, of a line or of its spans.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn take_message(&mut self) -> String {
        let place = self.0.iter().position(|(name, _)| *name == "message");
        place.map(|place| self.0.remove(place).1).unwrap_or_default()
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }
}

/// The message first, then its user, mailbox, connection and channel: ` user=<anna> channel=<backup>`.
#[derive(Default)]
struct Line {
    text: String,
    fields: Fields,
}

impl Line {
    /// As text. Nothing is written twice: Cyrus' own lines have `userid=<anna>` in them.
    fn words(mut self) -> String {
        for (name, value) in self.fields.0 {
            let known = match name {
                "user" => self.text.contains(&format!("userid=<{value}>")),
                name => self.text.contains(&format!("{name}=<{value}>")),
            };
            if !known {
                // Writing to a string can't fail.
                let _ = write!(self.text, " {name}=<{value}>");
            }
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_whose_it_is_and_nothing_twice() {
        let field = |name, value: &str| (name, value.to_string());
        let line = |text: &str| Line {
            text: text.into(),
            fields: Fields(vec![field("connection", "3"), field("user", "anna")]),
        };
        assert_eq!(line("NO").words(), "NO connection=<3> user=<anna>");
        assert_eq!(line("failed: userid=<anna>").words(), "failed: userid=<anna> connection=<3>");
        let mut fields = Fields(vec![field("a", "1"), field("message", "text")]);
        assert_eq!((fields.take_message().as_str(), fields.0.len()), ("text", 1));
    }
}
