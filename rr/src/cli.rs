//! What can be typed: types for clap and their help, nothing else.

mod backup;
mod completions;
mod connect;
mod doctor;
mod flow;
mod histories;
mod init;
mod lock;
mod quarantine;
mod roles;
mod runs;
mod sim;
mod workers;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use backup::{BackupArgs, RestoreArgs};
pub(crate) use completions::{CompletionsArgs, Shell};
pub(crate) use connect::MeshArgs;
pub(crate) use doctor::DoctorArgs;
pub(crate) use flow::{CheckArgs, FlowArgs, FlowFormat, PlanArgs, PublishArgs, RunArgs, SetArgs};
pub(crate) use histories::{ExportArgs, ReplayArgs, VerifyArgs};
pub(crate) use init::InitArgs;
pub(crate) use lock::LockArgs;
pub(crate) use quarantine::{QuarantineArgs, QuarantineVerb};
pub(crate) use roles::{
    BenchArgs, BenchKind, CoordinatorArgs, HostsArgs, HostsVerb, ServeArgs, UpArgs, ViaKind, WireFormat, WorkerArgs,
};
pub(crate) use runs::{CancelArgs, LogsArgs, LsArgs, RetryArgs, ShowArgs, SignalArgs, WatchArgs, WhyArgs};
pub(crate) use sim::SimArgs;
pub(crate) use workers::{WorkerDrainArgs, WorkerForgetArgs, WorkerVerb};

/// What this program is built from: the version, and the commit of a release build.
pub(crate) const VERSION: &str = env!("RR_BUILD");

/// Runs job flows over a mesh of workers, on NATS JetStream.
#[derive(Debug, Parser)]
#[command(
    name = "rr",
    version = VERSION,
    about = "Runs job flows over a mesh of workers, on NATS JetStream",
    long_about = "Runs job flows over a mesh of workers, on NATS JetStream.\n\n\
        A flow is a file with jobs in slots, or jobs that need each other; each job runs one command on many hosts. \
        `rr run FLOW` needs nothing else: it starts its own mesh, runs the flow, and its exit code says how it ended.",
    after_long_help = format!("{}\n{}", crate::config::help(), crate::exit::Exit::help()),
    arg_required_else_help = true,
    disable_help_subcommand = false,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Flags that every verb takes.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags that every verb takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct GlobalArgs {
    /// Which mesh, and who logs in there.
    #[command(flatten)]
    pub(crate) mesh: MeshArgs,
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "Configuration file instead of $XDG_CONFIG_HOME/rr/config.yaml",
        help_heading = "Global options"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON on stdout
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        help = "Whether to use colours: auto, always or never; NO_COLOR is honoured",
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    pub(crate) color: Option<ColorWhen>,
    /// Log more on stderr; can be given several times
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
    /// Form of the log on stderr: text or json
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORM",
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    pub(crate) log_format: Option<LogFormat>,
}

/// Whether to use colours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ColorWhen {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Form of the log on stderr.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do. What a verb says of itself stands with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(RunArgs),
    Up(UpArgs),
    Publish(PublishArgs),
    Watch(WatchArgs),
    Ls(LsArgs),
    Show(ShowArgs),
    Logs(LogsArgs),
    Cancel(CancelArgs),
    Signal(SignalArgs),
    Retry(RetryArgs),
    Why(WhyArgs),
    Verify(VerifyArgs),
    Export(ExportArgs),
    Replay(ReplayArgs),
    Doctor(DoctorArgs),
    Check(CheckArgs),
    Plan(PlanArgs),
    Hosts(HostsArgs),
    Lock(LockArgs),
    Quarantine(QuarantineArgs),
    Worker(WorkerArgs),
    Coordinator(CoordinatorArgs),
    Init(InitArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Bench(BenchArgs),
    Sim(SimArgs),
    Completions(CompletionsArgs),
    /// End what a killed rr left behind; rr starts this itself
    #[command(name = "__guard", hide = true)]
    Guard,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_limit_for_waiting_needs_somebody_who_waits() {
        for (flags, is_taken) in [
            (&["--timeout", "1s"][..], false),
            (&["--timeout", "1s", "--wait"], true),
            (&["--timeout", "1s", "--follow"], true),
            (&["--wait", "--follow"], true),
            (&[], true),
        ] {
            let parsed = Cli::try_parse_from(["rr", "publish", "f.yaml"].iter().chain(flags));
            assert_eq!(parsed.map_err(|error| error.exit_code()).map(|_| ()), if is_taken { Ok(()) } else { Err(2) });
        }
    }

    #[test]
    fn help_of_every_verb() {
        let mut command = Cli::command().term_width(80);
        command.build();
        insta::assert_snapshot!("help_rr", command.render_long_help());
        for verb in command.get_subcommands_mut().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
            let name = format!("help_{}", verb.get_name());
            insta::assert_snapshot!(name.clone(), verb.render_long_help());
            for nested in verb.get_subcommands_mut().filter(|nested| nested.get_name() != "help") {
                insta::assert_snapshot!(format!("{name}_{}", nested.get_name()), nested.render_long_help());
            }
        }
    }

    #[test]
    fn every_verb_shows_an_example() {
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands_mut().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
            let help = verb.render_long_help().to_string();
            assert!(help.contains("Examples:\n"), "{}", verb.get_name());
            let details = verb.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(details.contains("\n\n") || details.ends_with('.'), "{}", verb.get_name());
        }
    }
}
