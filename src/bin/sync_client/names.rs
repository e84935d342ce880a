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
        return listed(io::stdin().lock()).map_err(failed);
    }
    listed(BufReader::new(File::open(path).map_err(failed)?)).map_err(failed)
}

/// One name per line, of any length; blanks around a name are removed, and empty lines and comments are skipped.
fn listed(lines: impl BufRead) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for line in lines.lines() {
        let line = line?;
        let name = line.trim();
        if !name.is_empty() && !name.starts_with('#') {
            names.push(name.to_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_empty_lines_and_blanks_are_no_names() {
        let long = "x".repeat(2000);
        let text = format!("# these\nanna\r\n\n \t\n  bert@example.com \n{long}");
        assert_eq!(listed(text.as_bytes()).unwrap(), ["anna", "bert@example.com", &long]);
    }
}
