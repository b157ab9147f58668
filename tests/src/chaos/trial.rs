//! The trial: every run that was asked for has ended, ended right by its history, and the bucket says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rr_core::{Run, Wait};
use rr_nats::Mesh;
use rr_schemas::decision::{Event, RunStatus};
use rr_schemas::id::{EntityId, RunId};
use rr_schemas::input::{Cancel, Input};
use rr_schemas::report::Outcome;
use rr_schemas::view::RunView;
use tokio::time::{Instant, sleep};

use super::flows::Then;
use super::load::Asked;
use super::scenario::Report;
use super::stage::Losses;
use super::stall::{self, Outage};
use super::strike::Life;
use crate::mesh::Timing;
use crate::verdict::Verdict;

/// Pause between two looks at runs that are not over.
const LOOK: Duration = Duration::from_millis(300);
/// What a worker says of an offer that it does not know, and that was handed out before.
const SECOND_TIME: &str = "offer came a second time";
/// How much later than the end of a run the bucket may say so.
const SHOWN: Duration = Duration::from_secs(15);
/// Messages of the quarantine that are read: more than any scenario puts there.
const ASIDE_MAX: usize = 10_000;

/// What is needed to judge.
#[derive(Debug)]
pub struct Trial<'s> {
    /// The mesh.
    pub mesh: &'s Mesh,
    /// Its times.
    pub timing: Timing,
    /// When nobody could have decided anything.
    pub outages: &'s [Outage],
    /// Whether inputs may be put aside: what is planted, and what is said of attempts that the log has lost.
    pub puts_aside: bool,
    /// Whether attempts may be called lost.
    pub losses: Losses,
}

impl Trial<'_> {
    /// Waits until the runs are over, and does to them what is done at the end. Tells those that are.
    pub async fn settle(&self, asked: &[Asked], limit: Duration, report: &mut Report) -> Vec<Asked> {
        let until = Instant::now() + limit;
        let (mut over, mut left) = (Vec::new(), asked.to_vec());
        while !left.is_empty() && Instant::now() < until {
            let mut still = Vec::new();
            for one in left {
                if self.is_over(&one).await {
                    over.push(one);
                } else {
                    still.push(one);
                }
            }
            left = still;
            sleep(LOOK).await;
        }
        for one in &left {
            let (status, waits) = (self.mesh.status(&one.run).await, self.waits(&one.run).await);
            let status = status.map(|entry| entry.map(|entry| (entry.n, entry.view.status)));
            report.violations.push(format!("run {} does not end: {status:?}, waits for {waits:?}", one.run));
        }
        over
    }

    async fn is_over(&self, one: &Asked) -> bool {
        let Ok(status) = self.mesh.status(&one.run).await else { return false };
        let is_over = status.is_some_and(|entry| entry.view.status.is_final());
        let is_held = |wait: &Wait| matches!(wait, Wait::Person { .. });
        if !is_over && one.kind.then == Then::CancelIfHeld && self.waits(&one.run).await.iter().any(is_held) {
            let cancel = Input::Cancel(Cancel { by: "chaos".to_owned(), reason: None });
            // What is not confirmed is said again at the next look.
            let _said = self.mesh.request(&EntityId::from(&one.run), "chaos", &cancel).await;
        }
        is_over
    }

    async fn waits(&self, run: &RunId) -> Vec<Wait> {
        let read = Verdict::read(self.mesh, run, &BTreeSet::new()).await;
        read.map(|verdict| self.folded(run, &verdict).waits()).unwrap_or_default()
    }

    fn folded(&self, run: &RunId, verdict: &Verdict) -> Run {
        let mut state = Run::new(run.clone(), self.timing.policy());
        for record in verdict.records() {
            // An event that does not fit is the judge's affair.
            let _judged = state.apply(record);
        }
        state
    }

    /// Judges runs that are over, beside what attempts have noted as they began. Tells when each was under way.
    pub async fn judge(&self, asked: &[Asked], starts: &str, report: &mut Report) -> Vec<Life> {
        let mut lives = Vec::new();
        let mut aside = match self.mesh.quarantined(ASIDE_MAX).await {
            Ok((aside, _)) => aside,
            Err(error) => {
                report.violations.push(format!("the quarantine cannot be read: {error}"));
                return lives;
            }
        };
        aside.retain(|one| one.subject.starts_with("rr.in."));
        report.demand(self.puts_aside || aside.is_empty(), || format!("inputs were put aside: {aside:#?}"));
        let aside = aside.into_iter().map(|one| one.was).collect();
        let starts = read_starts(starts, report);
        for one in asked {
            let run = &one.run;
            let verdict = match Verdict::read(self.mesh, run, &aside).await {
                Ok(verdict) => verdict,
                Err(error) => {
                    report.violations.push(format!("the history of {run} cannot be read: {error}"));
                    continue;
                }
            };
            report.runs += 1;
            report.decisions += verdict.decisions.len();
            let found = verdict.violations(run, self.timing);
            report.violations.extend(found.into_iter().map(|found| format!("run {run}: {found}")));
            self.ends_right(one, &verdict, report);
            self.nothing_is_lost(run, &verdict, report);
            let view = self.folded(run, &verdict).view();
            let n = verdict.decisions.last().map_or(0, |last| last.decision.n);
            self.is_shown(n, &view, report).await;
            let started = starts.get(run.as_str()).map(Vec::as_slice).unwrap_or_default();
            was_started_as_decided(one, &verdict, started, report);
            let stall = stall::longest(run, one.wanted, &verdict, self.timing.policy(), self.outages);
            report.stall = report.stall.clone().max(stall);
            lives.push(Life { wanted: one.wanted, decided: verdict.at });
        }
        lives
    }

    /// Where every worker was there all the time, nothing was lost.
    fn nothing_is_lost(&self, run: &RunId, verdict: &Verdict, report: &mut Report) {
        for event in verdict.events() {
            let Event::Ended { task, attempt, end, .. } = event else { continue };
            let is_second = end.reason.as_deref() == Some(SECOND_TIME);
            let is_right = match self.losses {
                Losses::Possible => true,
                Losses::Undelivered => end.outcome != Outcome::Lost || is_second,
                Losses::Never => end.outcome != Outcome::Lost,
            };
            report.demand(is_right, || {
                format!("{run}: task {task}, attempt {attempt} is lost, and every worker was there: {end:?}")
            });
        }
    }

    fn ends_right(&self, one: &Asked, verdict: &Verdict, report: &mut Report) {
        let Asked { run, kind, .. } = one;
        let status = self.folded(run, verdict).status();
        report.demand(kind.ends.contains(&status), || {
            format!("run {run} ends {}: {:#?}", status.word(), verdict.records().collect::<Vec<_>>())
        });
        let may_succeed = kind.ends.contains(&RunStatus::Succeeded) && kind.then != Then::Cancel;
        if may_succeed && status != RunStatus::Succeeded && kind.ends.contains(&status) {
            let is_lost = |event: &Event| {
                matches!(event, Event::Held { .. })
                    || matches!(event, Event::Ended { end, .. } if end.outcome == Outcome::Lost)
            };
            report.demand(verdict.events().any(is_lost), || {
                format!("run {run} ends {} and nobody was lost", status.word())
            });
        }
    }

    /// What the bucket shows is what follows from the history.
    async fn is_shown(&self, n: u64, view: &RunView, report: &mut Report) {
        let until = Instant::now() + SHOWN;
        loop {
            match self.mesh.status(&view.run).await {
                // What came late may not be shown.
                Ok(Some(shown)) if shown.view == *view && shown.n <= n => return,
                _ if Instant::now() < until => sleep(LOOK).await,
                other => {
                    let text =
                        format!("rr-runs differs from the history of {}: {other:#?}, not {n}: {view:#?}", view.run);
                    return report.violations.push(text);
                }
            }
        }
    }
}

/// An attempt that has begun.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Start {
    task: u32,
    attempt: u32,
    worker: String,
}

/// What was started was handed out, at most once to each worker, and once at all where it was claimed; and nothing
/// succeeded that was not started.
fn was_started_as_decided(one: &Asked, verdict: &Verdict, starts: &[Start], report: &mut Report) {
    let run = &one.run;
    let offered: BTreeSet<(u32, u32)> = verdict
        .events()
        .filter_map(
            |event| if let Event::Offered { tasks, attempt, .. } = event { Some((tasks, *attempt)) } else { None },
        )
        .flat_map(|(tasks, attempt)| tasks.iter().map(move |task| (task, attempt)))
        .collect();
    let mut seen: BTreeMap<(u32, u32), BTreeSet<&str>> = BTreeMap::new();
    for start in starts {
        let Start { task, attempt, worker } = start;
        report.demand(offered.contains(&(*task, *attempt)), || format!("{run}: {start:?} was never handed out"));
        let by = seen.entry((*task, *attempt)).or_default();
        report.demand(by.insert(worker), || format!("{run}: {start:?} began twice"));
        report.demand(!one.kind.once || by.len() == 1, || format!("{run}: {start:?} is claimed, and began on {by:?}"));
    }
    for event in verdict.events() {
        if let Event::Ended { task, attempt, end, .. } = event
            && end.outcome == Outcome::Ok
        {
            report.demand(seen.contains_key(&(*task, *attempt)), || {
                format!("{run}: task {task}, attempt {attempt} succeeded and never began")
            });
        }
    }
}

/// What was started, by run.
fn read_starts(noted: &str, report: &mut Report) -> BTreeMap<String, Vec<Start>> {
    let mut starts: BTreeMap<String, Vec<Start>> = BTreeMap::new();
    for line in noted.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let read = match words.as_slice() {
            [run, task, attempt, worker] => {
                let numbers = task.parse().ok().zip(attempt.parse().ok());
                numbers.map(|(task, attempt)| (*run, Start { task, attempt, worker: (*worker).to_owned() }))
            }
            _ => None,
        };
        match read {
            Some((run, start)) => starts.entry(run.to_owned()).or_default().push(start),
            None => report.violations.push(format!("an attempt has noted {line:?}")),
        }
    }
    starts
}
