//! Verbs that keep a mesh elsewhere and bring it back.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `rr backup`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Write a mesh into a directory",
    long_about = "Writes what cannot be made again of a mesh into a directory: the log with its sequences, the states of runs, the \
        quarantine and the output. It may go on meanwhile.\n\n\
        The directory holds what the mesh holds, secrets of tokens and parameters included; only its owner may read it, so \
        an existing one gets mode 0700 or is refused. The server checks each stream before it sends it, which takes a while with a large one.",
    after_long_help = "Examples:\n  rr backup /var/backups/rr/monday\n  rr --config auth/root.yaml backup monday --json"
)]
pub(crate) struct BackupArgs {
    /// Directory, new or empty
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// Arguments of `rr restore`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Make a mesh of what rr backup wrote",
    long_about = "Makes a mesh of what rr backup wrote, on a server that has none, and verifies it as rr verify does. \
        Stop the coordinators, restore, start them: one that starts on the empty server makes an empty mesh, which is then in \
        the way. A restore that broke off is carried on by the same command.\n\n\
        Runs that were open go on: the first coordinator wakes them and offers again what nobody holds. What has happened \
        since the backup is not known there, so attempts that ran since may run again, those with on_lost fail or hold or a \
        lock among them.",
    after_long_help = "Examples:\n  rr --server nats://new:4222 restore /var/backups/rr/monday\n  rr restore monday --replicas 1"
)]
pub(crate) struct RestoreArgs {
    /// Directory that rr backup wrote
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Copies of each stream, instead of three in a cluster and one elsewhere
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) replicas: Option<u8>,
}
