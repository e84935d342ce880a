//! The project's own commands, run as `cargo xtask COMMAND`; each has its module, with a table of them here.
#![forbid(unsafe_code)]

mod bench;
mod bench_backlog;
mod bench_clients;
mod bench_lag;
mod bench_lag_client;
mod bench_lag_load;
mod bench_log;
mod bench_readme;
mod bench_report;
mod bench_results;
mod bench_rolling;
mod bench_runs;
mod bench_sink;
mod bench_works;
mod bench_xargs;
mod chart;
mod demo;
mod demo_cyrus;
mod demo_steps;
mod program;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [ARGS]   install Cyrus where it is missing, then run every test of the workspace;
                ARGS go to cargo nextest (or to cargo test where nextest is not installed)
  demo          write a master's store of 200 users, replicate it into an embedded replica, change it,
                replicate again and compare; needs no Cyrus
  demo --cyrus  replicate 20 users from a real Cyrus master to a real replica, and compare
  bench         measure against Cyrus' own client, and write docs/benchmarks.md
  help          this text
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = args.collect();
    let outcome = match command.as_str() {
        "test" => test::run(&rest),
        "demo" => demo::run(&rest),
        "bench" => bench::run(&rest),
        // For `bench --backlog`, which measures it as a process of its own.
        "merge" => bench_backlog::merge(&rest),
        "help" | "-h" | "--help" => {
            say(HELP.trim_end());
            Ok(0)
        }
        other => {
            complain(&format!("there is no command {other:?}\n\n{HELP}"));
            Ok(64)
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(err) => {
            complain(&format!("error: {err:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line for the person who runs the command.
#[expect(clippy::print_stdout, reason = "this is a command for people")]
fn say(text: &str) {
    println!("{text}");
}

/// Prints a line of trouble.
#[expect(clippy::print_stderr, reason = "this is a command for people")]
fn complain(text: &str) {
    eprintln!("{text}");
}
