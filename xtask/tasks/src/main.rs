//! What `cargo xtask demo` and `bench` do: the entry point beside us (../src) has built this and sync_client for release.
#![forbid(unsafe_code)]

mod bench;
mod chart;
mod demo;
mod demo_cyrus;
mod demo_steps;
mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match command.as_str() {
        "demo" => demo::run(&rest),
        "bench" => bench::run(&rest),
        // For `bench --backlog`, which measures it as a process of its own.
        "merge" => bench::backlog::merge(&rest),
        other => {
            complain(&format!("there is no command {other:?}: see cargo xtask help"));
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

/// Prints an error line.
#[expect(clippy::print_stderr, reason = "this is a command for people")]
fn complain(text: &str) {
    eprintln!("{text}");
}
