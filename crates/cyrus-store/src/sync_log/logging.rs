//! What Cyrus logs, and to which channels, according to imapd.conf.
//!
//! ```text
//! sync_log: yes                       nothing is logged without it
//! sync_log_channels: one two ""       one log a channel, "" is the one without a name; not set: that one alone
//! imap_sync_log: yes                  for the service that cyrus.conf calls imap; beats the plain option
//! ```
//! The channels are separated by spaces only. Each service may read another imapd.conf than we do, so the result is a
//! strong hint, not a proof.
//!
//! Source: `imap/sync_log.c` (sync_log_init, sync_log_enabled), `lib/libconfig.c` of cyrus-imapd 3.6.1.

use crate::config::Config;
use crate::config::values::parse_switch;

/// The log settings of Cyrus' services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Whether any service logs at all.
    pub on: bool,
    /// The channels that they log to, in the order of the list; `None` is the log without a name.
    pub channels: Vec<Option<String>>,
}

impl Logging {
    /// The log settings in this configuration.
    #[must_use]
    pub fn of(conf: &Config) -> Logging {
        let mut on = conf.is_on("sync_log");
        let mut channels = Vec::new();
        add(conf.get("sync_log_channels").unwrap_or("\"\""), &mut channels);
        let mut own: Vec<_> = conf.values.iter().collect();
        own.sort();
        for (name, value) in own {
            on |= name.ends_with("_sync_log") && parse_switch(value) == Some(true);
            if name.ends_with("_sync_log_channels") {
                add(value, &mut channels);
            }
        }
        Logging { on, channels }
    }

    /// Whether they log to this channel.
    #[must_use]
    pub fn has(&self, channel: Option<&str>) -> bool {
        self.channels.iter().any(|known| known.as_deref() == channel)
    }
}

fn add(list: &str, channels: &mut Vec<Option<String>>) {
    for name in list.split(' ').filter(|name| !name.is_empty()) {
        let name = (name != "\"\"").then(|| name.to_string());
        if !channels.contains(&name) {
            channels.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logging(lines: &str) -> Logging {
        let text = format!("configdirectory: /c\n{lines}");
        Logging::of(&Config::parse(&text, "/t").unwrap())
    }

    #[test]
    fn without_a_list_it_is_the_log_without_a_name() {
        let nothing = logging("");
        assert!(!nothing.on && nothing.has(None) && !nothing.has(Some("one")));
        assert!(logging("sync_log: yes\n").on && !logging("sync_log: no\n").on);
    }

    #[test]
    fn a_list_is_split_at_spaces() {
        let two = logging("sync_log_channels: one  two\n");
        assert!(two.has(Some("one")) && two.has(Some("two")) && !two.has(None));
        let all = logging("sync_log_channels: squatter \"\"\n");
        assert!(all.has(Some("squatter")) && all.has(None));
        assert!(!logging("sync_log_channels: one\ttwo\n").has(Some("one")));
    }

    #[test]
    fn services_and_this_program_may_have_their_own() {
        let services = logging("imap_sync_log: on\nlmtpunix_sync_log_channels: three\n");
        assert!(services.on && services.has(Some("three")) && services.has(None));
        assert!(!logging("imap_sync_log: off\n").on);
        let told = logging("sync_client_sync_log: yes\nsync_client_sync_log_channels: four\n");
        assert!(told.on && told.has(Some("four")));
    }
}
