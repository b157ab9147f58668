//! What came out of a campaign, as a table in Markdown.

use std::fmt::Write as _;

use super::scenario::{Report, Scenario};

/// The table, a row for each scenario that was played.
pub fn table(played: &[(Scenario, Report)]) -> String {
    let mut text = "| scenario | rows | fault | faults | runs | decisions | violations | longest stall | bound |\n\
                    | --- | --- | --- | --: | --: | --: | --: | --: | --: |\n"
        .to_owned();
    for (scenario, report) in played {
        let Scenario { name, what, .. } = scenario;
        let Report { faults, runs, decisions, .. } = report;
        let (violations, stall, bound) =
            (report.violations.len(), report.stall.took.as_secs_f64(), scenario.bound.as_secs());
        let _never_fails = writeln!(
            text,
            "| `{name}` | {} | {what} | {faults} | {runs} | {decisions} | {violations} | {stall:.1} s | {bound} s |",
            rows(scenario.rows),
        );
    }
    let sum = |count: fn(&Report) -> usize| played.iter().map(|(_, report)| count(report)).sum::<usize>();
    let (faults, runs, decisions) = (sum(|report| report.faults), sum(|report| report.runs), sum(|r| r.decisions));
    let violations = sum(|report| report.violations.len());
    let _never_fails = writeln!(text, "| all | | | {faults} | {runs} | {decisions} | {violations} | | |");
    text
}

/// Rows of the matrix, as people write them.
pub fn rows(rows: &[u8]) -> String {
    if rows.is_empty() {
        return "–".to_owned();
    }
    rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
