//! Searches for inputs that break a reader, for as long as it is told.
//!
//! ```sh
//! cargo run --release -p rr-fuzz -- --seconds 60
//! ```
//!
//! What breaks something is added to the corpus, so that the tests fail until it is mended; `--keep` adds what was answered
//! in a new way as well.

use std::{
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use rr_fuzz::{Failure, Fuzz, Target, corpus, limits::Cost};

/// Feeds rr's readers with what nobody would write.
#[derive(Debug, Parser)]
struct Args {
    /// Only this one: flow, hosts, wire, api, export, template or words
    #[arg(long)]
    target: Option<String>,
    /// How long, each of them
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Begins another search
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Adds inputs to the corpus that are answered in a new way, up to 1 KiB long, 100 of them
    #[arg(long)]
    keep: bool,
}

/// Inputs that are worth being kept: whoever looks at one must see what it is about.
const KEPT_BYTES_MAX: usize = 1024;
/// Inputs that one search adds at most: a corpus is read by people and gone through by every run of the tests.
const KEPT_MAX: usize = 100;

fn main() -> ExitCode {
    let args = Args::parse();
    let targets: Vec<Target> = Target::ALL
        .into_iter()
        .filter(|target| args.target.as_deref().is_none_or(|name| name == target.name()))
        .collect();
    if targets.is_empty() {
        say("no such target: flow, hosts, wire, api, export, template and words are");
        return ExitCode::from(2);
    }
    // What a reader says when it panics is said once, with the input.
    let mut failed = false;
    for target in targets {
        let mut fuzz = Fuzz::new(target, args.seed);
        let searched = search(&mut fuzz, target, &args);
        let tally = fuzz.tally();
        say(&format!(
            "{:10} seed {}: {} inputs, {} kinds of answers, {} kept",
            target.name(),
            args.seed,
            tally.inputs,
            tally.answers,
            tally.kept
        ));
        let Cost { time, time_per_kib, bytes, bytes_per_byte } = tally.cost;
        say(&format!(
            "{:10} at most {time:.1?} and {} KiB for a short one, {time_per_kib:.1?} a KiB and {bytes_per_byte} bytes a byte for a long one",
            "",
            bytes / 1024,
        ));
        if let Err(Failure { input, wrong, .. }) = searched {
            failed = true;
            let kept = corpus::add(target, "broken", &input);
            let place = kept.map_or_else(|error| format!("nowhere: {error}"), |file| file.display().to_string());
            say(&format!("{:10} {wrong}; the input is in {place}", target.name()));
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn search(fuzz: &mut Fuzz, target: Target, args: &Args) -> Result<(), Failure> {
    match corpus::entries(target) {
        Ok(entries) => {
            for entry in entries {
                fuzz.feed(&entry.bytes)?;
            }
        }
        Err(error) => say(&format!("{}: the corpus is not read: {error}", target.name())),
    }
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let mut kept = 0;
    while Instant::now() < until {
        if let Some(input) = fuzz.step()?
            && args.keep
            && input.len() <= KEPT_BYTES_MAX
            && kept < KEPT_MAX
        {
            kept += 1;
            if let Err(error) = corpus::add(target, "found", &input) {
                say(&format!("{}: an input is not kept: {error}", target.name()));
            }
        }
    }
    Ok(())
}

fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
