//! The verb that looks whether a mesh is well.

use clap::Args;
use rr_schemas::span::Span;

use super::flow::parse_span;

/// Arguments of `rr doctor`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Say whether the mesh is well, and what to do",
    long_about = "Says whether the mesh is well, and what to do about what is not. It only looks.\n\n\
        Each line is ok, warn, bad, or unknown where this login may not look; the line below says what to do. The exit code \
        is 1 when something is bad, and 0 otherwise.",
    after_long_help = "Examples:\n  rr doctor\n  rr doctor --waiting 30m\n  \
        rr doctor --json | jq '.findings[] | select(.level == \"bad\")'"
)]
pub(crate) struct DoctorArgs {
    /// How long an input, an offer or a run may wait before that is a finding
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "5m")]
    pub(crate) waiting: Span,
}
