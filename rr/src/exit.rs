//! The one table of exit codes. They are interface: scripts branch on them, so a number never changes its meaning.

use std::fmt::Write as _;
use std::process::ExitCode;

use rr_schemas::decision::RunStatus;

/// How a call of `rr` ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Exit {
    /// What was asked for was done; a run that was waited for succeeded.
    Succeeded,
    /// The run failed, or its time limit passed.
    Failed,
    /// The command line was wrong.
    Usage,
    /// The run was undone.
    Reverted,
    /// The run was cancelled.
    Cancelled,
    /// The run halted on purpose.
    Halted,
    /// Waiting ended before the run did.
    GaveUpWaiting,
    /// The run was undone in part, or undoing it failed.
    PartiallyReverted,
    /// What was given is wrong in itself.
    BadInput,
    /// What was named is not there.
    Unknown,
    /// No mesh answers.
    Unreachable,
    /// `rr` itself is wrong.
    Bug,
    /// The name is taken.
    Taken,
    /// Not allowed.
    Denied,
    /// The configuration of `rr` or of the mesh is wrong.
    Config,
    /// Interrupted a second time: everything was killed.
    Interrupted,
    /// What the command of `rr lock` has ended with; its numbers are its own.
    OfCommand(u8),
    /// A number that a verb documents as its own: 3 of `rr verify`.
    OfVerb(u8),
}

impl Exit {
    /// Every code, rising.
    pub(crate) const ALL: [Self; 16] = [
        Self::Succeeded,
        Self::Failed,
        Self::Usage,
        Self::Reverted,
        Self::Cancelled,
        Self::Halted,
        Self::GaveUpWaiting,
        Self::PartiallyReverted,
        Self::BadInput,
        Self::Unknown,
        Self::Unreachable,
        Self::Bug,
        Self::Taken,
        Self::Denied,
        Self::Config,
        Self::Interrupted,
    ];

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Reverted => 3,
            Self::Cancelled => 4,
            Self::Halted => 5,
            Self::GaveUpWaiting => 6,
            Self::PartiallyReverted => 7,
            Self::BadInput => 65,
            Self::Unknown => 66,
            Self::Unreachable => 69,
            Self::Bug => 70,
            Self::Taken => 73,
            Self::Denied => 77,
            Self::Config => 78,
            Self::Interrupted => 130,
            Self::OfCommand(code) | Self::OfVerb(code) => code,
        }
    }

    /// What it says to people.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed, or out of time",
            Self::Usage => "wrong usage",
            Self::Reverted => "reverted",
            Self::Cancelled => "cancelled",
            Self::Halted => "halted",
            Self::GaveUpWaiting => "gave up waiting; the run goes on",
            Self::PartiallyReverted => "partially reverted, or revert failed",
            Self::BadInput => "bad file, expression, parameter or schedule",
            Self::Unknown => "file, flow, run, worker or schedule unknown",
            Self::Unreachable => "mesh unreachable",
            Self::Bug => "a bug in rr",
            Self::Taken => "name taken",
            Self::Denied => "not allowed",
            Self::Config => "configuration",
            Self::Interrupted => "second Ctrl-C",
            Self::OfCommand(_) => "the command's own",
            Self::OfVerb(_) => "the verb's own",
        }
    }

    /// The code for a run that is over; one that is not was waited for in vain.
    pub(crate) const fn of_run(status: RunStatus) -> Self {
        match status {
            RunStatus::Queued | RunStatus::Running => Self::GaveUpWaiting,
            RunStatus::Succeeded => Self::Succeeded,
            RunStatus::Failed | RunStatus::TimedOut => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
            RunStatus::Rejected => Self::BadInput,
        }
    }

    /// The section at the end of `rr --help`.
    pub(crate) fn help() -> String {
        let mut text = "Exit codes:\n".to_owned();
        for exit in Self::ALL {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "  {:>3}  {}", exit.code(), exit.meaning());
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_rise_and_none_stands_twice() {
        assert!(Exit::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
    }

    #[test]
    fn every_end_of_a_run_has_its_code() {
        for (status, code) in [
            (RunStatus::Queued, 6),
            (RunStatus::Running, 6),
            (RunStatus::Succeeded, 0),
            (RunStatus::Failed, 1),
            (RunStatus::Cancelled, 4),
            (RunStatus::TimedOut, 1),
            (RunStatus::Rejected, 65),
        ] {
            assert_eq!(Exit::of_run(status).code(), code, "{status:?}");
        }
    }

    #[test]
    fn the_readme_has_the_same_table() {
        let readme = include_str!("../../README.md");
        let row = |exit: &Exit| format!("| {} | {} |", exit.code(), exit.meaning());
        let rows: Vec<String> = Exit::ALL.iter().map(row).collect();
        assert!(readme.contains(&rows.join("\n")), "{}", rows.join("\n"));
    }

    #[test]
    fn the_help_lists_every_code() {
        insta::assert_snapshot!(Exit::help());
    }
}
