//! `rr bench`: how fast a mesh on this machine carries runs, and what JetStream would allow.

mod cpu;
mod flows;
mod lab;
mod load;

use rr_nats::yardstick;
use serde::Serialize;

use self::{cpu::Cpu, lab::Lab};
use crate::{
    cli::{BenchArgs, BenchKind},
    context::Context,
    error::CliError,
    exit::Exit,
    mesh::told,
};

/// Messages of one measurement of the yardstick: long enough to be steady, short enough to be waited for.
const YARDSTICK_PIPELINED: usize = 100_000;
/// The same for one message after the other.
const YARDSTICK_ONE_BY_ONE: usize = 5_000;

/// One result, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    /// Units: runs (single), tasks (fan, spawn), jobs one after the other (chain).
    n: u32,
    seconds: f64,
    /// Units a second.
    rate: f64,
    /// Units a second that JetStream would allow, or for `spawn` a bare spawn-and-wait.
    limit: f64,
    ratio: f64,
    /// CPU seconds of each role while it was measured.
    cpu: Cpu,
}

/// Measures one kind, or all of them.
///
/// # Errors
/// The mesh for the measurement cannot be made, or a run on it did not succeed.
pub(crate) fn bench(ctx: &Context, args: &BenchArgs) -> Result<Exit, CliError> {
    let kinds = match args.what {
        Some(kind) => vec![kind],
        None => vec![BenchKind::Single, BenchKind::Fan, BenchKind::Chain, BenchKind::Spawn],
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::bug(format_args!("no runtime: {error}")))?;
    for kind in kinds {
        let report = runtime.block_on(measure(ctx, kind, args.n.unwrap_or_else(|| kind.default_n())))?;
        if ctx.printer.is_json() {
            ctx.printer.json_line(&report)?;
        } else {
            ctx.printer.line(report.shown())?;
        }
    }
    Ok(Exit::Succeeded)
}

async fn measure(ctx: &Context, kind: BenchKind, n: u32) -> Result<Report, CliError> {
    let lab = Lab::start(ctx, kind.capacity()).await?;
    let before = lab.cpu();
    let took = match kind {
        BenchKind::Single => load::single(lab.mesh(), n).await?,
        BenchKind::Fan => load::one_run(lab.mesh(), flows::fan(n)?).await?,
        BenchKind::Chain => load::one_run(lab.mesh(), flows::chain(n)?).await?,
        BenchKind::Spawn => load::one_run(lab.mesh(), flows::spawn(n)?).await?,
    };
    let cpu = lab.cpu().since(before);
    let link = lab.mesh().link();
    let limit = match kind.messages() {
        Messages::Pipelined(per_unit) => {
            yardstick::pipelined(link, YARDSTICK_PIPELINED).await.map(|rate| rate / per_unit)
        }
        Messages::OneByOne(per_unit) => {
            yardstick::one_by_one(link, YARDSTICK_ONE_BY_ONE).await.map(|rate| rate / per_unit)
        }
        Messages::Spawns => Ok(load::bare_spawns(n, kind.capacity()).await?),
    };
    let limit = limit.map_err(|error| told(&error))?;
    lab.stop().await?;
    let rate = f64::from(n) / took.as_secs_f64();
    Ok(Report { bench: kind.word(), n, seconds: took.as_secs_f64(), rate, limit, ratio: rate / limit, cpu })
}

/// What one unit costs at least, and so what its limit is measured by.
enum Messages {
    /// Messages a unit, any number of units at once.
    Pipelined(f64),
    /// Messages a unit, each after the one before.
    OneByOne(f64),
    /// No messages: processes.
    Spawns,
}

impl BenchKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Fan => "fan",
            Self::Chain => "chain",
            Self::Spawn => "spawn",
        }
    }

    /// Units that take some seconds on two cores.
    const fn default_n(self) -> u32 {
        match self {
            Self::Single => 30_000,
            Self::Fan => 60_000,
            Self::Chain | Self::Spawn => 5_000,
        }
    }

    /// Attempts at once. For processes little more than there are cores: more only wait for each other.
    const fn capacity(self) -> u32 {
        match self {
            Self::Single | Self::Fan | Self::Chain => 1_024,
            Self::Spawn => 8,
        }
    }

    const fn messages(self) -> Messages {
        match self {
            // Submit, decision, offer, report, decision, status.
            Self::Single => Messages::Pipelined(6.0),
            // Offer and report; a decision is shared by hundreds.
            Self::Fan => Messages::Pipelined(2.0),
            // Offer, report, decision.
            Self::Chain => Messages::OneByOne(3.0),
            Self::Spawn => Messages::Spawns,
        }
    }
}

impl Report {
    fn shown(&self) -> String {
        let Self { bench, n, seconds, rate, limit, ratio, cpu } = self;
        let Cpu { server, coordinator, worker } = cpu;
        format!(
            "{bench:<7} n={n:<6} {seconds:>6.2} s  {rate:>8.0}/s  {:>7.3} ms each  limit {limit:>8.0}/s  ratio {ratio:.2}  \
             cpu: server {server:.2} s, coordinator {coordinator:.2} s, worker {worker:.2} s",
            1_000.0 / rate,
        )
    }
}
