//! What a run writes, and where, from the command line: lines, a bar, files.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use actors::{Reporting, RunReport, ShownProgress, SinkError, Verbosity};

use crate::cli::{Args, ProgressOption};
use crate::verdict;
use program::exit::{Exit, Failure};

/// Everything that a run over a list writes. Files are only checked yet.
///
/// # Errors
/// [`Exit::Failed`] when a file can't be written.
pub(crate) fn of(args: &Args) -> Result<Reporting, Failure> {
    let exit_code = |report: &RunReport| verdict(report) as u8;
    let mut reporting = Reporting::new(verbosity(args), progress(args), exit_code);
    let failed = |e: SinkError| Failure::new(Exit::Failed, e.to_string());
    let place = |path: &Option<PathBuf>| path.as_deref().map(place);
    if args.report.is_some() && place(&args.report) == place(&args.failed_users) {
        let text = "--report and --failed-users need a file each";
        return Err(Failure::new(Exit::Usage, text));
    }
    if let Some(path) = &args.report {
        reporting.report_to(path).map_err(failed)?;
    }
    if let Some(path) = &args.failed_users {
        reporting.failed_users_to(path).map_err(failed)?;
    }
    Ok(reporting)
}

/// A path, whatever way it is spelt.
fn place(path: &Path) -> PathBuf {
    if let Ok(there) = path.canonicalize() {
        return there;
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).canonicalize();
    match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_path_buf(),
    }
}

/// Which lines are written.
pub(crate) fn verbosity(args: &Args) -> Verbosity {
    Verbosity {
        actions_on_stdout: args.verbose > 0,
        actions_in_syslog: args.verbose_logging,
        quiet: args.quiet,
    }
}

fn progress(args: &Args) -> ShownProgress {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    // A dumb terminal can't move its cursor.
    let can_draw =
        std::io::stderr().is_terminal() && set("TERM").is_some_and(|term| term != "dumb");
    let bar = ShownProgress::Bar { colours: set("NO_COLOR").is_none() };
    match args.progress {
        _ if args.quiet => ShownProgress::None,
        ProgressOption::None => ShownProgress::None,
        // Traffic fills the screen by itself.
        ProgressOption::Auto if can_draw && args.verbose < 2 => bar,
        ProgressOption::Bar if can_draw => bar,
        _ => ShownProgress::Lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_however_it_is_spelt() {
        let same = |one: &str, other: &str| place(Path::new(one)) == place(Path::new(other));
        assert!(same("new", "./new") && same("src/../new", "new"));
        assert!(same("Cargo.toml", "./Cargo.toml"));
        assert!(!same("new", "newer") && !same("src/new", "new"));
    }
}
