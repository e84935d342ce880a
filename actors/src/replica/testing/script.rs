//! What a peer of a test expects and answers, as text.
//!
//! ```text
//!   C: GET QUOTA user.anna     this command comes, and nothing else of it
//!   C: APPLY MESSAGE …         a command comes that begins so
//!   S: OK success              this line is the answer
//!   S- * QUOTA %(ROOT          the same without the line's end
//!   -- 90s                     time passes
//!   quiet 90s                  nothing comes for so long
//!   deflate                    both directions are deflated from here on
//!   farewell                   EXIT comes, and then the other side's end
//!   end                        nothing more comes: the other side ends without a word
//!   close                      the peer closes
//! ```
//! At the end of its script a peer says nothing, but reads on until the other side ends.

use std::time::Duration;

/// One line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// These bytes arrive, including CRLF; more of the command may follow if `open`.
    Expect { text: Vec<u8>, open: bool },
    /// These bytes are sent.
    Say(Vec<u8>),
    /// Time passes.
    Pause(Duration),
    /// Nothing arrives for this long.
    Quiet(Duration),
    /// Both directions are deflated from here on.
    Deflate,
    /// The other side ends.
    End,
    /// The peer closes.
    Close,
}

/// The steps of a script, each with its line's number.
pub(super) fn steps(script: &str) -> Vec<(usize, Step)> {
    let mut steps = Vec::new();
    for (number, line) in (1..).zip(script.lines()) {
        let line = line.trim_start();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let time = || humantime::parse_duration(rest).expect("a time, such as 90s");
        let step = match word {
            "" => continue,
            "C:" => expect(rest),
            "S:" => Step::Say(format!("{rest}\r\n").into()),
            "S-" => Step::Say(rest.into()),
            "--" => Step::Pause(time()),
            "quiet" => Step::Quiet(time()),
            "deflate" => Step::Deflate,
            "farewell" => {
                steps.push((number, expect("EXIT")));
                Step::End
            }
            "end" => Step::End,
            "close" => Step::Close,
            _ => panic!("line {number} of the script makes no sense: {line}"),
        };
        steps.push((number, step));
    }
    steps
}

fn expect(text: &str) -> Step {
    match text.strip_suffix('…') {
        Some(beginning) => Step::Expect { text: beginning.into(), open: true },
        None => Step::Expect { text: format!("{text}\r\n").into(), open: false },
    }
}
