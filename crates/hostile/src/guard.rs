//! Limits on the time and memory of a decoder.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};

use crate::Check;

/// No input is larger than a few hundred kilobytes; a busy machine may take a while even so.
const DEADLINE: Duration = Duration::from_secs(20);
/// All memory of the process, including tests that run beside this one: a thousand times the largest input.
const MEMORY_BYTES: u64 = 1 << 30;

/// Runs a check on an input, with a limit on time and on memory. A decoder that asks for more memory ends the process: Rust
/// reports the number of bytes.
///
/// # Errors
/// The message of a panic in the check, or that it did not end.
pub(crate) fn within(check: &Check, input: &[u8]) -> Result<(), String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let set = setrlimit(Resource::RLIMIT_DATA, MEMORY_BYTES, MEMORY_BYTES);
        assert!(set.is_ok(), "no limit on memory: {set:?}");
    });
    let (done, wait) = channel();
    let (check, input) = (check.clone(), input.to_vec());
    // Not joined: a check that never ends must not block the test.
    thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| check(&input)));
        let _ = done.send(result.map_err(|panic| format!("panicked: {}", words(&*panic))));
    });
    match wait.recv_timeout(DEADLINE) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(format!("took longer than {DEADLINE:?}")),
        Err(RecvTimeoutError::Disconnected) => Err("ended without a word".to_owned()),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_panic_is_told_and_what_is_well_passes() {
        let check: Check = Arc::new(|input| assert!(input.len() < 3, "{} bytes", input.len()));
        assert_eq!(within(&check, b"ab"), Ok(()));
        assert_eq!(within(&check, b"abc"), Err("panicked: 3 bytes".to_owned()));
    }
}
