//! What waits for the terminal: lines in their order, and the latest picture of the bar. A plain value; `screen.rs` owns it.
//!
//! ```text
//!   lines that were asked for (-v, -v -v)  --push--.      no room: their writer waits
//!   lines for the admin                    --push--+--> next --> the screen's thread
//!   the bar                                --draw--'      no room: they are counted, and the count is shown in their place
//! ```

use std::collections::VecDeque;

/// With more than this, in bytes, there is no room: some thousand lines.
const FULL: usize = 1 << 20;

/// Where bytes go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Some whole lines, or a part of the traffic.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it goes to.
    pub(crate) stream: Stream,
    /// What is written.
    pub(crate) bytes: Vec<u8>,
    /// Whether it was asked for, so that it must not be lost.
    pub(crate) owed: bool,
}

/// What the screen's thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Takes the bar away for good.
    RemoveBar,
    /// Writes this above the bar.
    Write(Piece),
    /// Draws the bar with these lines.
    Draw(String),
}

/// What is not on the screen yet.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pieces: VecDeque<Piece>,
    /// The bytes that were accepted, and those of them that were written.
    accepted: u64,
    written: u64,
    /// Those that were asked for and are not written.
    owed: usize,
    /// Lines that found no room.
    missed: usize,
    /// Those of them whose count is being written.
    counted: usize,
    picture: Option<String>,
    removal: bool,
}

impl Queue {
    /// Whether a piece would be accepted. After one was not, there is no room until all before it is written: the count of
    /// what is missing stands where it is missing.
    pub(crate) fn has_room(&self) -> bool {
        self.missed == 0 && self.accepted - self.written < FULL as u64
    }

    /// Whether a writer had better wait for room: what is waiting was asked for, and the run waits for it anyway.
    pub(crate) fn is_owed(&self) -> bool {
        self.owed > 0
    }

    /// Accepts a piece, or counts its lines as missed. Returns whether it was accepted.
    pub(crate) fn push(&mut self, piece: Piece) -> bool {
        if !self.has_room() {
            self.missed += lines(&piece.bytes);
            return false;
        }
        self.accept(piece);
        true
    }

    fn accept(&mut self, piece: Piece) {
        self.accepted += piece.bytes.len() as u64;
        self.owed += if piece.owed { piece.bytes.len() } else { 0 };
        self.pieces.push_back(piece);
    }

    /// The bar looks like this now.
    pub(crate) fn draw(&mut self, picture: String) {
        self.picture = Some(picture);
    }

    /// The bar goes away, before anything else is written.
    pub(crate) fn remove_bar(&mut self) {
        self.picture = None;
        self.removal = true;
    }

    /// The next thing to do. It counts as waiting until it is [`Queue::done`].
    pub(crate) fn next(&mut self, count: impl Fn(usize) -> Vec<u8>) -> Option<Next> {
        if self.removal {
            return Some(Next::RemoveBar);
        }
        if self.pieces.is_empty() && self.missed > 0 {
            self.counted = std::mem::take(&mut self.missed);
            let bytes = count(self.counted);
            self.accept(Piece { stream: Stream::Err, bytes, owed: false });
        }
        self.pieces.pop_front().map(Next::Write).or_else(|| self.picture.take().map(Next::Draw))
    }

    /// This is on the screen.
    pub(crate) fn done(&mut self, next: &Next) {
        match next {
            Next::RemoveBar => self.removal = false,
            Next::Write(piece) => {
                self.counted = 0;
                self.written += piece.bytes.len() as u64;
                self.owed -= if piece.owed { piece.bytes.len() } else { 0 };
            }
            Next::Draw(_) => {}
        }
    }

    /// A mark behind all that was accepted so far.
    pub(crate) fn mark(&self) -> u64 {
        self.accepted
    }

    /// Whether everything before the mark is on the screen, and the bar is not, if it is to go.
    pub(crate) fn is_past(&self, mark: u64) -> bool {
        self.written >= mark && self.missed + self.counted == 0 && !self.removal
    }

    /// How many lines are not on the screen, apart from one that is being written.
    pub(crate) fn unseen(&self) -> usize {
        self.missed
            + self.counted
            + self.pieces.iter().map(|piece| lines(&piece.bytes)).sum::<usize>()
    }
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, owed: bool) -> Piece {
        Piece { stream: Stream::Err, bytes: text.as_bytes().to_vec(), owed }
    }

    fn step(queue: &mut Queue) -> Option<Next> {
        let next = queue.next(|missed| format!("{missed} missed\n").into_bytes());
        next.inspect(|next| queue.done(next))
    }

    #[test]
    fn lines_come_in_order_and_of_the_pictures_the_latest() {
        let mut queue = Queue::default();
        queue.draw("one".into());
        assert!(queue.push(piece("a\n", false)) && queue.push(piece("b\n", true)));
        queue.draw("two".into());
        let mark = queue.mark();
        assert_eq!(step(&mut queue), Some(Next::Write(piece("a\n", false))));
        assert!(queue.is_owed() && !queue.is_past(mark));
        assert_eq!(step(&mut queue), Some(Next::Write(piece("b\n", true))));
        assert!(!queue.is_owed() && queue.is_past(mark));
        assert_eq!(step(&mut queue), Some(Next::Draw("two".into())));
        assert_eq!(step(&mut queue), None);
    }

    // Shows that the last lines of a program never stand above a bar that stays.
    #[test]
    fn the_bar_goes_before_what_is_written_after_it() {
        let mut queue = Queue::default();
        queue.draw("bar".into());
        queue.remove_bar();
        assert!(queue.push(piece("the end\n", false)) && !queue.is_past(0));
        assert_eq!(step(&mut queue), Some(Next::RemoveBar));
        assert_eq!(step(&mut queue), Some(Next::Write(piece("the end\n", false))));
        assert_eq!(step(&mut queue), None);
        assert!(queue.is_past(queue.mark()));
    }

    #[test]
    fn a_full_queue_says_in_its_place_how_much_is_missing() {
        let mut queue = Queue::default();
        let line = "x".repeat(99_999) + "\n";
        while queue.push(piece(&line, false)) {}
        assert!(!queue.push(piece("one\ntwo\n", false)));
        assert_eq!((queue.missed, queue.unseen()), (3, 14));
        // One is written. There is room, but what came now would stand before the count.
        step(&mut queue);
        assert!(!queue.push(piece("three\n", false)));
        for _ in 0..10 {
            assert!(matches!(step(&mut queue), Some(Next::Write(p)) if p.bytes.len() == 100_000));
        }
        let mark = queue.mark();
        let next = queue.next(|missed| format!("{missed} missed\n").into_bytes()).unwrap();
        assert_eq!(next, Next::Write(piece("4 missed\n", false)));
        assert!(!queue.is_past(mark) && queue.unseen() == 4);
        queue.done(&next);
        assert!(queue.is_past(mark) && step(&mut queue).is_none());
        assert!(queue.push(piece("five\n", false)) && queue.unseen() == 1);
    }
}
