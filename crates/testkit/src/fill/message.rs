//! Composes messages.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The last second of the internal dates: 2025-12-31.
const NEWEST: i64 = 1_767_139_200;

/// The span of the internal dates: 700 days, in seconds.
const SPAN: i64 = 700 * 86_400;

const WORDS: [&str; 16] = [
    "the",
    "meeting",
    "about",
    "invoice",
    "tomorrow",
    "please",
    "attached",
    "river",
    "gr\u{fc}\u{df}e",
    "budget",
    "we",
    "should",
    "answer",
    "holiday",
    "draft",
    "again",
];

/// Composes messages from a seed; no two of one composer are equal.
#[derive(Debug)]
pub struct Composer {
    rng: StdRng,
    seed: u64,
    count: u64,
}

impl Composer {
    /// A composer whose messages follow from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), seed, count: 0 }
    }

    /// A message whose text is about `bytes` long; now and then an answer to an earlier one, for conversations.
    #[must_use]
    pub fn message(&mut self, bytes: usize) -> Vec<u8> {
        self.count += 1;
        let number = self.count;
        let mut text = format!(
            "From: writer{} <w{}@example.org>\r\nTo: you <you@example.org>\r\nSubject: message {number}\r\nDate: {}\r\n\
             Message-ID: <{}.{number}@testkit.example>\r\n",
            number % 7,
            number % 7,
            "Thu, 01 Feb 2024 10:00:00 +0000",
            self.seed,
        );
        if number > 1 && self.rng.random_ratio(1, 4) {
            let other = self.rng.random_range(1..number);
            text.push_str(&format!("In-Reply-To: <{}.{other}@testkit.example>\r\n", self.seed));
        }
        text.push_str("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
        let mut column = 0;
        let end = text.len() + bytes;
        while text.len() < end {
            let word = WORDS.get(self.rng.random_range(0..WORDS.len())).copied().unwrap_or("x");
            text.push_str(word);
            column += word.len() + 1;
            if column > 68 {
                text.push_str("\r\n");
                column = 0;
            } else {
                text.push(' ');
            }
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// A date for `APPEND`, somewhere in the two years before 2026.
    #[must_use]
    pub fn date(&mut self) -> String {
        append_date(NEWEST - self.rng.random_range(0..SPAN))
    }
}

/// Writes seconds since 1970 as `"01-Feb-2024 10:00:00 +0000"`.
fn append_date(seconds: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (mut days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let mut year = 1970;
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while days >= if leap(year) { 366 } else { 365 } {
        days -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let mut month = "Jan";
    for (nr, name) in MONTHS.iter().enumerate() {
        let length = match nr {
            1 => 28 + i64::from(leap(year)),
            3 | 5 | 8 | 10 => 30,
            _ => 31,
        };
        month = name;
        if days < length {
            break;
        }
        days -= length;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{:02}-{month}-{year} {hour:02}:{minute:02}:{second:02} +0000", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(append_date(0), "01-Jan-1970 00:00:00 +0000");
        assert_eq!(append_date(1_709_164_800), "29-Feb-2024 00:00:00 +0000");
        assert_eq!(append_date(NEWEST - 1), "30-Dec-2025 23:59:59 +0000");
        assert_eq!(append_date(NEWEST + 86_399), "31-Dec-2025 23:59:59 +0000");
    }

    #[test]
    fn the_seed_decides() {
        let (mut one, mut same, mut other) = (Composer::new(1), Composer::new(1), Composer::new(2));
        for _ in 0..5 {
            let message = one.message(500);
            assert_eq!(message, same.message(500));
            assert_ne!(message, other.message(500));
            assert!(message.len() > 500 && message.len() < 1100);
        }
    }
}
