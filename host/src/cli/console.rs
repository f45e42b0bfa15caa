//! What a command tells a person while its data goes through stdin and stdout.
//!
//! It is handed a writer (stderr, or a buffer in a test) and keeps one line of progress apart from whole lines.
//! **Invariant:** nothing here fails a command: a closed stderr is ignored.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often a line of progress is renewed.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// Writes notes and progress; may be shared between threads.
pub struct Console {
    state: Mutex<State>,
    /// Progress is for eyes; a log file would only fill up with it.
    shows_progress: bool,
}

struct State {
    out: Box<dyn Write + Send>,
    /// Whether the cursor stands behind a line of progress.
    in_progress: bool,
    progress_at: Instant,
}

impl Console {
    /// Writes to stderr, with progress where that is a terminal.
    pub fn stderr() -> Self {
        Self::new(Box::new(io::stderr()), io::stderr().is_terminal())
    }

    /// Writes to `out`.
    pub fn new(out: Box<dyn Write + Send>, shows_progress: bool) -> Self {
        let state = State {
            out,
            in_progress: false,
            progress_at: Instant::now() + PROGRESS_PERIOD,
        };
        Self {
            state: Mutex::new(state),
            shows_progress,
        }
    }

    /// Writes a line.
    pub fn say(&self, line: &str) {
        let mut state = self.state.lock();
        let start = if state.in_progress { "\r\x1b[2K" } else { "" };
        state.in_progress = false;
        // Nobody is left to tell where stderr is closed.
        let _ = writeln!(state.out, "{start}{line}");
    }

    /// Takes the line of progress away, before something else is written to the terminal.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        if state.in_progress {
            state.in_progress = false;
            let _ = write!(state.out, "\r\x1b[2K");
            let _ = state.out.flush();
        }
    }

    /// Renews the line of progress when the last one is a second old.
    pub fn progress(&self, line: impl FnOnce() -> String) {
        if !self.shows_progress {
            return;
        }
        let mut state = self.state.lock();
        let now = Instant::now();
        if now < state.progress_at {
            return;
        }
        state.progress_at = now + PROGRESS_PERIOD;
        state.in_progress = true;
        let _ = write!(state.out, "\r\x1b[2K{}", line());
        let _ = state.out.flush();
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("shows_progress", &self.shows_progress)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// What a console under test has written.
    #[derive(Clone, Default)]
    pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

    impl Said {
        /// Returns a console and what it will have written.
        pub(crate) fn console() -> (Console, Self) {
            let said = Self::default();
            (Console::new(Box::new(said.clone()), false), said)
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_note_replaces_the_line_of_progress() {
        let said = Said::default();
        let console = Console::new(Box::new(said.clone()), true);
        console.state.lock().progress_at = Instant::now();
        console.progress(|| "1 of 2".to_owned());
        console.progress(|| "too early".to_owned());
        console.say("done");
        console.say("bye");
        assert_eq!(said.text(), "\r\x1b[2K1 of 2\r\x1b[2Kdone\nbye\n");
        console.clear();
        console.state.lock().progress_at = Instant::now();
        console.progress(|| "2 of 2".to_owned());
        console.clear();
        assert!(said.text().ends_with("bye\n\r\x1b[2K2 of 2\r\x1b[2K"));
    }

    #[test]
    fn progress_is_only_for_terminals() {
        let (console, said) = Said::console();
        console.state.lock().progress_at = Instant::now();
        console.progress(|| "1 of 2".to_owned());
        assert_eq!(said.text(), "");
    }
}
