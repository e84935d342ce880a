//! Checks that Cyrus writes the log that is to be replicated: otherwise all would look well for ever.
//!
//! A channel that Cyrus does not know is refused, unless a log exists all the same: then Cyrus' services may read another
//! imapd.conf than we do. For the same reason `sync_log: no` is only a warning.

use actors::LogSource;
use cyrus_store::Config;
use cyrus_store::sync_log::{LogFile, Logging};

use program::exit::{Exit, Failure};

/// A warning: it seems that nothing is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The text for every status line.
    pub(crate) short: String,
    /// The advice.
    pub(crate) text: String,
}

/// Checks whether the log of this channel is written, according to the configuration.
///
/// # Errors
/// [`Exit::Config`] if the configuration says that it is not, and there is no such log.
pub(crate) fn check(
    config: &Config,
    channel: Option<&str>,
    source: &LogSource,
) -> Result<Option<Warning>, Failure> {
    // A log that is given by name exists or does not.
    let LogSource::Channel(log) = source else { return Ok(None) };
    let logging = Logging::of(config);
    let path = config.path().display();
    if !logging.has(channel) {
        let short = not_logged(config, channel);
        let mend = format!(
            "set it (if Cyrus' services read another imapd.conf, set sync_client_sync_log_channels: {} in this one)",
            channel.unwrap_or("\"\"")
        );
        if !is_there(log, channel) {
            return Err(Failure::new(Exit::Config, format!("{short}; {mend}")));
        }
        let text = format!("{short}, but {} is there and is replicated; {mend}", folder(log));
        return Ok(Some(Warning { short, text }));
    }
    if !logging.on {
        let short = format!("sync_log is off in {path}");
        let text = format!(
            "{short}: Cyrus logs no changes, so none are replicated; set sync_log: yes (if Cyrus' services read another imapd.conf, set sync_client_sync_log: yes in this one)"
        );
        return Ok(Some(Warning { short, text }));
    }
    Ok(None)
}

/// The error, and the list in question.
fn not_logged(config: &Config, channel: Option<&str>) -> String {
    let path = config.path().display();
    match (channel, config.get("sync_log_channels")) {
        (Some(name), Some(list)) => {
            format!("channel {name} is not in sync_log_channels of {path} (it has: {list})")
        }
        (Some(name), None) => format!(
            "channel {name} is not in sync_log_channels of {path} (it is not set, so there is only the log without a name)"
        ),
        (None, list) => format!(
            "no channel is given (-n), and sync_log_channels of {path} has no \"\" for the log without a name (it has: {})",
            list.unwrap_or_default()
        ),
    }
}

/// Whether such a log is written or was written. A channel has a folder of its own from its first change on; all channels
/// share the folder of the log without a name.
fn is_there(log: &LogFile, channel: Option<&str>) -> bool {
    match channel {
        Some(_) => log.path().parent().is_some_and(std::path::Path::is_dir),
        None => log.path().exists() || log.run_path().exists(),
    }
}

fn folder(log: &LogFile) -> String {
    log.path().parent().unwrap_or(log.path()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(
        lines: &str,
        channel: Option<&str>,
        made: &[&str],
    ) -> Result<Option<Warning>, Failure> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let nr = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("log-check-{}-{nr}", std::process::id()));
        std::fs::create_dir_all(dir.join("sync")).unwrap();
        for path in made {
            let path = dir.join("sync").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let text = format!("configdirectory: {}\n{lines}", dir.display());
        let config = Config::parse(&text, "/t/imapd.conf").unwrap();
        let source = LogSource::Channel(LogFile::of_channel(&config, channel));
        let result = check(&config, channel, &source);
        std::fs::remove_dir_all(dir).unwrap();
        result
    }

    #[test]
    fn what_is_logged_is_no_matter() {
        for (lines, channel) in [
            ("sync_log: yes\n", None),
            ("sync_log: yes\nsync_log_channels: one \"\"\n", None),
            ("sync_log: yes\nsync_log_channels: one two\n", Some("two")),
            ("imap_sync_log: yes\nimap_sync_log_channels: three\n", Some("three")),
        ] {
            assert_eq!(checked(lines, channel, &[]).unwrap(), None, "{lines}");
        }
    }

    #[test]
    fn a_channel_that_is_not_logged_is_refused_unless_its_log_is_there() {
        for (lines, channel, made, words) in [
            (
                "sync_log: yes\nsync_log_channels: one two\n",
                Some("three"),
                "three/log-run",
                "channel three is not in sync_log_channels of /t/imapd.conf (it has: one two)",
            ),
            (
                "sync_log: yes\n",
                Some("three"),
                "three/log",
                "channel three is not in sync_log_channels of /t/imapd.conf (it is not set, ",
            ),
            (
                "sync_log: yes\nsync_log_channels: squatter\n",
                None,
                "log",
                "no channel is given (-n), and sync_log_channels of /t/imapd.conf has no \"\"",
            ),
        ] {
            let failure = checked(lines, channel, &["squatter/log"]).unwrap_err();
            assert_eq!(failure.exit, Exit::Config);
            assert!(failure.text.starts_with(words), "{}", failure.text);
            let warning = checked(lines, channel, &[made]).unwrap().unwrap();
            assert!(warning.text.starts_with(words), "{warning:?}");
        }
    }

    #[test]
    fn nothing_logged_at_all_is_a_warning() {
        let warning = checked("sync_log: no\n", None, &[]).unwrap().unwrap();
        assert_eq!(warning.short, "sync_log is off in /t/imapd.conf");
        let told = checked("sync_log: no\nsync_client_sync_log: yes\n", None, &[]).unwrap();
        assert_eq!(told, None);
    }
}
