//! The verb for locks.

use clap::Args;
use rr_schemas::span::Span;

use super::flow::parse_span;

/// Arguments of `rr lock`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Run a command under a lock of the mesh",
    override_usage = "rr lock [OPTIONS] <NAME> -- <COMMAND>...\n       rr lock ls [--json]",
    long_about = "Runs a command under a lock of the mesh: of all commands and of all attempts of jobs with that lock, wherever they \
        are, one runs at a time. The exit code is the command's, 128 and the signal's number where one ended it; 127 where there is no \
        such program, 126 where it cannot be started.\n\n\
        The command sees RR_LOCK and RR_LOCK_TOKEN, a number that grows with every holder: whatever it changes can refuse \
        one that is smaller than before. Signals are handed on to it. The lock is renewed while it runs and given back when it \
        ends. Where it cannot be renewed for two thirds of --ttl, the command and all that it started are ended, since \
        somebody else may have the lock soon (exit code 1). If rr is killed, they are ended, too, and the lock runs out.\n\n\
        rr lock ls lists the locks that are held. To take a lock that is called ls: rr lock ls -- COMMAND.",
    after_long_help = "Examples:\n  rr lock deploy -- ./deploy.sh prod\n  rr lock backup --no-wait -- pg_dump app\n  \
        rr lock ls\n  rr lock ls --json | jq -r '.[].lock'"
)]
pub(crate) struct LockArgs {
    /// Name of the lock; names that differ only by case are one lock. Without a command: ls
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// How long the lock outlives an rr that says nothing any more; 2s at least, more than 15s where servers may fail
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "30s")]
    pub(crate) ttl: Span,
    /// Give up waiting for the lock after this time (exit code 6)
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "10m", conflicts_with = "no_wait")]
    pub(crate) wait: Span,
    /// Give up at once where somebody holds the lock (exit code 6)
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true)]
    pub(crate) command: Vec<String>,
}
