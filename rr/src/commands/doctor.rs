//! `rr doctor`: whether a mesh is well, and what to do about what is not.
//!
//! Invariants: it only looks; every look has a deadline, and so have all of them together; one that may not be had, or does
//! not come back, hides no other; what cannot be known from here, and what was not looked at, is said to be so.

mod clock;
mod finding;
mod history;
mod looking;
mod offers;
mod patient;
mod present;
mod quarantine;
mod quorum;
mod runs;
mod server;
mod shape;

use anstyle::Style;
use jiff::Timestamp;
use rr_nats::ConnectError;
use serde::Serialize;

use self::finding::{Finding, Level, worst};
use self::looking::{Deadline, Unseen};
use self::patient::Patient;
use crate::cli::DoctorArgs;
use crate::context::Context;
use crate::environment::now;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh::{Place, not_connected, told};
use crate::printer::{BAD, DIM, GOOD, WARN};
use crate::text::Line;

/// Columns of the level and of the name of a check.
const LEVEL_WIDTH: usize = 9;
const CHECK_WIDTH: usize = 14;

/// The document that `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// The worst of all.
    level: Level,
    server: String,
    at: Timestamp,
    findings: &'a [Finding],
}

/// Looks, and prints what there is to say.
pub(crate) async fn doctor(ctx: &Context, args: &DoctorArgs) -> Result<Exit, CliError> {
    let place = Place::need(ctx)?;
    let deadline = Deadline::new();
    let findings = match place.try_link("doctor").await {
        Ok(link) => {
            let patient = Box::pin(Patient::look(link, args.waiting.as_duration(), deadline)).await;
            // Who may not even see how the mesh was made sees nothing, and a mesh of which nothing is known is not well.
            if let Err(Unseen::Asked(error @ rr_nats::Error::Denied { .. })) = &patient.mesh {
                return Err(told(error).hint("rr init --auth gives watchers the right to look"));
            }
            Box::pin(examine(&patient)).await
        }
        // These are found by the first look at the server.
        Err(error @ ConnectError::TooOld { .. }) => vec![server::too_old(&error)],
        Err(error @ ConnectError::JetStreamOff) => vec![server::jetstream_off(&error)],
        Err(error) => return Err(not_connected(&error)),
    };
    let level = worst(&findings);
    if ctx.printer.is_json() {
        let document = Document { level, server: place.shown(), at: now(), findings: &findings };
        ctx.printer.json_document(&document)?;
    } else {
        for finding in &findings {
            show(ctx, finding)?;
        }
    }
    Ok(if level == Level::Bad { Exit::Failed } else { Exit::Succeeded })
}

async fn examine(patient: &Patient) -> Vec<Finding> {
    // These look again. They share the time that is left, so that none of them takes it from another.
    let (partitions, history, runs, offers, quarantine) = tokio::join!(
        Box::pin(present::partitions(patient)),
        Box::pin(history::history(patient)),
        Box::pin(runs::runs(patient)),
        Box::pin(offers::offers(patient)),
        Box::pin(quarantine::quarantine(patient)),
    );
    let mut findings = vec![server::version(patient)];
    findings.extend(server::acknowledgements(patient));
    findings.extend(quorum::quorum(patient));
    findings.extend(shape::drift(patient));
    findings.extend(server::store(patient));
    findings.extend(present::coordinators(patient));
    findings.extend(partitions);
    findings.extend(present::workers(patient));
    findings.extend(clock::clocks(patient));
    findings.extend(history);
    findings.extend(runs);
    findings.extend(offers);
    findings.extend(quarantine);
    findings
}

fn show(ctx: &Context, finding: &Finding) -> Result<(), CliError> {
    let fill = |text: &str, width: usize| " ".repeat(width.saturating_sub(text.len()).max(1));
    let (word, style) = match finding.level {
        Level::Ok => ("ok", GOOD),
        Level::Unknown => ("unknown", DIM),
        Level::Warn => ("warn", WARN),
        Level::Bad => ("bad", BAD),
    };
    let line = Line::new().styled(style, word).plain(fill(word, LEVEL_WIDTH)).styled(Style::new(), finding.check);
    ctx.printer.line(line.plain(fill(finding.check, CHECK_WIDTH)).plain(&finding.what).whole())?;
    match &finding.cure {
        None => Ok(()),
        Some(cure) => ctx.printer.line(format_args!("{}do: {cure}", " ".repeat(LEVEL_WIDTH))),
    }
}
