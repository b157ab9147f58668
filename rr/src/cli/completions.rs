//! Completion of what is typed in a shell.

use clap::{Args, ValueEnum};

/// Arguments of `rr completions`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Print what makes a shell complete rr's command line",
    long_about = "Prints what makes a shell complete rr's command line: verbs and flags, and what there is at that moment: \
        runs, jobs, hosts, workers, contexts of the NATS CLI, parameters of a flow file.\n\n\
        The shell asks rr itself, so what it knows is as new as rr is. A mesh that does not answer within half a second \
        is passed over in silence; nothing is ever started.",
    after_long_help = "Examples:\n  source <(rr completions bash)        # in ~/.bashrc\n  \
        source <(rr completions zsh)         # in ~/.zshrc, behind compinit\n  \
        rr completions fish | source         # in ~/.config/fish/config.fish"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// A shell that rr completes for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU bash, 3.2 or newer.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}
