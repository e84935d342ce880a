//! The users or mailboxes for -u, -m and -s: from the command line or a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use actors::words::without_number;

use crate::cli::Args;
use program::exit::{Exit, Failure};

/// # Errors
/// [`Exit::Failed`] when the file can't be read, as in the C client.
pub(crate) fn named(args: &Args) -> Result<Vec<String>, Failure> {
    let Some(path) = &args.input_file else { return Ok(args.objects.clone()) };
    let failed = |e: io::Error| {
        let why = without_number(&e.to_string()).to_string();
        Failure::new(Exit::Failed, format!("Unable to open {}: {why}", path.display()))
    };
    if path == Path::new("-") {
        return listed(io::stdin().lock(), !args.mailboxes).map_err(failed);
    }
    listed(BufReader::new(File::open(path).map_err(failed)?), !args.mailboxes).map_err(failed)
}

/// One name per line, of any length; empty lines and comments are skipped. Blanks around a user's name are removed; a
/// mailbox's name may end in one.
fn listed(lines: impl BufRead, users: bool) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for line in lines.lines() {
        let line = line?;
        let name = if users { line.trim() } else { line.trim_end_matches('\r') };
        if !name.trim().is_empty() && !name.starts_with('#') {
            names.push(name.to_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_may_end_in_a_blank() {
        assert_eq!(listed("user/anna/x \r\n  \n#\n".as_bytes(), false).unwrap(), ["user/anna/x "]);
    }

    #[test]
    fn comments_empty_lines_and_blanks_are_no_names() {
        let long = "x".repeat(2000);
        let text = format!("# these\nanna\r\n\n \t\n  bert@example.com \n{long}");
        assert_eq!(listed(text.as_bytes(), true).unwrap(), ["anna", "bert@example.com", &long]);
    }
}
