//! The command line: the options of sync_client(8), short and long, and ours.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, CommandFactory, Parser, error::ErrorKind};

use program::exit::{Exit, Failure};

/// Replicates users of a Cyrus IMAP master to a replica, many at once
#[derive(Debug, Parser)]
#[command(name = "sync_client", version, max_term_width = 100, args_override_self = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
#[command(
    override_usage = "sync_client [OPTIONS] -u USER...\n       sync_client [OPTIONS] -m MAILBOX...\n       sync_client [OPTIONS] -s USER...\n       sync_client [OPTIONS] -u | -m | -s -f FILE\n       sync_client [OPTIONS] -A [PREFIX]\n       sync_client [OPTIONS] -r | -R | -1 [-n CHANNEL]...\n       sync_client [OPTIONS] -R -f FILE"
)]
#[command(after_help = "--help shows more, with examples, exit codes and files.")]
#[command(after_long_help = MORE_HELP)]
pub(crate) struct Args {
    /// Replicate all users and the shared mailboxes, or those that PREFIX names
    ///
    /// PREFIX is the beginning of internal mailbox names (user.an for all users whose names begin with "an"). If no user's
    /// internal name begins with it, it is used as the beginning of user names.
    #[arg(short = 'A', long, help_heading = WHAT)]
    pub(crate) all_users: bool,

    /// Replicate the named users
    #[arg(short = 'u', long, help_heading = WHAT)]
    pub(crate) userids: bool,

    /// Replicate the named mailboxes, without those below them
    ///
    /// A name is what cyradm shows (user/anna/Sent, with domains user/anna/Sent@example.com; user.anna.Sent if imapd.conf says
    /// unixhierarchysep: no), or the internal name that logs and messages show (user.anna.Sent, example.com!user.anna.Sent).
    /// A name that could be both is the one that exists. A mailbox that was renamed here is renamed there; one that was deleted
    /// here is deleted there. Quota is not replicated.
    #[arg(short = 'm', long, help_heading = WHAT)]
    pub(crate) mailboxes: bool,

    /// Replicate only Sieve scripts, subscriptions and seen state of the named users
    #[arg(short = 's', long, help_heading = WHAT)]
    pub(crate) sieve_mode: bool,

    /// Take the users (-u, -s) or mailboxes (-m), or with -r and -R the log, from this file
    ///
    /// One name per line ("-": standard input); empty lines and those that begin with # are skipped. With -r and -R the
    /// file is a log that is replicated once and not changed.
    #[arg(short = 'f', long, value_name = "FILE", help_heading = WHAT)]
    pub(crate) input_file: Option<PathBuf>,

    /// Users (-u, -s), mailboxes (-m), or the prefix (-A)
    #[arg(value_name = "OBJECT", help_heading = WHAT)]
    pub(crate) objects: Vec<String>,

    /// The replica: host, host:port or a Unix socket's path [default: sync_host in imapd.conf]
    #[arg(short = 'S', long, value_name = "SERVER", help_heading = REPLICA)]
    pub(crate) server: Option<String>,

    /// The partition on the replica for all mailboxes [default: the master's]
    #[arg(short = 'p', long, value_name = "PARTITION", help_heading = REPLICA)]
    pub(crate) dest_partition: Option<String>,

    /// Try to connect only once, instead of waiting for the replica
    #[arg(short = 'o', long, help_heading = REPLICA)]
    pub(crate) connect_once: bool,

    /// Fail if the replica offers no compression
    #[arg(short = 'z', long, help_heading = REPLICA)]
    pub(crate) require_compression: bool,

    /// Let the replica stage messages on its archive partition, if it has one
    ///
    /// For a new replica of a server whose mail is mostly old. Cyrus before 3.8, and one without archive_enabled, stages
    /// messages at the usual place.
    #[arg(short = 'a', long, help_heading = REPLICA)]
    pub(crate) stage_to_archive: bool,

    /// Change mailboxes on the replica without telling mupdate there
    #[arg(short = 'L', long, help_heading = REPLICA)]
    pub(crate) local_only: bool,

    /// Replicate what the sync log names, again and again, in the background
    #[arg(short = 'r', long, help_heading = ROLLING)]
    pub(crate) rolling: bool,

    /// As -r, in the foreground
    #[arg(short = 'R', long, help_heading = ROLLING)]
    pub(crate) foreground_rolling: bool,

    /// As -R, but end after one log
    #[arg(short = '1', long, help_heading = ROLLING)]
    pub(crate) rolling_once: bool,

    /// Use this channel's settings and its log; may be given several times
    ///
    /// Settings of a channel are CHANNEL_sync_host and so on. Only rolling replication takes several channels.
    #[arg(short = 'n', long, value_name = "CHANNEL", help_heading = ROLLING)]
    pub(crate) channel: Vec<String>,

    /// Seconds from one reading of the log to the next; 0: no delay [default: sync_repeat_interval]
    #[arg(short = 'd', long, value_name = "SECONDS", help_heading = ROLLING)]
    pub(crate) delay: Option<u64>,

    /// Send the replica a RESTART after this many seconds; 0: never
    #[arg(
        short = 't',
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        help_heading = ROLLING
    )]
    pub(crate) timeout: u64,

    /// End when this file exists, and remove it [default: sync_shutdown_file]
    #[arg(short = 'F', long, value_name = "FILE", help_heading = ROLLING)]
    pub(crate) shutdown_file: Option<PathBuf>,

    /// Users in flight at once [default: sync_jobs in imapd.conf, else 4]
    #[arg(
        short = 'j',
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=1024),
        help_heading = BEHAVIOUR
    )]
    pub(crate) jobs: Option<u16>,

    /// Never copy anything back from the replica
    ///
    /// Messages that were certainly removed here are removed there. A mailbox with anything else that only the replica has
    /// is left as it is and named, unless --overwrite is given.
    #[arg(short = 'O', long, help_heading = BEHAVIOUR)]
    pub(crate) no_copyback: bool,

    /// With -O: remove what only the replica has, if it is in the way of ours
    ///
    /// Messages that only the replica has are removed there; if that is not enough, the mailbox is made again from ours. At
    /// most 100 such messages of a user, unless --max-deletes sets another limit.
    #[arg(long, requires = "no_copyback", help_heading = BEHAVIOUR)]
    pub(crate) overwrite: bool,

    /// Skip a user that would lose more than N mailboxes and messages on the replica
    #[arg(long, value_name = "N", help_heading = BEHAVIOUR)]
    pub(crate) max_deletes: Option<u64>,

    /// Skip users whose sync lock somebody else holds, instead of waiting for it
    #[arg(short = 'N', long, help_heading = BEHAVIOUR)]
    pub(crate) skip_locked: bool,

    /// Wait this many seconds before starting
    #[arg(
        short = 'w',
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = BEHAVIOUR
    )]
    pub(crate) delayed_startup: u64,

    /// Read this file instead of /etc/imapd.conf
    #[arg(
        short = 'C',
        long,
        value_name = "FILE",
        default_value = "/etc/imapd.conf",
        hide_default_value = true,
        help_heading = BEHAVIOUR
    )]
    pub(crate) config: PathBuf,

    /// Report on stdout what is done; twice: show all protocol traffic on stderr
    #[arg(short = 'v', long, action = ArgAction::Count, help_heading = OUTPUT)]
    pub(crate) verbose: u8,

    /// Report in syslog what is done
    #[arg(short = 'l', long, help_heading = OUTPUT)]
    pub(crate) verbose_logging: bool,

    /// How to show the progress
    ///
    /// auto: a bar if stderr is a terminal, else a line each half minute; with -v -v always lines. bar: a bar on a terminal
    /// in any case. plain: lines. none: nothing. With NO_COLOR set the bar has no colours. Rolling replication shows no
    /// progress: SIGUSR1, systemd and --metrics-listen do.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = ProgressOption::Auto, help_heading = OUTPUT)]
    pub(crate) progress: ProgressOption,

    /// Only say what went wrong, and the summary
    #[arg(long, conflicts_with_all = ["verbose", "progress"], help_heading = OUTPUT)]
    pub(crate) quiet: bool,

    /// Write a report of all users to this file, in JSON, when the run ends
    ///
    /// docs/report.md describes it. An older file stays until the new one is complete.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["rolling", "foreground_rolling", "rolling_once"],
        help_heading = OUTPUT
    )]
    pub(crate) report: Option<PathBuf>,

    /// Write the users that are not on the replica to this file, one per line, for -u -f
    ///
    /// It is empty if everything you asked for is on the replica.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["rolling", "foreground_rolling", "rolling_once"],
        help_heading = OUTPUT
    )]
    pub(crate) failed_users: Option<PathBuf>,

    /// Offer metrics for Prometheus at this address, over HTTP
    ///
    /// HOST:PORT, or a PORT of 127.0.0.1. docs/monitoring.md describes them. There are /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDRESS", help_heading = OUTPUT)]
    pub(crate) metrics_listen: Option<String>,

    /// Show this help; -h shows a short one
    #[arg(short = 'h', long, action = ArgAction::Help, help_heading = OUTPUT)]
    help: Option<bool>,

    /// Show the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = OUTPUT)]
    version: Option<bool>,
}

const WHAT: &str = "What to replicate";
const REPLICA: &str = "The replica";
const ROLLING: &str = "Rolling replication";
const BEHAVIOUR: &str = "Behaviour";
const OUTPUT: &str = "Output";

/// The text below the options in `--help`.
const MORE_HELP: &str = "\
Examples:
  sync_client -u anna bert                        two users
  sync_client -m user/anna user/anna/Sent         two mailboxes
  sync_client -A -O -j 16 -S new.example.com      a bulk migration that never changes this server
  sync_client -r -j 8                             keep the replica up to date, in the background

Exit codes:
   0  everything you asked for is on the replica
   1  a user failed, is locked (-N) or does not exist, or a mailbox does not;
      nothing was selected; another replicator works on the log; there was no
      connection (-o); a file that was asked for (--report, --failed-users)
      can't be written
  64  the command line is wrong
  75  interrupted before everything was done
  78  configuration, login or partition is wrong; the port for metrics is in use

Files:
  /etc/imapd.conf                      sync_host, sync_authname, sync_password, sync_jobs …
  CONFIGDIRECTORY/sync/log             changes since the last rolling run (sync_log: yes)
  CONFIGDIRECTORY/sync/log-run         changes that a rolling run has taken over and not finished
  CONFIGDIRECTORY/sync/skipuser-USER   while it exists, USER is skipped

SIGUSR1 shows the status on stderr and in syslog. SIGTERM and SIGINT
finish the users in flight and end the program; a second one ends it at once.";

/// How the progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProgressOption {
    Auto,
    Bar,
    Plain,
    None,
}

/// What to replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// -u
    Users,
    /// -m
    Mailboxes,
    /// -s
    Meta,
    /// -A
    AllUsers,
    /// -r, -R, -1
    Rolling,
}

impl Args {
    /// # Errors
    /// None or several of -u, -m, -s, -A and -r (-R, -1), or invalid objects.
    pub(crate) fn mode(&self) -> Result<Mode, Failure> {
        let usage = |text: &str| Failure::new(Exit::Usage, format!("{text}\n\n{}", usage_text()));
        let rolling = self.rolling || self.foreground_rolling || self.rolling_once;
        let modes = [
            (self.userids, Mode::Users),
            (self.mailboxes, Mode::Mailboxes),
            (self.sieve_mode, Mode::Meta),
            (self.all_users, Mode::AllUsers),
            (rolling, Mode::Rolling),
        ];
        let mut given = modes.into_iter().filter(|(is_given, _)| *is_given).map(|(_, mode)| mode);
        let mode = given.next().ok_or_else(|| usage("No replication mode specified"))?;
        if given.next().is_some() {
            return Err(usage("Mutually exclusive options defined"));
        }
        if mode != Mode::Rolling && self.channel.len() > 1 {
            return Err(usage("several channels (-n) go with rolling replication only"));
        }
        let checked = match mode {
            Mode::Rolling => self.check_rolling().map_err(str::to_string),
            Mode::AllUsers => self.check_all_users().map_err(str::to_string),
            Mode::Users => self.check_list("-u", "user"),
            Mode::Mailboxes => self.check_list("-m", "mailbox"),
            Mode::Meta => self.check_list("-s", "user"),
        };
        checked.map(|()| mode).map_err(|text| usage(&text))
    }

    fn check_list(&self, option: &str, one: &str) -> Result<(), String> {
        let many = if one == "mailbox" { "mailboxes" } else { "users" };
        match (&self.input_file, self.objects.is_empty()) {
            (None, true) => Err(format!("{option} needs {many}, or a file of {many} (-f)")),
            (Some(_), false) => Err(format!(
                "{option} takes {many} from the command line or from a file, not from both"
            )),
            _ if self.objects.iter().any(|name| name.trim().is_empty()) => {
                Err(format!("a {one}'s name is empty"))
            }
            _ => Ok(()),
        }
    }

    fn check_all_users(&self) -> Result<(), &'static str> {
        if self.input_file.is_some() {
            return Err("-f goes with -u, -m, -s, -r and -R");
        }
        if self.objects.len() > 1 {
            return Err("-A takes one prefix at most");
        }
        Ok(())
    }

    fn check_rolling(&self) -> Result<(), &'static str> {
        if !self.objects.is_empty() {
            return Err("rolling replication takes no users: the log names them");
        }
        if self.progress == ProgressOption::Bar {
            return Err("rolling replication has no end that a bar (--progress) could show");
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

/// Parses the command line; help and version are printed at once.
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
        _ => {
            let text = e.to_string();
            Failure::new(Exit::Usage, text.strip_prefix("error: ").unwrap_or(&text).trim_end())
        }
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
    fn mailboxes_and_users_are_named_or_listed() {
        for (short, long, mode) in [
            ("-m user/anna", "--mailboxes user/anna", Mode::Mailboxes),
            ("-m -f x", "--mailboxes --input-file x", Mode::Mailboxes),
            ("-s anna bert", "--sieve-mode anna bert", Mode::Meta),
            ("-s -f -", "--sieve-mode --input-file -", Mode::Meta),
        ] {
            let (short, long) = (parsed(short).unwrap(), parsed(long).unwrap());
            assert_eq!(format!("{short:?}"), format!("{long:?}"));
            assert_eq!(short.mode().unwrap(), mode);
        }
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
            "-m",
            "-s",
            "-m -u user.anna",
            "-s -f x anna",
            "-m -n a -n b user.anna",
            "--no-such-option -A",
            "--quiet -v -A",
            "--quiet --progress plain -A",
            "--progress wheel -A",
            "-R --progress bar",
            "-r --report x",
            "-1 --failed-users x",
        ] {
            let failure = parsed(line).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{line}");
            assert!(!failure.text.is_empty());
        }
    }

    #[test]
    fn an_empty_name_is_no_user() {
        for name in ["", " "] {
            let args = ["sync_client", "-u", "anna", name].map(OsString::from);
            assert_eq!(parse(args).unwrap_err().exit, Exit::Usage, "{name:?}");
        }
    }

    #[test]
    fn the_last_of_a_repeated_option_counts() {
        let twice = parsed("-l -l -S one -S two -j 1 -j 2 -A").unwrap();
        assert_eq!((twice.server.as_deref(), twice.jobs), (Some("two"), Some(2)));
        assert_eq!(parsed("--config /tmp/i.conf -A").unwrap().config, PathBuf::from("/tmp/i.conf"));
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }
}
