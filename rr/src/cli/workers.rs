//! Verbs that look after the workers of a mesh.

use clap::{Args, Subcommand};
use rr_schemas::span::Span;

use super::flow::parse_span;

/// What to do with the workers of the mesh.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum WorkerVerb {
    /// List the workers that the mesh knows
    #[command(
        long_about = "Lists the workers that the mesh knows: what each serves, its capacity, labels, version and when it \
            was last seen.\n\n\
            A worker that is away stays known, with its hosts and labels, until 30 days after it last asked for work, or \
            until rr worker forget. Hosts are those that the server really gives it.",
        after_long_help = "Examples:\n  rr worker ls\n  rr worker ls --json | jq '.[] | select(.state == \"away\")'"
    )]
    Ls,
    Drain(WorkerDrainArgs),
    Forget(WorkerForgetArgs),
}

/// Arguments of `rr worker drain`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Let a worker finish what it runs, and go",
    long_about = "Lets a worker finish what it runs, and go: it takes nothing new and ends when its last attempt has.\n\n\
        It returns when the worker has said that it drains; with --wait when the worker is gone. Whatever starts the \
        worker again undoes this, so tell that first.",
    after_long_help = "Examples:\n  rr worker drain db7\n  rr worker drain db7 --wait --timeout 10m"
)]
pub(crate) struct WorkerDrainArgs {
    /// Name of the worker
    #[arg(value_name = "NAME")]
    pub(crate) worker: String,
    /// Wait until it is gone
    #[arg(long)]
    pub(crate) wait: bool,
    /// Give up waiting after this time (exit code 6); the worker goes on draining
    #[arg(long, value_name = "SPAN", value_parser = parse_span, requires = "wait")]
    pub(crate) timeout: Option<Span>,
}

/// Arguments of `rr worker forget`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Forget a worker that is away",
    long_about = "Forgets a worker that is away: its hosts are free for others, and no flow that names workers by labels \
        counts it any more.\n\n\
        What is offered to it waits until a worker of that name joins, or becomes unreachable. One that is present is \
        refused (exit code 73): drain it first.",
    after_long_help = "Examples:\n  rr worker forget old-laptop"
)]
pub(crate) struct WorkerForgetArgs {
    /// Name of the worker
    #[arg(value_name = "NAME")]
    pub(crate) worker: String,
}
