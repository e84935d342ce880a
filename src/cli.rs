//! The command line: sync_client(8)'s options, short and long, and ours.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, CommandFactory, Parser, error::ErrorKind};

use crate::exit::{Exit, Failure};

/// Replicates users of a Cyrus IMAP master to a replica, many at once.
#[derive(Debug, Parser)]
#[command(name = "sync_client", version, max_term_width = 100)]
#[command(
    override_usage = "sync_client [OPTIONS] -u USER...\n       sync_client [OPTIONS] -u -f FILE\n       sync_client [OPTIONS] -A [PREFIX]\n       sync_client [OPTIONS] -r | -R | -1 [-n CHANNEL]...\n       sync_client [OPTIONS] -R -f FILE"
)]
pub(crate) struct Args {
    /// Read this file instead of /etc/imapd.conf
    #[arg(
        short = 'C',
        value_name = "FILE",
        default_value = "/etc/imapd.conf",
        hide_default_value = true
    )]
    pub(crate) config: PathBuf,

    /// Replicate all users, or those whose mailboxes' internal names begin with PREFIX
    #[arg(short = 'A', long)]
    pub(crate) all_users: bool,

    /// Replicate the named users
    #[arg(short = 'u', long)]
    pub(crate) userids: bool,

    /// Replicate what the sync log says, again and again, in the background
    #[arg(short = 'r', long)]
    pub(crate) rolling: bool,

    /// As -r, in the foreground
    #[arg(short = 'R', long)]
    pub(crate) foreground_rolling: bool,

    /// As -R, but end after one log
    #[arg(short = '1', long)]
    pub(crate) rolling_once: bool,

    /// With -u, read the users from this file, one a line ("-": standard input); empty lines and those
    /// that begin with # are skipped. With -r and -R, replicate what this log says and end
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) input_file: Option<PathBuf>,

    /// Users in flight at once [default: sync_jobs in imapd.conf, else 4]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,

    /// The replica: host, host:port or a Unix socket's path [default: sync_host in imapd.conf]
    #[arg(short = 'S', long, value_name = "SERVER")]
    pub(crate) server: Option<String>,

    /// Use this channel's settings (CHANNEL_sync_host and so on) and its log; in rolling replication it
    /// may be given several times
    #[arg(short = 'n', long, value_name = "CHANNEL")]
    pub(crate) channel: Vec<String>,

    /// Seconds from one look at the log to the next; 0: at once [default: sync_repeat_interval]
    #[arg(short = 'd', long, value_name = "SECONDS")]
    pub(crate) delay: Option<u64>,

    /// Seconds after which the replica is sent a RESTART in rolling replication; 0: never
    #[arg(short = 't', long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u64,

    /// End rolling replication when this file is there, and remove it [default: sync_shutdown_file]
    #[arg(short = 'F', long, value_name = "FILE")]
    pub(crate) shutdown_file: Option<PathBuf>,

    /// The partition on the replica for all mailboxes
    #[arg(short = 'p', long, value_name = "PARTITION")]
    pub(crate) dest_partition: Option<String>,

    /// Take nothing over from the replica: overwrite what differs there
    #[arg(short = 'O', long)]
    pub(crate) no_copyback: bool,

    /// Skip users whose sync lock somebody else holds, instead of waiting for it
    #[arg(short = 'N', long)]
    pub(crate) skip_locked: bool,

    /// Try to connect only once, instead of waiting for the replica
    #[arg(short = 'o', long)]
    pub(crate) connect_once: bool,

    /// Fail if the replica offers no compression
    #[arg(short = 'z', long)]
    pub(crate) require_compression: bool,

    /// Change mailboxes on the replica without telling mupdate there
    #[arg(short = 'L', long)]
    pub(crate) local_only: bool,

    /// Say on stdout what is done; twice: show all protocol traffic on stderr
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Say in syslog what is done
    #[arg(short = 'l', long)]
    pub(crate) verbose_logging: bool,

    /// Wait this many seconds before starting
    #[arg(
        short = 'w',
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) delayed_startup: u64,

    /// Users (-u), or the prefix (-A)
    #[arg(value_name = "OBJECT")]
    pub(crate) objects: Vec<String>,
}

/// What to replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// -u
    Users,
    /// -A
    AllUsers,
    /// -r, -R, -1
    Rolling,
}

impl Args {
    /// # Errors
    /// None or several of -u, -A and -r (-R, -1), or objects that make no sense.
    pub(crate) fn mode(&self) -> Result<Mode, Failure> {
        let usage = |text: &str| Failure::new(Exit::Usage, format!("{text}\n\n{}", usage_text()));
        let rolling = self.rolling || self.foreground_rolling || self.rolling_once;
        if u8::from(self.userids) + u8::from(self.all_users) + u8::from(rolling) > 1 {
            return Err(usage("Mutually exclusive options defined"));
        }
        if rolling {
            return self.check_rolling().map(|()| Mode::Rolling).map_err(usage);
        }
        if self.channel.len() > 1 {
            return Err(usage("several channels (-n) go with rolling replication only"));
        }
        match (self.userids, self.all_users) {
            (true, _) if self.input_file.is_none() && self.objects.is_empty() => {
                Err(usage("-u needs users, or a file of users (-f)"))
            }
            (true, _) if self.input_file.is_some() && !self.objects.is_empty() => {
                Err(usage("-u takes users from the command line or from a file, not from both"))
            }
            (true, _) => Ok(Mode::Users),
            (false, true) if self.input_file.is_some() => Err(usage("-f goes with -u, -r and -R")),
            (false, true) if self.objects.len() > 1 => Err(usage("-A takes one prefix at most")),
            (false, true) => Ok(Mode::AllUsers),
            (false, false) => Err(usage("No replication mode specified")),
        }
    }

    fn check_rolling(&self) -> Result<(), &'static str> {
        if !self.objects.is_empty() {
            return Err("rolling replication takes no users: the log names them");
        }
        if self.input_file.is_some() && self.channel.len() > 1 {
            return Err("a log given with -f is for one channel (-n)");
        }
        Ok(())
    }

    /// The channels, once each; one without a name if none is given.
    pub(crate) fn channels(&self) -> Vec<Option<&str>> {
        let mut channels: Vec<Option<&str>> = Vec::new();
        for name in &self.channel {
            if !channels.contains(&Some(name)) {
                channels.push(Some(name));
            }
        }
        if channels.is_empty() { vec![None] } else { channels }
    }
}

fn usage_text() -> String {
    format!("{}\nFor more, try --help.", Args::command().render_usage())
}

/// Parses the command line; help and version are said at once.
///
/// # Errors
/// [`Exit::Usage`] with the reason.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, Failure> {
    let args = Args::try_parse_from(args).map_err(|e| match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed stdout is no failure.
            let _ = e.print();
            Failure::new(Exit::Done, "")
        }
        _ => Failure::new(Exit::Usage, e.to_string().trim_end()),
    })?;
    args.mode()?;
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Args, Failure> {
        parse(std::iter::once("sync_client").chain(line.split(' ')).map(OsString::from))
    }

    #[test]
    fn short_and_long_names_mean_the_same() {
        let short = parsed(
            "-C /tmp/i.conf -u -v -v -l -L -z -N -o -O -S host -n ch -p part -w 1 -j 9 anna bert",
        )
        .unwrap();
        let long = parsed("-C /tmp/i.conf --userids --verbose --verbose --verbose-logging --local-only --require-compression --skip-locked --connect-once --no-copyback --server host --channel ch --dest-partition part --delayed-startup 1 --jobs 9 anna bert").unwrap();
        assert_eq!(format!("{short:?}"), format!("{long:?}"));
        assert_eq!(short.objects, ["anna", "bert"]);
        assert_eq!(short.verbose, 2);
        assert_eq!(parsed("-A").unwrap().mode().unwrap(), Mode::AllUsers);
    }

    #[test]
    fn rolling_has_three_names() {
        let short = parsed("-r -n a -n b -n a -d 0 -t 60 -F /tmp/stop").unwrap();
        let long = parsed("--rolling --channel a --channel b --channel a --delay 0 --timeout 60 --shutdown-file /tmp/stop").unwrap();
        assert_eq!(format!("{short:?}"), format!("{long:?}"));
        assert_eq!(short.channels(), [Some("a"), Some("b")]);
        for line in ["-r", "-R", "-1", "-R -1", "-r -f -", "-R -f /tmp/log -n a"] {
            assert_eq!(parsed(line).unwrap().mode().unwrap(), Mode::Rolling, "{line}");
        }
        assert_eq!(parsed("-1").unwrap().channels(), [None]);
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for line in [
            "-v",
            "-A -u anna",
            "-u",
            "-u -f x anna",
            "-A -f x",
            "-A a b",
            "-j 0 -A",
            "-r -u anna",
            "-R -A",
            "-R anna",
            "-u -n a -n b anna",
            "-R -f log -n a -n b",
            "-R -d soon",
            "--no-such-option -A",
        ] {
            let failure = parsed(line).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{line}");
            assert!(!failure.text.is_empty());
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
