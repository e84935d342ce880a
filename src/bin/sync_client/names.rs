//! The users or mailboxes for -u, -m and -s: from the command line or a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use actors::is_left_to_do;
use actors::words::{count, without_number};

use crate::cli::Args;
use program::exit::{Exit, Failure};
use program::tell;

/// # Errors
/// [`Exit::Failed`] when the file can't be read, as in the C client.
pub(crate) fn named(args: &Args) -> Result<Vec<String>, Failure> {
    let Some(path) = &args.input_file else { return Ok(args.objects.clone()) };
    let failed = |e: io::Error| {
        let why = without_number(&e.to_string()).to_string();
        Failure::new(Exit::Failed, format!("Unable to open {}: {why}", path.display()))
    };
    let (names, left_to_do) = if path == Path::new("-") {
        listed(io::stdin().lock(), !args.mailboxes).map_err(failed)?
    } else {
        listed(BufReader::new(File::open(path).map_err(failed)?), !args.mailboxes)
            .map_err(failed)?
    };
    if left_to_do > 0 && !names.is_empty() {
        // Otherwise a run that ends well would seem to have done all of a list of --failed-users.
        tell(&format!(
            "{} has {} about what -f can't repeat, and that is not done: see there",
            path.display(),
            count(left_to_do, "comment")
        ));
    }
    Ok(names)
}

/// One name per line, of any length; empty lines and comments are skipped. Blanks around a user's name are removed; a
/// mailbox's name may end in one. Also counts the comments in which `--failed-users` told of something to do.
fn listed(lines: impl BufRead, users: bool) -> io::Result<(Vec<String>, u64)> {
    let mut names = Vec::new();
    let mut left_to_do = 0;
    for line in lines.lines() {
        let line = line?;
        let name = if users { line.trim() } else { line.trim_end_matches('\r') };
        if !name.trim().is_empty() && !name.starts_with('#') {
            names.push(name.to_string());
        }
        left_to_do += u64::from(is_left_to_do(&line));
    }
    Ok((names, left_to_do))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_may_end_in_a_blank() {
        let (names, _) = listed("user/anna/x \r\n  \n#\n".as_bytes(), false).unwrap();
        assert_eq!(names, ["user/anna/x "]);
    }

    #[test]
    fn comments_empty_lines_and_blanks_are_no_names() {
        let long = "x".repeat(2000);
        let text = format!("# these\nanna\r\n\n \t\n  bert@example.com \n{long}");
        let (names, left_to_do) = listed(text.as_bytes(), true).unwrap();
        assert_eq!(
            (names.as_slice(), left_to_do),
            (&["anna", "bert@example.com", &long].map(str::to_string)[..], 0)
        );
    }
}
