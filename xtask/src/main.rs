//! The entry point of the project's own commands, `cargo xtask COMMAND`. It is compiled in a second, checks whether the
//! machine has what the command needs, announces what will happen, and makes cargo build everything at once.
//!
//! ```text
//!   needs   what a command asks of the machine      build   how long the first build takes, and room for it
//!   test    every test, by one cargo                tasks   demo and bench: one build, then ../tasks takes over
//! ```
#![forbid(unsafe_code)]

mod build;
mod needs;
mod tasks;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [ARGS]   install Cyrus where it is missing, then run every test of the workspace; wants root.
                ARGS go to cargo nextest (or to cargo test where nextest is not installed)
  demo          write a master's store of 200 users, replicate it into an embedded replica, change it,
                replicate again and compare; wants neither root nor Cyrus
  demo --cyrus  replicate 20 users from a real Cyrus master to a real replica, and compare; wants root
  bench         measure against Cyrus' own client, and write docs/benchmarks.md (bench --help)
  help          this text
";

/// A command that can't be carried out: the message, and the exit code.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    code: u8,
    words: String,
}

impl Refusal {
    /// The machine lacks something.
    fn lacking(words: impl Into<String>) -> Refusal {
        Refusal { code: 1, words: words.into() }
    }

    /// The command line is wrong.
    fn usage(words: impl Into<String>) -> Refusal {
        Refusal { code: 64, words: words.into() }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = args.split_first().map_or(("help", &[][..]), |(c, r)| (c.as_str(), r));
    let outcome = match command {
        "test" => test::run(rest),
        "demo" | "bench" => tasks::run(command, rest),
        "help" | "-h" | "--help" => {
            say(HELP.trim_end());
            Ok(0)
        }
        other => Err(Refusal::usage(format!("there is no command {other:?}\n\n{HELP}"))),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(refusal) => {
            complain(&format!("error: {}", refusal.words.trim_end()));
            ExitCode::from(refusal.code)
        }
    }
}

/// Prints a line for the person who runs the command.
#[expect(clippy::print_stdout, reason = "this is a command for people")]
fn say(text: &str) {
    println!("{text}");
}

/// Prints an error line.
#[expect(clippy::print_stderr, reason = "this is a command for people")]
fn complain(text: &str) {
    eprintln!("{text}");
}
