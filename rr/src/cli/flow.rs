//! Verbs that read a flow file.

use clap::{ArgGroup, Args, ValueEnum, ValueHint};
use rr_schemas::{
    flow::params::parse_set,
    name::Name,
    span::{Span, SpanError},
};

/// Which flow, and how its file is read.
#[derive(Args, Clone, Debug)]
pub(crate) struct FlowArgs {
    /// Flow file; - reads stdin
    #[arg(value_name = "FLOW", value_hint = ValueHint::FilePath)]
    pub(crate) flow: String,
    /// How to read the flow; auto goes by the name and the keys
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    pub(crate) format: FlowFormat,
}

/// How a flow file is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum FlowFormat {
    /// By its name and its keys.
    Auto,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// The JSON of the original Roadrunner.
    Roadrunner,
}

/// Parameters of a run.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SetArgs {
    /// Value of a parameter; can be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_set)]
    pub(crate) set: Vec<(Name, String)>,
}

pub(super) fn parse_span(text: &str) -> Result<Span, SpanError> {
    text.parse()
}

/// Arguments of `rr run`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Run a flow and wait for its end",
    long_about = "Runs a flow and waits for its end; the exit code says how it ended.\n\n\
        Where no mesh is configured, this starts a private one for this run: a NATS server, a coordinator and a \
        worker that serves every host and queue that the flow names. So a rollout over db[1-10] can be tried on a \
        laptop: each attempt sees its host as RR_HOST. The commands run in your directory with your environment, \
        at most 64 at once or 4 for each CPU, whichever is more. The last 20 private runs are kept for show, logs, why and watch.\n\n\
        With a mesh configured (--server, RR_SERVER or the configuration file) the run goes there instead.\n\n\
        Ctrl-C cancels the run and waits for its end (exit code 4); a second Ctrl-C kills everything at once (130).",
    after_long_help = "Examples:\n  rr run examples/rollout.yaml\n  rr run rollout.yaml --set version=1.5 --json > run.json\n  \
        cat rollout.yaml | rr run -"
)]
pub(crate) struct RunArgs {
    /// Which flow.
    #[command(flatten)]
    pub(crate) flow: FlowArgs,
    /// Parameters.
    #[command(flatten)]
    pub(crate) set: SetArgs,
    /// Id of the run instead of a drawn one
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Show every line of output as it comes, as `job host | line`
    #[arg(long)]
    pub(crate) logs: bool,
    /// Attempts that the private worker runs at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) capacity: Option<u32>,
}

/// Arguments of `rr publish`.
#[derive(Args, Clone, Debug)]
#[command(
    group = ArgGroup::new("waiting").multiple(true),
    about = "Store a flow's run in the mesh and return",
    long_about = "Stores a run of a flow in the mesh, prints its id and returns.\n\n\
        The run is stored durably before this returns, also while no coordinator is up. It warns when nobody who is \
        present serves a target of the flow.\n\n\
        An --id starts one run, however often it is published, as long as the mesh remembers it: until four times \
        coordinator.keep after the run's end, 28 days by default.\n\n\
        With --wait or --follow it stays until the run has ended, and the exit code says how it ended. Ctrl-C then \
        leaves the run alone (exit code 6); it can be followed with rr watch ID.",
    after_long_help = "Examples:\n  rr publish rollout.yaml\n  rr publish rollout.yaml --id rollout-2026-11-22 --wait --timeout 10m\n  \
        rr publish rollout.yaml --set version=1.5 --follow"
)]
pub(crate) struct PublishArgs {
    /// Which flow.
    #[command(flatten)]
    pub(crate) flow: FlowArgs,
    /// Parameters.
    #[command(flatten)]
    pub(crate) set: SetArgs,
    /// Id of the run instead of a drawn one
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Wait for the end of the run, quietly
    #[arg(long, group = "waiting")]
    pub(crate) wait: bool,
    /// Show progress until the end of the run
    #[arg(long, group = "waiting")]
    pub(crate) follow: bool,
    /// Give up waiting after this time (exit code 6); the run goes on
    #[arg(long, value_name = "SPAN", value_parser = parse_span, requires = "waiting")]
    pub(crate) timeout: Option<Span>,
}

/// Arguments of `rr check`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Check flow files, start nothing",
    long_about = "Checks flow files and starts nothing.\n\n\
        Everything that is wrong is printed at once, with file, line and column. Exit code 65 when anything is wrong, \
        66 when a file is missing.",
    after_long_help = "Examples:\n  rr check rollout.yaml\n  rr check flows/*.yaml"
)]
pub(crate) struct CheckArgs {
    /// Flow files; - reads stdin
    #[arg(value_name = "FLOW", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) flows: Vec<String>,
    /// How to read the flows; auto goes by the name and the keys
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "auto")]
    pub(crate) format: FlowFormat,
}

/// Arguments of `rr plan`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Show what a flow would do, start nothing",
    long_about = "Shows what a flow would do and starts nothing.\n\n\
        Prints slots and jobs with their targets, how many must succeed, how many run at once, and the commands with \
        every template filled in for the first target.",
    after_long_help = "Examples:\n  rr plan rollout.yaml\n  rr plan rollout.yaml --set version=1.5 --json"
)]
pub(crate) struct PlanArgs {
    /// Which flow.
    #[command(flatten)]
    pub(crate) flow: FlowArgs,
    /// Parameters.
    #[command(flatten)]
    pub(crate) set: SetArgs,
}
