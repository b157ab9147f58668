//! The flows that are measured.

use std::fmt::Write as _;

use rr_schemas::flow::Flow;

use crate::error::CliError;

/// The handler that does nothing.
pub(crate) const NOOP: &str = "noop";

/// Tasks of one job under way at once.
const WINDOW: u32 = 1_000;

/// One task.
pub(crate) fn single() -> Result<Flow, CliError> {
    flow(r#"{"name":"single","jobs":[{"name":"a","handler":"noop"}]}"#)
}

/// One job on many hosts.
pub(crate) fn fan(n: u32) -> Result<Flow, CliError> {
    flow(&format!(
        r#"{{"name":"fan","jobs":[{{"name":"a","handler":"{NOOP}","hosts":"h[1-{n}]","parallelism":{WINDOW}}}]}}"#
    ))
}

/// Many jobs, each after the one before.
pub(crate) fn chain(n: u32) -> Result<Flow, CliError> {
    let mut jobs = String::from(r#"{"name":"j1","handler":"noop"}"#);
    for job in 2..=n {
        // Writing to a string cannot fail.
        let _ = write!(jobs, r#",{{"name":"j{job}","handler":"{NOOP}","needs":["j{}"]}}"#, job - 1);
    }
    flow(&format!(r#"{{"name":"chain","jobs":[{jobs}]}}"#))
}

/// One job on many hosts that starts a process on each.
pub(crate) fn spawn(n: u32) -> Result<Flow, CliError> {
    flow(&format!(
        r#"{{"name":"spawn","jobs":[{{"name":"a","run":["/bin/true"],"hosts":"h[1-{n}]","parallelism":{WINDOW}}}]}}"#
    ))
}

fn flow(json: &str) -> Result<Flow, CliError> {
    serde_json::from_str(json).map_err(CliError::bug)
}
