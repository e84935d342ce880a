//! The terminal of this process: lines that scroll, and below them a progress bar, if there is one.
//!
//! There is one terminal for the whole process, so all that is written to stdout and stderr comes through here. From
//! [`start`] on a thread does it: it alone waits while the terminal takes nothing (Ctrl-S, a frozen ssh, a full pipe).
//!
//! ```text
//!   lines.rs --write--.
//!   bar      --draw---+--> Queue (screen_queue.rs) --> thread "screen" --> bar, stderr, stdout
//!   program  --notice-'
//! ```
//! Nobody waits for the bar: the thread draws its latest picture. Lines for the admin wait in the queue, and the run goes on;
//! if the queue is full they are dropped, and how many is said as soon as the terminal takes lines again. Lines that were
//! asked for (-v, -v -v) are data: their writer waits. At the end a terminal gets a few seconds for what still waits.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::warn;

use crate::monitor::plain;
use crate::monitor::screen_queue::{Next, Piece, Queue, Stream};
use crate::monitor::words;

/// How long a terminal that takes nothing is waited for at the end.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many bytes are written at once, so that a slow terminal is seen to take them.
const AT_ONCE: usize = 4096;

static SCREEN: OnceLock<Screen> = OnceLock::new();

struct Screen {
    state: Mutex<State>,
    /// Something came, or something was written.
    changed: Condvar,
    /// Whether the person at stderr may have stopped it. Into a pipe or a file a program writes until all is written.
    terminal: bool,
    /// Whether stdout and stderr end in the same place, where lines of both must keep their order.
    one_place: bool,
}

struct State {
    queue: Queue,
    /// When the terminal last took something.
    moved: Instant,
    /// Whether it was waited for in vain since then.
    given_up: bool,
}

/// Starts the thread, once for the process, which must not fork any more. Without it everything is written directly.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let named = std::thread::Builder::new().name("screen".into());
        match named.spawn(|| SCREEN.get_or_init(Screen::new).run()) {
            Ok(_) => {
                SCREEN.get_or_init(Screen::new);
            }
            Err(e) => warn!("no bar can be shown: can't start a thread: {e}"),
        }
    });
}

/// The bar looks like this from now on; never waits.
pub(crate) fn draw(picture: String) {
    if let Some(screen) = SCREEN.get() {
        screen.lock().queue.draw(picture);
        screen.changed.notify_all();
    }
}

/// Takes the bar off the screen for good: before the last lines of the program. Does not wait for it.
pub fn remove_bar() {
    if let Some(screen) = SCREEN.get() {
        screen.lock().queue.remove_bar();
        screen.changed.notify_all();
    }
}

/// Writes bytes that were asked for, above the bar. Waits until there is room for them.
pub(crate) fn write_owed(stream: Stream, bytes: Vec<u8>) {
    match SCREEN.get() {
        // A bar elsewhere is not in the way, and its terminal no reason to wait.
        Some(screen) if stream == Stream::Err || screen.one_place => {
            screen.push(Piece { stream, bytes, owed: true });
        }
        _ => write(stream, &bytes),
    }
}

/// Writes lines for the admin to stderr, above the bar. Does not wait for a terminal that takes nothing.
pub(crate) fn write_lines(bytes: Vec<u8>) {
    match SCREEN.get() {
        Some(screen) => {
            screen.push(Piece { stream: Stream::Err, bytes, owed: false });
        }
        None => write(Stream::Err, &bytes),
    }
}

/// Writes lines for the admin to stderr, each with the program's name in front, and waits until they are there; on a
/// terminal that takes nothing a few seconds at most.
pub fn notice(text: &str) {
    let bytes = noted(text);
    match SCREEN.get() {
        Some(screen) => {
            if let Some(mark) = screen.push(Piece { stream: Stream::Err, bytes, owed: false }) {
                screen.wait_for(mark);
            }
        }
        None => write(Stream::Err, &bytes),
    }
}

/// The bytes of such lines.
pub(crate) fn noted(text: &str) -> Vec<u8> {
    let lines = text.lines().map(|line| format!("sync_client: {}\n", plain::line(line)));
    lines.collect::<String>().into_bytes()
}

/// Waits until everything is on the screen; on a terminal that takes nothing a few seconds at most.
pub(crate) fn finish() {
    if let Some(screen) = SCREEN.get() {
        let mark = screen.lock().queue.mark();
        screen.wait_for(mark);
    }
}

impl Screen {
    fn new() -> Screen {
        let state = State { queue: Queue::default(), moved: Instant::now(), given_up: false };
        Screen {
            state: Mutex::new(state),
            changed: Condvar::new(),
            terminal: io::stderr().is_terminal(),
            one_place: in_one_place(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts it into the queue; returns a mark behind it, or `None` if it was dropped. Waits for room if the run may wait.
    fn push(&self, piece: Piece) -> Option<u64> {
        let mut state = self.lock();
        while !state.queue.has_room() && (piece.owed || state.queue.is_owed()) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let accepted = state.queue.push(piece);
        self.changed.notify_all();
        accepted.then(|| state.queue.mark())
    }

    /// Waits until everything before the mark is on the screen. A terminal may take its time, as long as it takes
    /// something; what was asked for is waited for in any case.
    fn wait_for(&self, mark: u64) {
        let asked = Instant::now();
        let mut state = self.lock();
        while !state.queue.is_past(mark) {
            if !self.terminal || state.queue.is_owed() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = PATIENCE.saturating_sub(state.moved.max(asked).elapsed());
            if state.given_up || left.is_zero() {
                let unseen = state.queue.unseen();
                if !std::mem::replace(&mut state.given_up, true) {
                    drop(state);
                    warn!(
                        "the terminal takes nothing: {} not shown",
                        words::count(unseen as u64, "line")
                    );
                }
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self) {
        let mut bar = None;
        loop {
            let next = self.next();
            match &next {
                Next::RemoveBar => {
                    if let Some(bar) = bar.take() {
                        ProgressBar::finish_and_clear(&bar);
                    }
                }
                Next::Draw(picture) => bar.get_or_insert_with(new_bar).set_message(picture.clone()),
                Next::Write(piece) => match &bar {
                    Some(bar) => bar.suspend(|| self.write(piece)),
                    None => self.write(piece),
                },
            }
            let mut state = self.lock();
            state.queue.done(&next);
            self.moved(&mut state);
        }
    }

    fn next(&self) -> Next {
        let mut state = self.lock();
        loop {
            let missed =
                |number| noted(&format!("{} not shown", words::count(number as u64, "line")));
            if let Some(next) = state.queue.next(missed) {
                return next;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write(&self, piece: &Piece) {
        for bytes in piece.bytes.chunks(AT_ONCE) {
            write(piece.stream, bytes);
            self.moved(&mut self.lock());
        }
    }

    fn moved(&self, state: &mut State) {
        state.moved = Instant::now();
        state.given_up = false;
        self.changed.notify_all();
    }
}

/// Writes without regard to a bar. A closed stdout or stderr is not a reason to stop.
fn write(stream: Stream, bytes: &[u8]) {
    let _ = match stream {
        Stream::Out => io::stdout().lock().write_all(bytes),
        Stream::Err => io::stderr().lock().write_all(bytes),
    };
}

/// indicatif takes care of the screen; what is on it is made in `sinks/terminal.rs`.
fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // This template is right, so the style is never the other one.
    let style = ProgressStyle::with_template("{msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Whether stdout and stderr are the same file, pipe or terminal.
fn in_one_place() -> bool {
    let place = |stream: &dyn AsFd| {
        let file = stream.as_fd().try_clone_to_owned().map(File::from);
        file.and_then(|file| file.metadata()).map(|meta| (meta.dev(), meta.ino()))
    };
    if io::stdout().is_terminal() && io::stderr().is_terminal() {
        // One person sees both, whatever their names are.
        return true;
    }
    matches!((place(&io::stdout()), place(&io::stderr())), (Ok(one), Ok(other)) if one == other)
}
