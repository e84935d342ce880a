//! A progress bar on a terminal: users done, how fast, how much longer, and the slowest users.

use std::time::{Duration, Instant};

use console::{Term, measure_text_width, style, truncate_str};

use crate::monitor::aggregate::Totals;
use crate::monitor::events::Event;
use crate::monitor::outlook::{Counts, Outlook};
use crate::monitor::plain;
use crate::monitor::progress::Progress;
use crate::monitor::screen;
use crate::monitor::sink::{Ending, Sink, SinkError};
use crate::monitor::words;

/// How long it is shown what went wrong and is tried again.
const TROUBLE: Duration = Duration::from_secs(20);
/// At most this many users are shown, those that are longest in flight.
const SHOWN: usize = 4;
/// The part of the bar for users that are done, and for those that are not.
const FULL: &str = "█";
const EMPTY: &str = "░";

/// The bar, and the lines below it: what is on it is made here, `screen.rs` draws it.
pub(crate) struct Bar {
    colours: bool,
    /// What was seen of the run's end, and the sizes of the users that have ended.
    outlook: Outlook,
    size_of_ended: f64,
    /// What went wrong last and is tried again, and when.
    trouble: Option<(Instant, String)>,
}

impl Bar {
    /// A bar on stderr, with colours or without. It is on the screen from the first tick to the end.
    pub(crate) fn new(colours: bool) -> Bar {
        Bar { colours, outlook: Outlook::default(), size_of_ended: 0.0, trouble: None }
    }
}

impl Sink for Bar {
    fn take(&mut self, event: &Event, progress: &Progress) -> Result<(), SinkError> {
        if let Event::Finished(user) = event {
            self.size_of_ended += progress.sizes().map_or(0.0, |sizes| sizes.size(&user.owner));
        }
        if let Some(trouble) = trouble(event) {
            self.trouble = Some((Instant::now(), trouble));
        }
        Ok(())
    }

    fn tick(&mut self, progress: &Progress, now: Instant) {
        let totals = progress.totals();
        let done = totals.ended.all();
        let left = totals.listed.and_then(|all| self.left(progress, now, &totals, all));
        let (_, columns) = Term::stderr().size();
        // A row that is full would go on in the next one.
        let columns = usize::from(columns).saturating_sub(1);
        let first = totals.listed.map(|all| first_line(done, all, columns, self.colours));
        let fresh = |at: Instant| now.saturating_duration_since(at) < TROUBLE;
        let trouble = self.trouble.as_ref().filter(|(at, _)| fresh(*at));
        let trouble = trouble.map(|(_, text)| truncate_str(text, columns, "…").into_owned());
        let below = below(progress, now, left, columns);
        let lines: Vec<String> = first.into_iter().chain(below).chain(trouble).collect();
        screen::draw(lines.join("\n"));
    }

    fn end(self: Box<Self>, _: &Ending<'_>) -> Result<(), SinkError> {
        screen::remove_bar();
        Ok(())
    }
}

impl Bar {
    /// About how long it still takes.
    fn left(
        &mut self,
        progress: &Progress,
        now: Instant,
        totals: &Totals,
        users: u64,
    ) -> Option<Duration> {
        let counts = Counts {
            users,
            ended: totals.ended.all(),
            sent: progress.uploads().1,
            of_ended: totals.sent.bytes,
            size_of_ended: self.size_of_ended,
        };
        self.outlook.note(now, counts);
        self.outlook.left(counts, progress.sizes()?)
    }
}

/// What went wrong and is tried again, in words.
fn trouble(event: &Event) -> Option<String> {
    let text = match event {
        Event::Retry { owner, reason, pause } => {
            let pause = pause.map_or("later".into(), |p| format!("in {}", words::duration(p)));
            format!("{} is tried again {pause}: {reason}", owner.name())
        }
        Event::ConnectionLost { number, reason } => format!("connection {number} ended: {reason}"),
        _ => return None,
    };
    Some(format!("  {}", plain::line(&text)))
}

/// The bar itself, which takes these columns: `████░░░░ 12/24 users`.
fn first_line(done: u64, all: u64, columns: usize, colours: bool) -> String {
    let words = format!(" {done}/{} ", words::count(all, "user"));
    let words = words.trim_end();
    let wide = columns.saturating_sub(measure_text_width(words));
    let part = done as f64 / all.max(1) as f64;
    let full = ((wide as f64 * part) as usize).min(wide);
    let (full, empty) = (FULL.repeat(full), EMPTY.repeat(wide - full));
    let full = style(full).cyan().force_styling(colours);
    truncate_str(&format!("{full}{empty}{words}"), columns, "").into_owned()
}

/// The lines below the bar, each shorter than the terminal is wide.
fn below(progress: &Progress, now: Instant, left: Option<Duration>, columns: usize) -> Vec<String> {
    let totals = progress.totals();
    let mut parts = Vec::new();
    if totals.ended.failed > 0 {
        parts.push(format!("{} failed", totals.ended.failed));
    }
    match (totals.listed, left) {
        (None, _) => parts.push("reading the list of users".into()),
        (Some(_), Some(left)) => parts.push(format!("about {} left", words::duration(left))),
        (Some(_), None) => {}
    }
    if let Some(rate) = progress.rate(now) {
        parts.push(rate.to_string());
    }
    let (messages, bytes) = progress.uploads();
    parts.push(format!("sent {}, {}", words::count(messages, "message"), words::bytes(bytes)));
    let mut lines = vec![parts.join("; ")];
    if totals.listed.is_some()
        && let Some(away) = progress.replica().trouble(now)
    {
        lines.push(away);
    }
    let slowest = progress.in_flight().slowest(now);
    let more = slowest.len().saturating_sub(SHOWN);
    lines.extend(slowest.into_iter().take(SHOWN));
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    // A replica's own words, too, may stand in them.
    let clean = |line: &String| truncate_str(&plain::line(line), columns, "…").into_owned();
    lines.iter().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cyrus_types::Owner;

    #[test]
    fn no_line_moves_the_cursor() {
        let (progress, now) = (Progress::default(), Instant::now());
        progress.in_flight().set(&Owner::from("anna"), "sending a\x1b[2Jb\nc");
        let lines = below(&progress, now, None, 80).join(" ");
        assert!(lines.contains("anna") && !lines.contains(['\x1b', '\n']), "{lines:?}");
    }

    #[test]
    fn the_lines_fit_and_say_what_is_slow() {
        let progress = Progress::default();
        let now = Instant::now();
        assert_eq!(
            below(&progress, now, None, 80),
            ["reading the list of users; sent 0 messages, 0 bytes"]
        );
        progress.add(&Event::Listed { users: 9 });
        progress.uploaded(12_300_000);
        for nr in 0..6 {
            let name = format!("{nr}{}", "漢".repeat(60));
            progress.in_flight().set(&Owner::from(name.as_str()), "sending a mailbox");
        }
        let lines = below(&progress, now, Some(Duration::from_secs(75)), 80);
        assert_eq!(lines[0], "about 1m 15s left; sent 1 message, 12.3 MB");
        assert_eq!((lines.len(), lines[5].as_str()), (6, "  and 2 more"));
        for line in &lines[1..5] {
            let width = console::measure_text_width(line);
            assert!((78..=80).contains(&width) && line.ends_with('…'), "{width}: {line}");
        }
    }

    #[test]
    fn trouble_is_said_in_one_line() {
        let owner = Owner::from("anna");
        let (reason, pause) = ("lost\n".to_string(), Some(Duration::from_secs(2)));
        assert_eq!(
            trouble(&Event::Retry { owner, reason, pause }).unwrap(),
            "  anna is tried again in 2s: lost\\n"
        );
        let lost = Event::ConnectionLost { number: 3, reason: "closed".into() };
        assert_eq!(trouble(&lost).unwrap(), "  connection 3 ended: closed");
        assert_eq!(trouble(&Event::Started { tries: 1 }), None);
    }

    #[test]
    fn the_bar_is_as_wide_as_it_may_be() {
        assert_eq!(first_line(0, 4, 20, false), "░░░░░░░░░░ 0/4 users");
        assert_eq!(first_line(3, 4, 20, false), "███████░░░ 3/4 users");
        assert_eq!(first_line(4, 4, 20, false), "██████████ 4/4 users");
        assert_eq!(first_line(9, 4, 20, false), "██████████ 9/4 users");
        assert_eq!(first_line(0, 0, 12, false), "░░ 0/0 users");
        assert_eq!(first_line(123, 456, 8, false), " 123/456");
        let coloured = first_line(2, 4, 20, true);
        assert!(coloured.starts_with("\x1b[36m█████\x1b[0m░"), "{coloured:?}");
        assert_eq!(measure_text_width(&coloured), 20);
    }
}
