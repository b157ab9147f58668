//! The verb that simulates whole meshes.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

/// Arguments of `rr sim`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Simulate whole meshes with faults, each drawn from a seed",
    long_about = "Simulates whole meshes: real coordinators and real workers over a model of the server, with simulated time \
        and faults that are drawn from a seed. Nothing is connected to, and no process is started.\n\n\
        Even seeds ask for liveness: faults stop after a while, and every run must end then. Odd seeds ask for safety: faults go \
        on, and whatever there is must be right. A seed of which something is wrong is printed with what is wrong and with \
        the command that repeats it; the exit code is 1 then, and 0 otherwise. From 100000 seeds on it is 1, too, where a kind of fault \
        or a rare branch came up less than a hundred times: what never happened was not tested.",
    after_long_help = "Examples:\n  rr sim --seeds 1000\n  rr sim --seeds 100000 --jobs 2\n  \
        rr sim --seed 4711 --liveness --log"
)]
pub(crate) struct SimArgs {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 1_000, conflicts_with = "seed")]
    pub(crate) seeds: u64,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "seed")]
    pub(crate) from: u64,
    /// This seed alone
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Print everything that its parts log, on stderr
    #[arg(long, requires = "seed")]
    pub(crate) log: bool,
    /// Threads, each with a world of its own
    #[arg(long, value_name = "N", default_value = "2", conflicts_with = "seed")]
    pub(crate) jobs: NonZeroUsize,
    /// Ask every seed for liveness
    #[arg(long, conflicts_with = "safety")]
    pub(crate) liveness: bool,
    /// Ask every seed for safety
    #[arg(long)]
    pub(crate) safety: bool,
    /// Where the workers' files lie meanwhile; by default in memory, where the system has a place for that
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
