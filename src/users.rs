//! The users that -u names: on the command line or in a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::cli::Args;
use crate::exit::{Exit, Failure};

/// # Errors
/// [`Exit::Failed`] when the file can't be read, as in the C client.
pub(crate) fn named(args: &Args) -> Result<Vec<String>, Failure> {
    let Some(path) = &args.input_file else { return Ok(args.objects.clone()) };
    let failed = |e: io::Error| {
        Failure::new(Exit::Failed, format!("Unable to open {}: {e}", path.display()))
    };
    if path == Path::new("-") {
        return listed(io::stdin().lock()).map_err(failed);
    }
    listed(BufReader::new(File::open(path).map_err(failed)?)).map_err(failed)
}

/// One user a line, of any length; empty lines and comments are skipped.
fn listed(lines: impl BufRead) -> io::Result<Vec<String>> {
    let mut users = Vec::new();
    for line in lines.lines() {
        let line = line?;
        let user = line.trim_end_matches('\r');
        if !user.is_empty() && !user.starts_with('#') {
            users.push(user.to_string());
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_empty_lines_and_carriage_returns_are_no_users() {
        let long = "x".repeat(2000);
        let text = format!("# these\nanna\r\n\nbert@example.com\n{long}");
        assert_eq!(listed(text.as_bytes()).unwrap(), ["anna", "bert@example.com", &long]);
    }
}
