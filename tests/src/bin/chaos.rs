//! The chaos suite, whole: every scenario on real processes, and a table of what came out.
//!
//! ```sh
//! cargo run -p rr-tests --bin chaos -- --minutes 15
//! ```
//!
//! `--minutes N` is shared among the scenarios; each is played once at least, and no more than that where no minutes are
//! given. `--only NAME` plays one (it may be given again), `--seed N` repeats the chances of a campaign, `--list` says what
//! there is. The exit code is 1 where anything is wrong.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use rr_tests::chaos::scenario::{Report, Scenario};
use rr_tests::chaos::table::Campaign;
use rr_tests::chaos::{scenarios, table};
use rr_tests::program;
use tokio::time::Instant;

/// Violations of a scenario that are told; more are counted.
const TOLD_MAX: usize = 10;

/// What was asked for.
#[derive(Debug, Default)]
struct Args {
    minutes: f64,
    seed: Option<u64>,
    only: Vec<String>,
    is_list: bool,
}

fn args() -> Result<Args, String> {
    let mut args = Args::default();
    let mut words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text:?} is not a number"));
        match word.as_str() {
            "--minutes" => {
                let text = value()?;
                args.minutes = text.parse().map_err(|_| format!("{text:?} is not a number of minutes"))?;
            }
            "--seed" => args.seed = Some(number(value()?)?),
            "--only" => args.only.push(value()?),
            "--list" => args.is_list = true,
            other => {
                return Err(format!(
                    "{other:?}: there are --minutes N (15 for all of it), --seed N, --only NAME, --list"
                ));
            }
        }
    }
    Ok(args)
}

fn say(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{error}"));
            return ExitCode::from(2);
        }
    };
    let chosen = match chosen(&args.only) {
        Ok(chosen) => chosen,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{error}"));
            return ExitCode::from(2);
        }
    };
    if args.is_list {
        say(table::promises(&chosen));
        return ExitCode::SUCCESS;
    }
    // Asked before anything is played: the checkout may change meanwhile.
    let (seed, commit) = (args.seed.unwrap_or_else(|| fastrand::u64(..)), program::commit());
    let played = campaign(chosen, seed, args.minutes).await;
    let campaign = Campaign { seed, minutes: args.minutes, commit };
    say(format_args!("\n{}", table::table(&campaign, &played)));
    let is_good = played.iter().all(|(_, report)| report.violations.is_empty());
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn chosen(only: &[String]) -> Result<Vec<Scenario>, String> {
    if only.is_empty() {
        return Ok(scenarios::all());
    }
    let one = |name: &String| scenarios::named(name).ok_or_else(|| format!("no scenario {name:?}; --list names them"));
    only.iter().map(one).collect()
}

/// Plays one after the other; each may go on with its faults for an equal share of what is left.
async fn campaign(chosen: Vec<Scenario>, seed: u64, minutes: f64) -> Vec<(Scenario, Report)> {
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(minutes.max(0.0) * 60.0);
    say(format_args!("seed {seed}"));
    let n = chosen.len();
    let mut played = Vec::new();
    for (place, scenario) in chosen.into_iter().enumerate() {
        let left = u32::try_from(n - place).unwrap_or(u32::MAX);
        let share = until.saturating_duration_since(Instant::now()) / left;
        // Each begins with the same seed, so that one can be played again alone.
        let report = scenario.play(seed, share, 0).await;
        let Report { faults, runs, decisions, violations, stall, took } = &report;
        say(format_args!(
            "{}: {faults} faults, {runs} runs, {decisions} decisions, {} violations in {took:.0?}; longest stall {:.1?} ({})",
            scenario.name,
            violations.len(),
            stall.took,
            stall.what,
        ));
        for violation in violations.iter().take(TOLD_MAX) {
            say(format_args!("VIOLATION {}: {violation}", scenario.name));
        }
        played.push((scenario, report));
    }
    if minutes > 0.0 && Instant::now() > until {
        say(format_args!(
            "{minutes} minutes were too few: each was played once all the same, in {:.0?}",
            begun.elapsed()
        ));
    }
    played
}
