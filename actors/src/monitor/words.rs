//! Counts, bytes and times in words for people.

use std::time::Duration;

/// `1 user`, `2 users`, `0 users`: a count with its noun, which takes an "s" unless the count is 1.
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// Bytes in decimal units with one decimal: `999 bytes`, `34.5 kB`, `67.9 MB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if n < 1000 {
        return count(n, "byte");
    }
    let mut value = n as f64;
    let mut unit = UNITS[0];
    for next in UNITS {
        // 999,950 bytes would be shown as 1000.0 kB.
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Bytes a second, such as `0.6 MB/s`.
pub fn rate(bytes: u64, took: Duration) -> String {
    let megabytes = bytes as f64 / 1e6 / took.as_secs_f64().max(0.001);
    format!("{megabytes:.1} MB/s")
}

/// A time: whole seconds from ten seconds on (`1m 50s`), milliseconds below (`1s 234ms`).
pub fn duration(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let shown = if millis < 10_000 { millis } else { millis / 1000 * 1000 };
    humantime::format_duration(Duration::from_millis(shown)).to_string()
}

/// The system's text for an error without the number that Rust adds (` (os error 111)`).
pub fn without_number(problem: &str) -> &str {
    problem.split(" (os error ").next().unwrap_or(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_all_else_plural() {
        assert_eq!(count(1, "user"), "1 user");
        assert_eq!((count(0, "user"), count(2, "user")), ("0 users".into(), "2 users".into()));
    }

    #[test]
    fn bytes_have_a_unit_that_fits() {
        let shown = [0, 1, 999, 1000, 34_520, 999_949, 999_950, 67_900_000, 5_000_000_000_000];
        let shown: Vec<String> = shown.into_iter().map(bytes).collect();
        let wanted = [
            "0 bytes",
            "1 byte",
            "999 bytes",
            "1.0 kB",
            "34.5 kB",
            "999.9 kB",
            "1.0 MB",
            "67.9 MB",
            "5.0 TB",
        ];
        assert_eq!(shown, wanted);
        assert_eq!(rate(67_900_000, Duration::from_secs(110)), "0.6 MB/s");
    }

    #[test]
    fn times_are_as_exact_as_they_are_short() {
        let shown = |millis| duration(Duration::from_millis(millis));
        assert_eq!((shown(0), shown(1234)), ("0s".into(), "1s 234ms".into()));
        assert_eq!((shown(10_999), shown(110_500)), ("10s".into(), "1m 50s".into()));
    }

    #[test]
    fn the_number_of_an_error_is_left_out() {
        assert_eq!(without_number("Connection refused (os error 111)"), "Connection refused");
        assert_eq!(without_number("no answer in 10 seconds"), "no answer in 10 seconds");
    }
}
