//! What can go wrong with a call of `rr`, each with its exit code and its text.

use std::fmt::Display;
use std::io;

use crate::exit::Exit;
use crate::printer::{BAD, BUSY, Printer, paint};

/// Why a call of `rr` failed. A run that fails is no error of `rr`: it is its result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Something is wrong, and what it is decides the exit code.
    #[error("{text}")]
    Told {
        /// The code.
        exit: Exit,
        /// What is wrong: a lower-case fragment.
        text: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Nobody reads stdout any more.
    #[error("nobody reads the output")]
    StdoutClosed,
    /// Interrupted a second time.
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    /// An error without a hint.
    pub(crate) fn new(exit: Exit, text: impl Display) -> Self {
        Self::Told { exit, text: text.to_string(), hint: None }
    }

    /// Something that cannot be unless `rr` is wrong.
    pub(crate) fn bug(text: impl Display) -> Self {
        Self::new(Exit::Bug, text).hint("this is a bug in rr; please report it with the command that you typed")
    }

    /// The same with what to do about it.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Display) -> Self {
        match self {
            Self::Told { exit, text, .. } => Self::Told { exit, text, hint: Some(hint.to_string()) },
            Self::StdoutClosed | Self::Interrupted => self,
        }
    }

    /// The same with a hint, if there is one.
    #[must_use]
    pub(crate) fn with_hint(self, hint: Option<impl Display>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The code that the process ends with.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Told { exit, .. } => *exit,
            Self::StdoutClosed => Exit::Succeeded,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// Shows the error on stderr.
    pub(crate) fn show(&self, printer: Printer) {
        match self {
            Self::Told { text, hint, .. } => {
                printer.note(format_args!("{}: {text}", paint(BAD, "error")));
                if let Some(hint) = hint {
                    printer.note(format_args!("{}: {hint}", paint(BUSY, "hint")));
                }
            }
            Self::StdoutClosed | Self::Interrupted => {}
        }
    }
}

/// Failures of stdout; those of files are told with their path where they happen.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::StdoutClosed
        } else {
            Self::new(Exit::Bug, format_args!("cannot write to stdout: {error}"))
        }
    }
}

/// An error with everything that it stems from, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Transparent errors repeat the text of their source.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}
