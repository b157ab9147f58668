//! What each event rests on: an input that is there, can be believed, and says it.

use rr_schemas::{
    decision::{Event, Record},
    id::RunId,
    input::{Holder, Input, Source},
    report::{Ended, Outcome, What},
    retry::{Carried, RetryOf},
};

use super::{
    Said,
    heard::{Heard, any_report_of, leaves_behind},
    looked::seen,
    standing::Standings,
};
use crate::{Findings, Rule, records::taken_over_in_vain};

impl Heard<'_> {
    /// Each event cites an input that is there and says so; the end of an attempt cites the report of who is said to have
    /// ended it, or what was seen of it.
    pub(super) fn check_causes(&self, findings: &mut Findings) {
        let mut standings = self.plan.as_ref().map(Standings::new);
        for record in &self.log {
            self.check_cause(record, standings.as_ref(), findings);
            if let Some(standings) = &mut standings {
                standings.fold(record);
            }
        }
    }

    fn check_cause(&self, record: &Record, standings: Option<&Standings<'_>>, findings: &mut Findings) {
        let at = record.cause;
        if let Some(why) = self.whole.bad.get(&at).filter(|_| !leaves_behind(record)) {
            findings.demand(false, Rule::Readable, at, || {
                format!("{} follows from a message that cannot be believed: {why}", name(record))
            });
            return;
        }
        let Some(cause) = self.inputs.get(&at) else {
            let is_forged = self.whole.inputs.iter().any(|said| said.seq == at) && !leaves_behind(record);
            findings.demand(!is_forged, Rule::Readable, at, || {
                format!("{} follows from a message without the token of its attempt", name(record))
            });
            let is_left = leaves_behind(record);
            findings.demand(is_left || is_forged, Rule::Cause, at, || {
                format!("{} cites an input that is not there", name(record))
            });
            return;
        };
        self.check_time(record, findings);
        self.check_said(record, cause, standings, findings);
    }

    /// The time of an event is that of its cause, or of a later input that was answered before.
    fn check_time(&self, record: &Record, findings: &mut Findings) {
        let Some(stored) = self.whole.times.get(&record.cause) else { return };
        if *stored == record.at {
            return;
        }
        // The stream's clock may step back; a run's own time does not.
        let latest = self.whole.times.range(..=record.cause).map(|(_, at)| *at).max();
        let fits = record.at >= *stored && latest.is_none_or(|latest| record.at <= latest);
        findings.demand(fits, Rule::Time, record.cause, || {
            format!("{} is of {}, and its cause was stored at {stored}", name(record), record.at)
        });
    }

    fn check_said(&self, record: &Record, cause: &Said, standings: Option<&Standings<'_>>, findings: &mut Findings) {
        let at = record.cause;
        let report = any_report_of(cause);
        match &record.event {
            Event::Submitted { flow, params, by, retry_of, .. } => {
                let Input::Submit(asked) = &cause.input else {
                    return findings.demand(false, Rule::Cause, at, || "nobody asked for the run".into());
                };
                let same = asked.flow == **flow && asked.params == *params && asked.by == *by;
                findings.demand(same, Rule::Cause, at, || "the run is not what was asked for".into());
                self.check_taken_over(at, asked.retry_of.as_ref(), retry_of.as_deref(), findings);
            }
            Event::CancelRequested { by, reason } => {
                let same =
                    matches!(&cause.input, Input::Cancel(cancel) if (&cancel.by, &cancel.reason) == (by, reason));
                findings.demand(same, Rule::Cause, at, || format!("{by} did not ask so to cancel the run"));
            }
            Event::Started { task, attempt, by } => {
                self.check_place(at, *task, by, findings);
                let by_claim = matches!((&cause.input, &cause.source), (Input::Claim(claim), Source::Claim { .. })
                    if (claim.task, claim.attempt) == (*task, *attempt)
                        && claim.worker == by.worker && claim.instance == by.instance);
                let by_report = report.as_ref().is_some_and(|(report, who)| {
                    matches!(report.what, What::Started { .. })
                        && (report.task, report.attempt, who) == (*task, *attempt, by)
                });
                findings.demand(by_claim || by_report, Rule::Cause, at, || {
                    format!("{} did not say that it runs attempt {attempt} of task {task}", by.worker)
                });
            }
            Event::Late { task, attempt, by, outcome } => {
                let same = report.as_ref().is_some_and(|(report, who)| {
                    let said = match &report.what {
                        What::Ended(end) => Some(end.outcome),
                        What::Started { .. } | What::Returned {} => None,
                    };
                    (report.task, report.attempt, who) == (*task, *attempt, by) && said == *outcome
                });
                findings.demand(same, Rule::Cause, at, || format!("{} made no such report of task {task}", by.worker));
            }
            Event::Held { task, attempt } => self.check_held((at, cause), (*task, *attempt), standings, findings),
            Event::Ended { task, attempt, by, end, .. } => {
                if let Some(seen) = seen(cause) {
                    self.check_seen(record, (*task, *attempt, by.as_ref(), end), (seen, standings), findings);
                } else {
                    self.check_reported(at, (*task, *attempt, by.as_ref(), end), cause, findings);
                    let open = standings.and_then(|standings| standings.open(*task, *attempt));
                    if let Some((open, by)) = open.zip(by.as_ref()).filter(|_| end.outcome == Outcome::Lost) {
                        findings.demand(self.may_lose(*task, by, &open), Rule::Presence, at, || {
                            format!("task {task} is lost as {} says, while {}", by.worker, open.runs.text())
                        });
                    }
                }
            }
            Event::Offered { tasks, attempt, offer, .. } => {
                self.check_again((at, cause), (tasks, *attempt, *offer), standings, findings);
            }
            Event::Rejected { .. }
            | Event::Extended { .. }
            | Event::Returned { .. }
            | Event::Signalled { .. }
            | Event::DeadlinePassed {}
            | Event::JobEnded { .. }
            | Event::RunEnded { .. }
            | Event::PutAside { .. } => {}
        }
    }

    /// A run takes over from the run that was asked for, and nothing where that was not asked for.
    fn check_taken_over(&self, at: u64, asked: Option<&RetryOf>, taken: Option<&Carried>, findings: &mut Findings) {
        let run = |run: Option<&RunId>| run.map_or_else(|| "none".to_owned(), |run| format!("run {run}"));
        let (earlier, from) = (asked.map(|asked| &asked.run), taken.map(|taken| &taken.run));
        findings.demand(earlier == from, Rule::Cause, at, || {
            format!("the run was to retry {}, and takes over from {}", run(earlier), run(from))
        });
        let Some(((asked, taken), plan)) = asked.zip(taken).zip(self.plan.as_ref()) else { return };
        let in_vain = taken_over_in_vain(plan, taken, asked.again);
        findings.demand(in_vain.is_none(), Rule::Cause, at, || {
            let job = in_vain.unwrap_or_default();
            format!("what failed in job {job} was to run again, and is taken over")
        });
    }

    fn check_reported(
        &self,
        at: u64,
        (task, attempt, by, end): (u32, u32, Option<&Holder>, &Ended),
        cause: &Said,
        findings: &mut Findings,
    ) {
        let said = any_report_of(cause).and_then(|(report, who)| match &report.what {
            What::Ended(said) if (report.task, report.attempt) == (task, attempt) && Some(&who) == by => Some(said),
            What::Ended(_) | What::Started { .. } | What::Returned {} => None,
        });
        let who = by.map_or("somebody", |by| by.worker.as_str());
        let Some(said) = said else {
            return findings.demand(false, Rule::Cause, at, || {
                format!("task {task}, attempt {attempt} ends by a report that {who} did not make")
            });
        };
        if let Some(by) = by {
            self.check_place(at, task, by, findings);
        }
        let same = said.outcome == end.outcome && said.exit_code == end.exit_code && said.signal == end.signal;
        findings.demand(same, Rule::Outcome, at, || {
            let (was, is) = (said.outcome.word(), end.outcome.word());
            format!(
                "{who} reports {was} ({:?}) of task {task}, and it counts as {is} ({:?})",
                said.exit_code, end.exit_code
            )
        });
        let counted = said.output == end.output;
        findings
            .demand(counted, Rule::Output, at, || format!("{who} has another account of the output of task {task}"));
    }

    fn check_place(&self, at: u64, task: u32, by: &Holder, findings: &mut Findings) {
        let fits = self.may_run(task, by);
        findings
            .demand(fits, Rule::Presence, at, || format!("{} runs task {task}, which is another worker's", by.worker));
    }
}

/// An event in a word or two.
fn name(record: &Record) -> String {
    let text = format!("{:?}", record.event);
    let end = text.find([' ', '{']).unwrap_or(text.len());
    format!("event {}", text.get(..end).unwrap_or_default())
}
