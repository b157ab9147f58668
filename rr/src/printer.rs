//! The only way to stdout and stderr: data goes to stdout, everything else to stderr.
//!
//! Invariants: a reader that goes away (`rr watch | head`) ends the call quietly with exit code 0, but never a call that
//! carries or waits for a run, or whose exit code is a verdict: that goes on without printing; nothing is printed by colour alone. A stdout that cannot be
//! written, a full disk, is told once, and the exit code says at the end that output was lost.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::cli::ColorWhen;
use crate::error::CliError;

/// Width where the terminal does not say its own.
const WIDTH_DEFAULT: usize = 80;
/// Height where the terminal does not say its own.
const HEIGHT_DEFAULT: usize = 24;

/// Whether something could not be written to stdout, of which a process has one.
static LOST: AtomicBool = AtomicBool::new(false);

/// What becomes of a call when nobody reads its stdout any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unread {
    /// It ends: printing was all that it was for.
    Ends,
    /// It goes on: a run or a store depends on it, or its exit code is waited for.
    GoesOn,
}

/// Data to stdout, everything else to stderr.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    is_json: bool,
    unread: Unread,
    out: ColorChoice,
    err: ColorChoice,
    err_is_terminal: bool,
}

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Size {
    /// Columns.
    pub(crate) width: usize,
    /// Rows.
    pub(crate) height: usize,
}

impl Printer {
    /// Looks at stdout and stderr once.
    pub(crate) fn new(color: ColorWhen, is_json: bool) -> Self {
        let (out, err) = match color {
            ColorWhen::Auto => (AutoStream::choice(&io::stdout()), AutoStream::choice(&io::stderr())),
            ColorWhen::Always => (ColorChoice::Always, ColorChoice::Always),
            ColorWhen::Never => (ColorChoice::Never, ColorChoice::Never),
        };
        Self { is_json, unread: Unread::Ends, out, err, err_is_terminal: io::stderr().is_terminal() }
    }

    /// The same for a call of which this becomes when nobody reads.
    #[must_use]
    pub(crate) const fn when_unread(self, unread: Unread) -> Self {
        Self { unread, ..self }
    }

    /// Whether stdout is to hold JSON.
    pub(crate) const fn is_json(self) -> bool {
        self.is_json
    }

    /// Prints a line of data.
    ///
    /// # Errors
    /// [`CliError::StdoutClosed`] when nobody reads any more, or another failure of stdout.
    pub(crate) fn line(self, line: impl Display) -> Result<(), CliError> {
        if Self::has_lost_output() {
            return Ok(());
        }
        let mut out = AutoStream::new(io::stdout().lock(), self.out);
        self.written(writeln!(out, "{line}").and_then(|()| out.flush()))
    }

    /// Whether output was lost though the call went on. Nothing is printed any more then: half a document helps nobody.
    pub(crate) fn has_lost_output() -> bool {
        LOST.load(Ordering::Relaxed)
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// As [`Printer::line`].
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), CliError> {
        if Self::has_lost_output() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        self.written(out.write_all(bytes).and_then(|()| out.flush()))
    }

    fn written(self, written: io::Result<()>) -> Result<(), CliError> {
        match (written.map_err(CliError::from), self.unread) {
            (Err(CliError::StdoutClosed), Unread::GoesOn) => Ok(()),
            (Err(error), Unread::GoesOn) => {
                if !LOST.swap(true, Ordering::Relaxed) {
                    self.warn(format_args!("{error}; this goes on, and what it would print is lost"));
                }
                Ok(())
            }
            (written, Unread::Ends | Unread::GoesOn) => written,
        }
    }

    /// Prints a value as one line of JSON.
    ///
    /// # Errors
    /// As [`Printer::line`].
    pub(crate) fn json_line(self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(|error| CliError::bug(format!("write JSON: {error}")))?;
        self.line(text)
    }

    /// Prints a value as JSON for people to read.
    ///
    /// # Errors
    /// As [`Printer::line`].
    pub(crate) fn json_document(self, value: &impl Serialize) -> Result<(), CliError> {
        let text =
            serde_json::to_string_pretty(value).map_err(|error| CliError::bug(format!("write JSON: {error}")))?;
        self.line(text)
    }

    /// Prints a line for people on stderr. A stderr that is closed changes nothing.
    pub(crate) fn note(self, line: impl Display) {
        let mut err = AutoStream::new(io::stderr().lock(), self.err);
        // There is no other way to say that this one failed.
        drop(writeln!(err, "{line}"));
    }

    /// Prints a warning on stderr.
    pub(crate) fn warn(self, text: impl Display) {
        self.note(format_args!("{}: {text}", paint(WARN, "warning")));
    }

    /// Moves the cursor of the terminal behind stderr; not a colour, so it is never taken out.
    pub(crate) fn steer(self, sequence: &str) {
        if self.err_is_terminal {
            drop(io::stderr().lock().write_all(sequence.as_bytes()));
        }
    }

    /// Whether stderr takes colours.
    pub(crate) fn colors_stderr(self) -> bool {
        self.err != ColorChoice::Never
    }

    /// Whether stderr is a terminal that may be drawn on.
    pub(crate) fn draws(self) -> bool {
        self.err_is_terminal
    }

    /// Size of the terminal behind stderr.
    pub(crate) fn size(self) -> Size {
        let size = self.err_is_terminal.then(|| rustix::termios::tcgetwinsize(io::stderr()).ok()).flatten();
        let or = |n: u16, default: usize| if n == 0 { default } else { usize::from(n) };
        Size {
            width: or(size.map_or(0, |size| size.ws_col), WIDTH_DEFAULT),
            height: or(size.map_or(0, |size| size.ws_row), HEIGHT_DEFAULT),
        }
    }
}

/// Style of errors and failures.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of successes.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Style of warnings and of what was stopped.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Style of what is under way.
pub(crate) const BUSY: Style = AnsiColor::Cyan.on_default();
/// Style of what matters less.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Text in a style; whoever writes it takes the style out where colours are not wanted.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_stdout_ends_only_a_call_that_is_for_printing() {
        let printer = Printer::new(ColorWhen::Never, false);
        for (kind, unread, expected) in [
            (io::ErrorKind::BrokenPipe, Unread::Ends, Err(0)),
            (io::ErrorKind::BrokenPipe, Unread::GoesOn, Ok(())),
            (io::ErrorKind::StorageFull, Unread::Ends, Err(70)),
            (io::ErrorKind::StorageFull, Unread::GoesOn, Ok(())),
        ] {
            let written = printer.when_unread(unread).written(Err(kind.into()));
            assert_eq!(written.map_err(|error| error.exit().code()), expected, "{kind:?} {unread:?}");
        }
    }
}
