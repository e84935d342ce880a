//! A sync log as a busy site writes it: many users at once, most lines about few mailboxes.
//!
//! A user has 10 to 500 mailboxes that the log names, and lines in proportion; four of ten are about INBOX. Of a hundred
//! events, this many are (in lines the shares differ a little):
//!
//! ```text
//! 50 deliveries       APPEND m, MAILBOX m          25 reading       SEEN u m, MAILBOX m
//!  8 flags            MAILBOX m                     5 moves         DOUBLEMAILBOX a b, MAILBOX of both
//!  5 quota            QUOTA root                    3 META u        2 SUB and UNSUB u m
//!  1 RENAME a b       1 UNMAILBOX m
//! rarely: USER u, UNUSER u, a move and (ten in all) a RENAME from user to user
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Writes this many lines about these users; the first two mailboxes of each, which exist in the store, are always named.
pub(crate) fn write(path: &Path, lines: usize, users: usize) -> io::Result<()> {
    let mut log = Log {
        out: BufWriter::new(File::create(path)?),
        left: lines,
        rng: StdRng::seed_from_u64(9),
        people: Vec::new(),
    };
    let mut first = 0;
    for _ in 0..users {
        let doublings: f64 = log.rng.random_range(0.0..50_f64.log2());
        let mailboxes = (10.0 * doublings.exp2()) as usize;
        log.people.push(Person { first, mailboxes });
        first += mailboxes;
    }
    for user in 0..users {
        log.line(&format!("MAILBOX {}", name(user, 0)))?;
        log.line(&format!("MAILBOX {}", name(user, 1)))?;
    }
    for nr in 0..10.min(lines / 1000) {
        let (from, to) = (log.user(), log.user());
        log.line(&format!("RENAME {} {}", name(from, 9), name(to, 9 + nr)))?;
    }
    while log.left > 0 {
        log.event()?;
    }
    log.out.flush()
}

/// As the store's model names it.
fn name(user: usize, folder: usize) -> String {
    match folder {
        0 => format!("user.user{user:05}"),
        folder => format!("user.user{user:05}.folder{folder:04}"),
    }
}

/// A user's part of all mailboxes.
struct Person {
    first: usize,
    mailboxes: usize,
}

struct Log {
    out: BufWriter<File>,
    left: usize,
    rng: StdRng,
    people: Vec<Person>,
}

impl Log {
    fn line(&mut self, line: &str) -> io::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        writeln!(self.out, "{line}")
    }

    /// A random user; one with more mailboxes more often.
    fn user(&mut self) -> usize {
        let all = self.people.last().map_or(1, |last| last.first + last.mailboxes);
        let mailbox = self.rng.random_range(0..all);
        self.people.partition_point(|person| person.first <= mailbox).saturating_sub(1)
    }

    fn mailbox(&mut self, user: usize) -> String {
        let mailboxes = self.people.get(user).map_or(1, |person| person.mailboxes);
        let folder =
            if self.rng.random_bool(0.4) { 0 } else { self.rng.random_range(0..mailboxes) };
        name(user, folder)
    }

    fn event(&mut self) -> io::Result<()> {
        let user = self.user();
        let userid = format!("user{user:05}");
        let mailbox = self.mailbox(user);
        if self.rng.random_ratio(1, 20_000) {
            return self.line(&format!("USER {userid}"));
        }
        if self.rng.random_ratio(1, 100_000) {
            return self.line(&format!("UNUSER {userid}"));
        }
        match self.rng.random_range(0..100) {
            0..50 => self.line(&format!("APPEND {mailbox}"))?,
            50..75 => self.line(&format!("SEEN {userid} {mailbox}"))?,
            75..83 => {}
            83..88 => {
                // One of 250 goes to another user.
                let to = if self.rng.random_ratio(1, 250) { self.user() } else { user };
                let target = self.mailbox(to);
                self.line(&format!("DOUBLEMAILBOX {mailbox} {target}"))?;
                self.line(&format!("MAILBOX {target}"))?;
            }
            88..93 => return self.line(&format!("QUOTA {}", name(user, 0))),
            93..96 => return self.line(&format!("META {userid}")),
            96 => return self.line(&format!("SUB {userid} {mailbox}")),
            97 => return self.line(&format!("UNSUB {userid} {mailbox}")),
            98 => {
                let target = self.mailbox(user);
                return self.line(&format!("RENAME {mailbox} {target}"));
            }
            _ => return self.line(&format!("UNMAILBOX {mailbox}")),
        }
        self.line(&format!("MAILBOX {mailbox}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_so_many_lines_of_all_kinds() {
        let path = std::env::temp_dir().join(format!("bench-log-{}", std::process::id()));
        write(&path, 50_000, 100).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.lines().count(), 50_000);
        let verbs = [
            "APPEND",
            "MAILBOX",
            "SEEN",
            "SUB",
            "UNSUB",
            "META",
            "RENAME",
            "DOUBLEMAILBOX",
            "UNMAILBOX",
            "QUOTA",
            "USER",
        ];
        for verb in verbs {
            assert!(text.lines().any(|line| line.split(' ').next() == Some(verb)), "{verb}");
        }
        let mailboxes = |user: usize| {
            let own = format!("{}.", name(user, 0));
            let names = text.lines().flat_map(|line| line.split(' ').skip(1));
            names.filter(|name| name.starts_with(&own)).collect::<std::collections::BTreeSet<_>>()
        };
        assert!((0..100).all(|user| mailboxes(user).contains(name(user, 1).as_str())));
        assert!((0..100).any(|user| mailboxes(user).len() > 300));
    }
}
