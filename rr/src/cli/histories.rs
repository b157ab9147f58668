//! Verbs that read histories as they are stored.

use clap::{ArgGroup, Args};
use rr_schemas::span::Span;

use super::flow::parse_span;

/// Arguments of `rr verify`.
#[derive(Args, Clone, Debug)]
#[command(
    group = ArgGroup::new("which").multiple(false),
    about = "Check stored histories by their invariants",
    long_about = "Reads histories from the log of the mesh or from an export, computes anew what must follow, and says \
        what does not hold.\n\n\
        Without RUN it reads the whole log. Exit code 0 when everything holds, 1 when something does not, 3 when a \
        history is not whole, so that nothing is sure of it. docs/verify.md says what is checked.",
    after_long_help = "Examples:\n  rr verify\n  rr verify 4f7k\n  rr verify --since 1h --json\n  rr verify nightly.jsonl"
)]
pub(crate) struct VerifyArgs {
    /// Run, by its id or a unique beginning of it; or a file that rr export made, - for stdin
    #[arg(value_name = "RUN|FILE", group = "which")]
    pub(crate) what: Option<String>,
    /// Every run in the log of the mesh, as without any argument
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    /// Only runs that began this long ago or later
    #[arg(long, value_name = "SPAN", value_parser = parse_span, group = "which")]
    pub(crate) since: Option<Span>,
}

/// Arguments of `rr export`.
#[derive(Args, Clone, Debug)]
#[command(
    group = ArgGroup::new("which").multiple(false).required(true),
    about = "Print the stored history of a run, or of all",
    long_about = "Prints everything that is stored of a run, or of the whole mesh: one JSON object a line, for rr verify \
        and rr replay.\n\n\
        It holds the flow and its parameters, and with the decisions the secret that tokens are made with: whoever may \
        read the log may read as much.",
    after_long_help = "Examples:\n  rr export 4f7k > 4f7k.jsonl\n  rr export 4f7k --output > 4f7k.jsonl\n  \
        rr export --all | zstd > mesh.jsonl.zst"
)]
pub(crate) struct ExportArgs {
    /// Run, by its id or a unique beginning of it
    #[arg(value_name = "RUN", group = "which")]
    pub(crate) run: Option<String>,
    /// The whole log
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    /// What its attempts wrote, too
    #[arg(long, conflicts_with = "all")]
    pub(crate) output: bool,
}

/// Arguments of `rr replay`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Show a run as it stood at any moment",
    long_about = "Shows a run as rr show would have shown it at a moment of its life: folded from its stored decisions up to \
        there.\n\n\
        With --step it shows each decision and the run after it; at a terminal it waits for Enter before the next one, \
        and q ends it.",
    after_long_help = "Examples:\n  rr replay 4f7k --at 1204\n  rr replay 4f7k --at 2026-11-22T10:15:00Z --json\n  \
        rr replay 4f7k.jsonl --step"
)]
pub(crate) struct ReplayArgs {
    /// Run, by its id or a unique beginning of it; or a file that rr export made, - for stdin
    #[arg(value_name = "RUN|FILE")]
    pub(crate) what: String,
    /// In a file with several runs: this one
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Up to this sequence of the log, or up to this time
    #[arg(long, value_name = "SEQ|TIME")]
    pub(crate) at: Option<String>,
    /// Decision by decision
    #[arg(long)]
    pub(crate) step: bool,
}
