//! Verbs for what could not be read or believed.

use clap::{ArgGroup, Args, Subcommand};

/// Arguments of `rr quarantine`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Look at messages that could not be read or believed",
    long_about = "Looks at messages that could not be read or believed: what a part of the mesh found and put aside, with \
        the reason. Nothing of it was ever carried out.\n\n\
        They are kept for 30 days.",
    after_long_help = "Examples:\n  rr quarantine ls\n  rr quarantine show 12\n  rr quarantine restore 12 --yes\n  \
        rr quarantine drop --all"
)]
pub(crate) struct QuarantineArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) verb: QuarantineVerb,
}

/// What to do with the quarantine.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum QuarantineVerb {
    /// List what is there, the newest first
    #[command(
        long_about = "Lists what is in the quarantine, the newest first.",
        after_long_help = "Examples:\n  rr quarantine ls\n  rr quarantine ls -n 100 --json"
    )]
    Ls {
        /// How many messages to list
        #[arg(short, value_name = "N", default_value_t = 20)]
        n: usize,
    },
    /// Show one message with its body
    #[command(
        long_about = "Shows one message with its body. What is no text is shown escaped.",
        after_long_help = "Examples:\n  rr quarantine show 12"
    )]
    Show {
        /// Its number, as ls shows it
        #[arg(value_name = "SEQ")]
        seq: u64,
    },
    /// Put a message back where it was
    #[command(
        long_about = "Puts a message back where it was, and takes it out of the quarantine: the mesh reads it again.\n\n\
            It is for messages that a newer rr can read, or that were refused for a reason that is gone. Inputs of runs \
            and offers can be put back; decisions and timers cannot. It asks before it does so.",
        after_long_help = "Examples:\n  rr quarantine restore 12\n  rr quarantine restore 12 --yes"
    )]
    Restore {
        /// Its number, as ls shows it
        #[arg(value_name = "SEQ")]
        seq: u64,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Remove messages for good
    #[command(
        group = ArgGroup::new("which").required(true),
        long_about = "Removes one message, or all of them, for good. It asks before it does so.",
        after_long_help = "Examples:\n  rr quarantine drop 12\n  rr quarantine drop --all --yes"
    )]
    Drop {
        /// Its number, as ls shows it
        #[arg(value_name = "SEQ", group = "which")]
        seq: Option<u64>,
        /// Remove all of them
        #[arg(long, group = "which")]
        all: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}
