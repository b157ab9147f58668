//! What a check has found.

use rr_nats::Error;
use serde::Serialize;

use super::looking::Unseen;

/// Findings of one check that are shown one by one.
const SHOWN_MAX: usize = 10;

/// What to do where there was no time left to look.
pub(super) const NO_TIME: &str = "look again from nearer to the server, or when it has less to do";

/// How a mesh stands in one respect.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// Well.
    Ok,
    /// It cannot be seen from here.
    Unknown,
    /// It works, and somebody should know.
    Warn,
    /// Work is not done, or may be lost, until somebody does something.
    Bad,
}

/// One thing that a check has found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Finding {
    /// The check.
    pub(super) check: &'static str,
    /// How bad it is.
    pub(super) level: Level,
    /// What was found.
    pub(super) what: String,
    /// What to do about it.
    pub(super) cure: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, what: what.into(), cure: None }
    }

    pub(super) fn warn(check: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, what: what.into(), cure: Some(cure.into()) }
    }

    pub(super) fn bad(check: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check, level: Level::Bad, what: what.into(), cure: Some(cure.into()) }
    }

    /// Something that was not looked at, as there was too much of it.
    pub(super) fn unread(check: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { check, level: Level::Unknown, what: what.into(), cure: Some(cure.into()) }
    }

    /// Something that could not be looked at.
    pub(super) fn unseen(check: &'static str, what: &str, unseen: &Unseen) -> Self {
        let cure = match unseen {
            Unseen::NoTime => NO_TIME,
            Unseen::Asked(Error::Denied { .. }) => "ask as a coordinator or an admin, who may look at it",
            Unseen::Asked(Error::NotFound { .. } | Error::LogGone { .. }) => "see what drift says",
            Unseen::Asked(Error::Unreachable(_) | Error::Timeout { .. } | Error::Behind { .. }) => {
                "see what quorum says, and try again"
            }
            Unseen::Asked(
                Error::Drift { .. }
                | Error::Replicas { .. }
                | Error::TooOld { .. }
                | Error::JetStreamOff
                | Error::Refused { .. }
                | Error::Answer(_),
            ) => "see what the server says",
        };
        let what = format!("{what} cannot be seen: {unseen}");
        Self { check, level: Level::Unknown, what, cure: Some(cure.to_owned()) }
    }
}

/// The worst of all levels.
pub(super) fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
}

/// The worst findings of one check, and how many there are besides; where there are none, that it is well.
pub(super) fn or_well(check: &'static str, mut findings: Vec<Finding>, well: impl FnOnce() -> String) -> Vec<Finding> {
    if findings.iter().all(|finding| finding.level == Level::Unknown) {
        findings.insert(0, Finding::ok(check, well()));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let rest = findings.split_off(findings.len().min(SHOWN_MAX));
    if let Some(first) = rest.first() {
        let what = format!("{} more findings of this kind", rest.len());
        findings.push(Finding { check, level: first.level, what, cure: first.cure.clone() });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_findings_are_counted_and_the_worst_come_first() {
        let mut found: Vec<Finding> = (0..20).map(|n| Finding::warn("x", n.to_string(), "y")).collect();
        found.push(Finding::bad("x", "worst", "y"));
        let shown = or_well("x", found, || unreachable!());
        assert_eq!((shown.len(), shown[0].what.as_str()), (SHOWN_MAX + 1, "worst"));
        assert_eq!(shown[SHOWN_MAX].what, "11 more findings of this kind");
        assert_eq!(worst(&shown), Level::Bad);
    }

    #[test]
    fn what_cannot_be_seen_is_neither_well_nor_bad() {
        let error = Unseen::Asked(Error::Denied { subject: "$JS.API.INFO".to_owned() });
        let shown = or_well("x", vec![Finding::unseen("x", "the account", &error)], || "the rest is well".to_owned());
        assert_eq!(shown[0].what, "the account cannot be seen: permission denied: $JS.API.INFO");
        assert_eq!(shown[1], Finding::ok("x", "the rest is well"));
        assert_eq!(worst(&shown), Level::Unknown);
    }
}
