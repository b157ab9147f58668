//! What came out of a campaign, as a table in Markdown.

use std::fmt::Write as _;

use super::scenario::{Report, Scenario};

/// How a campaign is played again.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Where its chances came from.
    pub seed: u64,
    /// The minutes that were shared.
    pub minutes: f64,
    /// What was played, as git names it.
    pub commit: Option<String>,
}

/// The table, a row for each scenario that was played, and how it is played again.
pub fn table(campaign: &Campaign, played: &[(Scenario, Report)]) -> String {
    let Campaign { seed, minutes, commit } = campaign;
    let commit = commit.as_deref().unwrap_or("unknown");
    let mut text = format!("Seed {seed}, {minutes} minutes, commit {commit}.\n\n");
    text += "| scenario | faults | times | runs | decisions | violations | longest stall | at most |\n\
             | --- | --- | --: | --: | --: | --: | --: | --: |\n";
    for (scenario, report) in played {
        let Scenario { name, .. } = scenario;
        let Report { faults, runs, decisions, .. } = report;
        let (violations, stall, bound) =
            (report.violations.len(), report.stall.took.as_secs_f64(), scenario.bound.as_secs());
        let _never_fails = writeln!(
            text,
            "| `{name}` | {} | {faults} | {runs} | {decisions} | {violations} | {stall:.1} s | {bound} s |",
            rows(scenario.rows),
        );
    }
    let sum = |count: fn(&Report) -> usize| played.iter().map(|(_, report)| count(report)).sum::<usize>();
    let (faults, runs, decisions) = (sum(|report| report.faults), sum(|report| report.runs), sum(|r| r.decisions));
    let violations = sum(|report| report.violations.len());
    let _never_fails = writeln!(text, "| all | | {faults} | {runs} | {decisions} | {violations} | | |");
    text
}

/// The scenarios with what is promised of them and why, as docs/chaos.md has them.
pub fn promises(scenarios: &[Scenario]) -> String {
    let mut text =
        "| scenario | faults | what goes wrong | at most | because |\n| --- | --- | --- | --: | --- |\n".to_owned();
    for Scenario { name, rows: numbers, what, bound, why, .. } in scenarios {
        let (numbers, bound) = (rows(numbers), bound.as_secs());
        let _never_fails = writeln!(text, "| `{name}` | {numbers} | {what} | {bound} s | {why} |");
    }
    text
}

/// Rows of the matrix, as people write them.
pub fn rows(rows: &[u8]) -> String {
    if rows.is_empty() {
        return "–".to_owned();
    }
    rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::scenarios;

    #[test]
    fn a_table_says_how_it_is_played_again_and_sums_up() {
        let report = Report { faults: 2, runs: 3, decisions: 5, violations: vec!["v".to_owned()], ..Report::default() };
        let played: Vec<_> = scenarios::all().into_iter().take(2).map(|scenario| (scenario, report.clone())).collect();
        let text = table(&Campaign { seed: 7, minutes: 0.5, commit: Some("abc".to_owned()) }, &played);
        assert!(text.starts_with("Seed 7, 0.5 minutes, commit abc.\n\n| scenario |"), "{text}");
        assert!(text.ends_with("| all | | 4 | 6 | 10 | 2 | | |\n"), "{text}");
    }

    #[test]
    fn the_documentation_has_every_scenario_and_its_promise() {
        let document = include_str!("../../../docs/chaos.md");
        for line in promises(&scenarios::all()).lines() {
            assert!(document.contains(line), "docs/chaos.md lacks what chaos -- --list says: {line}");
        }
    }
}
