//! Making a mesh, and who may do what in it.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `rr init`.
#[derive(Args, Clone, Debug, Default)]
#[command(
    about = "Make a mesh on a server, or write who may do what in it",
    long_about = "Makes every stream, bucket and consumer of a mesh on the server that is configured, and says what was made \
        and what was there already. What is there stays as it is, so it does no harm to do it again.\n\n\
        With --auth it talks to no server: it writes a configuration for nats-server with a user for each role, and the \
        user's key and a configuration of rr beside it, into a directory. Files that are there are never written over. \
        docs/security.md says what each role may do, and what is not guaranteed.",
    after_long_help = "Examples:\n  rr init --server nats://mesh:4222 --replicas 3\n  rr init --auth --out auth\n  \
        rr init --auth --out auth --role coordinator=c1 --role worker=db7:default,build --role publisher=ci"
)]
pub(crate) struct InitArgs {
    /// Partitions of a new mesh, fixed for its life; 8 by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) partitions: Option<u16>,
    /// Copies of each stream of a new mesh; 3 in a cluster, else 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=5), conflicts_with = "auth")]
    pub(crate) replicas: Option<u16>,
    /// Write a configuration with users instead
    #[arg(long, requires = "out")]
    pub(crate) auth: bool,
    /// Directory of what is written
    #[arg(long, value_name = "DIR", requires = "auth")]
    pub(crate) out: Option<PathBuf>,
    #[arg(
        long = "role",
        value_name = "ROLE=NAME",
        requires = "auth",
        help = "A user: worker=NAME:QUEUE,QUEUE, publisher=NAME, watcher=NAME, coordinator=NAME or admin=NAME; can be \
                given several times; by default one of each"
    )]
    pub(crate) roles: Vec<String>,
}
