//! `rr sim`: whole meshes, simulated from seeds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rr_sim::campaign::{self, Failure, default_dir, mode_of};
use rr_sim::{Campaign, Complaint, Mode, Progress, Report, Tally, branches};
use serde::Serialize;

use crate::cli::{SimArgs, VERSION};
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::printer::{BAD, GOOD, Printer, paint};

/// Failed seeds after which no others are begun: the first few say enough.
const FAILURES_MAX: usize = 20;
/// Seeds between two lines that say how far it is, where stderr is no terminal.
const TOLD_EACH: u64 = 10_000;

/// What it came to, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    /// What a seed must be repeated with.
    rr: &'static str,
    seeds: u64,
    failures: Vec<Failed>,
    stuck: &'a [u64],
    broken: &'a [String],
    functions: u64,
    simulated_seconds: u64,
    faults: &'a BTreeMap<String, u64>,
    events: &'a BTreeMap<&'static str, u64>,
    branches: BTreeMap<&'static str, u64>,
    too_rare: BTreeMap<String, u64>,
}

/// What one seed came to, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Lived<'a> {
    /// What the seed must be repeated with.
    rr: &'static str,
    seed: u64,
    mode: &'static str,
    digest: String,
    functions: usize,
    simulated_seconds: f64,
    faults: &'a BTreeMap<String, u64>,
    complaints: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Failed {
    seed: u64,
    mode: &'static str,
    complaints: Vec<String>,
}

impl Failed {
    fn of(failure: &Failure) -> Self {
        Self { seed: failure.seed, mode: failure.mode.word(), complaints: texts(&failure.complaints) }
    }
}

fn texts(complaints: &[Complaint]) -> Vec<String> {
    complaints.iter().map(ToString::to_string).collect()
}

/// Simulates.
///
/// # Errors
/// The files of a world cannot be made.
pub(crate) fn sim(ctx: &Context, args: &SimArgs) -> Result<Exit, CliError> {
    let dir = args.dir.clone().unwrap_or_else(default_dir);
    let mode = match (args.liveness, args.safety) {
        (true, _) => Some(Mode::Liveness),
        (_, true) => Some(Mode::Safety),
        (false, false) => None,
    };
    match args.seed {
        Some(seed) => one(ctx, seed, mode.unwrap_or_else(|| mode_of(seed)), &dir, args.log),
        None => many(ctx, &Campaign { from: args.from, seeds: args.seeds, mode, jobs: args.jobs, dir }),
    }
}

fn one(ctx: &Context, seed: u64, mode: Mode, dir: &Path, logs: bool) -> Result<Exit, CliError> {
    branches::print(logs);
    let report = campaign::one(seed, mode, dir)
        .map_err(|error| CliError::new(Exit::Config, format_args!("no files in {}: {error}", dir.display())))?;
    if ctx.printer.is_json() {
        ctx.printer.json_document(&Lived {
            rr: VERSION,
            seed,
            mode: mode.word(),
            digest: format!("{:016x}", report.digest),
            functions: report.starts,
            simulated_seconds: report.simulated.as_secs_f64(),
            faults: &report.faults,
            complaints: texts(&report.complaints),
        })?;
    } else {
        told(ctx.printer, seed, mode, &report)?;
    }
    show(ctx.printer, seed, mode, &report.complaints);
    Ok(if report.complaints.is_empty() { Exit::Succeeded } else { Exit::Failed })
}

fn told(printer: Printer, seed: u64, mode: Mode, report: &Report) -> Result<(), CliError> {
    printer.line(format_args!(
        "seed {seed}, {}: {} functions in {:.1} s of its time, digest {:016x}",
        mode.word(),
        report.starts,
        report.simulated.as_secs_f64(),
        report.digest
    ))?;
    for (name, count) in &report.faults {
        printer.line(format_args!("  {count:6}  {name}"))?;
    }
    Ok(())
}

fn many(ctx: &Context, campaign: &Campaign) -> Result<Exit, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut told, mut failures) = (0, 0);
    let tally = campaign.run(&stop, |progress| match progress {
        Progress::Failed(failure) => {
            show(ctx.printer, failure.seed, failure.mode, &failure.complaints);
            failures += 1;
            if failures >= FAILURES_MAX {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        Progress::On(tally) => {
            if tally.seeds >= told + TOLD_EACH {
                told = tally.seeds;
                ctx.printer.note(format_args!("{} of {} seeds", tally.seeds, campaign.seeds));
            }
        }
    });
    for seed in &tally.stuck {
        ctx.printer.note(format_args!("{}: seed {seed} does not end, rr {VERSION}", paint(BAD, "stuck")));
    }
    for broken in &tally.broken {
        ctx.printer.warn(broken);
    }
    let too_rare = tally.too_rare();
    for (name, count) in &too_rare {
        ctx.printer.note(format_args!("{}: {name}, {count} times in {} seeds", paint(BAD, "too rare"), tally.seeds));
    }
    let is_well = tally.is_well() && too_rare.is_empty();
    if ctx.printer.is_json() {
        ctx.printer.json_document(&outcome(&tally, too_rare))?;
    } else {
        table(ctx.printer, &tally, is_well)?;
    }
    Ok(if is_well { Exit::Succeeded } else { Exit::Failed })
}

fn show(printer: Printer, seed: u64, mode: Mode, complaints: &[Complaint]) {
    if complaints.is_empty() {
        return;
    }
    printer.note(format_args!("{}: seed {seed}, {}", paint(BAD, "failed"), mode.word()));
    for complaint in complaints {
        printer.note(format_args!("  {complaint}"));
    }
    printer.note(format_args!("  repeat it with rr {VERSION}: rr sim --seed {seed} --{}", mode.word()));
}

fn outcome(tally: &Tally, too_rare: Vec<(String, u64)>) -> Outcome<'_> {
    Outcome {
        rr: VERSION,
        seeds: tally.seeds,
        failures: tally.failures.iter().map(Failed::of).collect(),
        stuck: &tally.stuck,
        broken: &tally.broken,
        functions: tally.starts,
        simulated_seconds: tally.simulated.as_secs(),
        faults: &tally.faults,
        events: &tally.events,
        branches: branches::named(&tally.said),
        too_rare: too_rare.into_iter().collect(),
    }
}

fn table(printer: Printer, tally: &Tally, is_well: bool) -> Result<(), CliError> {
    let section = |title: &str, rows: Vec<(&str, u64)>| -> Result<(), CliError> {
        printer.line(title)?;
        for (name, count) in rows {
            printer.line(format_args!("  {count:10}  {name}"))?;
        }
        Ok(())
    };
    section("Faults", tally.faults.iter().map(|(name, count)| (name.as_str(), *count)).collect())?;
    section("Events", tally.events.iter().map(|(name, count)| (*name, *count)).collect())?;
    section("Branches", branches::named(&tally.said).into_iter().collect())?;
    let verdict = if is_well { paint(GOOD, "well") } else { paint(BAD, "not well") };
    let simulated = Duration::from_secs(tally.simulated.as_secs());
    printer.line(format_args!(
        "{} seeds, {} of them failed: {verdict}; {} functions in {} of simulated time",
        tally.seeds,
        tally.failures.len(),
        tally.starts,
        crate::text::duration_words(simulated)
    ))
}
