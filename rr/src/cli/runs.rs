//! Verbs that look at runs or stop them.

use clap::{ArgGroup, Args, ValueEnum};
use rr_schemas::{decision::RunStatus, span::Span};

use super::flow::parse_span;

/// Arguments of `rr watch`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Show what happens, live",
    long_about = "Shows what happens, live: in the whole mesh, or in one run until it ends.\n\n\
        With --json it prints one event a line. Of a run that is over it prints the whole story.",
    after_long_help = "Examples:\n  rr watch\n  rr watch 4f7k --json | jq .event"
)]
pub(crate) struct WatchArgs {
    /// Run, by its id or a unique beginning of it; without one the whole mesh
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
}

/// Arguments of `rr ls`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "List runs",
    long_about = "Lists runs, the newest first.\n\n\
        Shows the runs of the mesh and, below, those that rr run kept on this machine.",
    after_long_help = "Examples:\n  rr ls\n  rr ls --status running --json\n  rr ls --all"
)]
pub(crate) struct LsArgs {
    /// List all runs instead of the newest ones
    #[arg(long, conflicts_with = "n")]
    pub(crate) all: bool,
    /// Only runs in this state; can be given several times
    #[arg(long, value_enum, value_name = "STATUS")]
    pub(crate) status: Vec<StatusArg>,
    /// How many runs to list
    #[arg(short, value_name = "N", default_value_t = 20)]
    pub(crate) n: usize,
}

/// State of a run, as typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum StatusArg {
    /// Asked for; no coordinator has seen it yet.
    Queued,
    /// Under way.
    Running,
    /// Every job succeeded.
    Succeeded,
    /// A job did not.
    Failed,
    /// Stopped because somebody asked.
    Cancelled,
    /// Stopped because its time limit had passed.
    TimedOut,
    /// Its flow was wrong.
    Rejected,
}

impl From<StatusArg> for RunStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Queued => Self::Queued,
            StatusArg::Running => Self::Running,
            StatusArg::Succeeded => Self::Succeeded,
            StatusArg::Failed => Self::Failed,
            StatusArg::Cancelled => Self::Cancelled,
            StatusArg::TimedOut => Self::TimedOut,
            StatusArg::Rejected => Self::Rejected,
        }
    }
}

/// Arguments of `rr show`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Show one run with its jobs and tasks",
    long_about = "Shows one run with its jobs, and the tasks that did not succeed.\n\n\
        With --json it prints the whole document: every job, task and attempt.",
    after_long_help = "Examples:\n  rr show 4f7k\n  rr show 4f7k --json"
)]
pub(crate) struct ShowArgs {
    /// Run, by its id or a unique beginning of it
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
}

/// Arguments of `rr logs`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Print the output of a run's tasks",
    long_about = "Prints what the tasks of a run wrote, each line after its job and host.\n\n\
        Bytes that are no text and control characters are shown escaped; --raw prints the bytes as they are, without \
        job and host.",
    after_long_help = "Examples:\n  rr logs 4f7k\n  rr logs 4f7k -f --job pkg1\n  rr logs 4f7k --host 'db[1-3]' --raw"
)]
pub(crate) struct LogsArgs {
    /// Run, by its id or a unique beginning of it
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Go on until the run ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this job
    #[arg(long, value_name = "JOB")]
    pub(crate) job: Option<String>,
    /// Only these hosts, as an expression
    #[arg(long, value_name = "HOSTS")]
    pub(crate) host: Option<String>,
    /// Only this attempt of each task
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempt: Option<u32>,
    /// Print the bytes as they are
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Arguments of `rr cancel`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Stop a run",
    long_about = "Stops a run: nothing new starts, what runs is killed.\n\n\
        The request is stored durably; this returns before the run has ended.",
    after_long_help = "Examples:\n  rr cancel 4f7k\n  rr cancel 4f7k --reason 'wrong version'"
)]
pub(crate) struct CancelArgs {
    /// Run, by its id or a unique beginning of it
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Arguments of `rr signal`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Let the gates of a run pass that wait for a signal",
    long_about = "Gives a run a signal: each of its jobs with `signal: NAME` succeeds, now or when its turn comes.\n\n\
        The signal is stored durably, and given for good: to give it again changes nothing.",
    after_long_help = "Examples:\n  rr signal 4f7k approved\n  rr signal 4f7k approved --reason 'tested on staging'"
)]
pub(crate) struct SignalArgs {
    /// Run, by its id or a unique beginning of it
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Name of the signal, as the flow has it
    #[arg(value_name = "NAME")]
    pub(crate) signal: String,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// Arguments of `rr why`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Say what a run waits for, or why it ended so",
    long_about = "Says what a run waits for and what can be done about it, or why it ended as it did.",
    after_long_help = "Examples:\n  rr why 4f7k"
)]
pub(crate) struct WhyArgs {
    /// Run, by its id or a unique beginning of it
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
}

/// Arguments of `rr retry`.
#[derive(Args, Clone, Debug)]
#[command(
    group = ArgGroup::new("again").multiple(true).required(true),
    group = ArgGroup::new("waiting").multiple(true),
    about = "Run again what failed, keep what succeeded",
    long_about = "Starts a new run of the same flow, with the same parameters and targets, that takes over what an earlier \
        run has reached.\n\n\
        With --failed, tasks that did not succeed run again where their job did not succeed either; tasks that never \
        started and jobs that were skipped have their turn too, because the run could not succeed without them. In a \
        job that succeeded nothing runs again, also where some of its tasks failed. With --not-started alone only what \
        never started runs, and failed tasks count as failed.\n\n\
        What is carried over and what runs is printed first. The mesh reads it from the history of the earlier run, \
        which must be over and must still be kept.",
    after_long_help = "Examples:\n  rr retry 4f7k --failed --dry-run\n  rr retry 4f7k --failed --follow\n  \
        rr retry 4f7k --not-started --id rollout-2 --wait --timeout 10m"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that somebody types")]
pub(crate) struct RetryArgs {
    /// Run, by its id or a unique beginning of it
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// Run again what failed, and what then has its turn
    #[arg(long, group = "again")]
    pub(crate) failed: bool,
    /// Run what never started; with --failed it does anyway
    #[arg(long, group = "again")]
    pub(crate) not_started: bool,
    /// Print what would run, start nothing
    #[arg(long, conflicts_with = "waiting")]
    pub(crate) dry_run: bool,
    /// Id of the new run instead of a drawn one
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
