//! Long-running roles, host expressions, measurements.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Deserialize;

use super::workers::WorkerVerb;

/// Arguments of `rr up`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Keep a private mesh running in the foreground",
    long_about = "Keeps a private mesh running in the foreground: a NATS server, a coordinator and a worker.\n\n\
        The other verbs of the same user find it by themselves. It serves the name of this machine and the queue \
        default; with --all-hosts every host that a flow names, so that a rollout can be tried here. Commands run in \
        your directory with your environment. Its history is kept when it is started again.\n\n\
        Ctrl-C lets running attempts end; a second one kills them.",
    after_long_help = "Examples:\n  rr up\n  rr up --all-hosts --capacity 8"
)]
pub(crate) struct UpArgs {
    /// What its worker serves.
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

/// Arguments of `rr worker`.
#[derive(Args, Clone, Debug, Default)]
#[command(
    args_conflicts_with_subcommands = true,
    about = "Run attempts for a mesh",
    long_about = "Runs attempts for a mesh until it is told to stop.\n\n\
        Each attempt starts in a fresh directory with a clean environment. TERM or Ctrl-C drains: nothing new starts, \
        running attempts end; a second one kills them. What it has done is kept in its state directory, so that a \
        restart reports it and starts nothing twice.\n\n\
        With --via ssh commands run on the hosts themselves, which need an ssh server and no worker: in the directory \
        and with the environment that ssh gives. Names, users, keys and the checking of host keys are as in ssh's own \
        configuration; ssh is never let ask.\n\n\
        With ls, drain or forget it runs nothing, and looks after the workers that the mesh knows.",
    after_long_help = "Examples:\n  rr worker --server nats://mesh:4222 --hosts db7\n  \
        rr worker --queues build:build:default --capacity 4 --label zone=a\n  \
        rr worker --hosts 'db[1-10]' --via ssh --ssh-option User=deploy --capacity 10\n  \
        rr worker --context prod --hosts db7 --print-unit > /etc/systemd/system/rr-worker.service\n  \
        rr worker ls\n  rr worker drain db7 --wait"
)]
pub(crate) struct WorkerArgs {
    /// What to do with the workers of the mesh, instead of being one.
    #[command(subcommand)]
    pub(crate) verb: Option<WorkerVerb>,
    /// Name of the worker; by default the name of this machine
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// What it serves.
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Label, for people; can be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Format of what it says to the mesh: json, which people can read, or cbor for thin links
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    pub(crate) wire: Option<WireFormat>,
    /// Where it keeps what it has done
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Print a unit for systemd that starts this worker, and start nothing
    #[arg(long)]
    pub(crate) print_unit: bool,
    /// How commands come to the hosts; by default this machine stands for them
    #[arg(long, value_enum, value_name = "WAY")]
    pub(crate) via: Option<ViaKind>,
    /// Configuration file of ssh, in place of the user's and the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// Option of ssh, as in its configuration file; can be given several times
    #[arg(long = "ssh-option", value_name = "NAME=VALUE")]
    pub(crate) ssh_options: Vec<String>,
}

/// How commands come to the hosts that a worker serves.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ViaKind {
    /// As processes of this machine.
    #[default]
    Process,
    /// Over ssh, to hosts without a worker.
    Ssh,
}

/// The format of what a worker says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum WireFormat {
    /// Text.
    Json,
    /// Compact binary.
    Cbor,
}

/// What a worker serves.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServeArgs {
    /// Hosts that it serves, as an expression
    #[arg(long, value_name = "HOSTS", conflicts_with = "all_hosts")]
    pub(crate) hosts: Option<String>,
    /// Serve every host that a flow names
    #[arg(long)]
    pub(crate) all_hosts: bool,
    /// Queues that it serves, as A:A:B or A,A,B; one that is named twice gets twice the share
    #[arg(long, value_name = "QUEUES")]
    pub(crate) queues: Option<String>,
    /// Attempts that it runs at once; by default one for each CPU
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) capacity: Option<u32>,
}

/// Arguments of `rr coordinator`.
#[derive(Args, Clone, Debug, Default)]
#[command(
    about = "Take the decisions of a mesh",
    long_about = "Takes the decisions of a mesh until it is told to stop.\n\n\
        Any number of them may run; they share the work and take over from each other. The first one makes the \
        streams and buckets of the mesh.",
    after_long_help = "Examples:\n  rr coordinator --server nats://mesh:4222\n  RR_COORDINATOR__POLICY__LEASE=10s rr coordinator"
)]
pub(crate) struct CoordinatorArgs {
    /// Print a unit for systemd that starts this coordinator, and start nothing
    #[arg(long)]
    pub(crate) print_unit: bool,
}

/// Arguments of `rr hosts`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Work with host expressions",
    long_about = "Works with host expressions such as db[1-10,15],api[01-06].",
    after_long_help = "Examples:\n  rr hosts expand 'db[01-03]'"
)]
pub(crate) struct HostsArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) verb: HostsVerb,
}

/// What to do with host expressions.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum HostsVerb {
    /// Print the hosts of an expression, one a line
    #[command(
        long_about = "Prints the hosts of an expression, one a line, in the order in which they are written.\n\n\
            A host that is named twice is printed once.",
        after_long_help = "Examples:\n  rr hosts expand 'db[01-03]'\n  rr hosts expand --fold db1,db2,db3\n  \
            rr hosts expand --count 'fe[1-100]'"
    )]
    Expand {
        /// Host expressions
        #[arg(value_name = "HOSTS", required = true)]
        exprs: Vec<String>,
        /// Print how many there are
        #[arg(long, conflicts_with = "fold")]
        count: bool,
        /// Print them folded, sorted
        #[arg(long)]
        fold: bool,
    },
}

/// Arguments of `rr bench`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Measure this machine",
    long_about = "Measures how fast a mesh on this machine carries runs, and compares that with what JetStream allows.\n\n\
        Without a name all four are measured, each for less than 20 s.",
    after_long_help = "Examples:\n  rr bench\n  rr bench fan -n 20000 --json"
)]
pub(crate) struct BenchArgs {
    /// What to measure
    #[arg(value_enum, value_name = "BENCH")]
    pub(crate) what: Option<BenchKind>,
    /// How many units
    #[arg(short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) n: Option<u32>,
}

/// What to measure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum BenchKind {
    /// Runs of one task.
    Single,
    /// One run of many tasks.
    Fan,
    /// One run of many jobs, each after the other.
    Chain,
    /// Tasks that start a real process.
    Spawn,
}
