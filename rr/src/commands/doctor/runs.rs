//! Runs that should have moved and have not.
//!
//! A run that waits has a deadline at which it is looked after, or waits for a person. So one is stuck when that deadline has
//! long passed, or when nothing can be named that it waits for.

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rr_core::Wait;
use rr_nats::{Error, Mesh};
use rr_schemas::id::RunId;

use super::finding::{Finding, or_well};
use super::looking::Unseen;
use super::patient::Patient;
use crate::follow;
use crate::text::{between, duration_words};

const CHECK: &str = "runs";

/// Runs whose history is read: those that have not changed for longest.
const READ_MAX: usize = 50;
/// The same with those that turn out to wait for a person, as long as it takes: a mesh may have many of them for weeks,
/// and they are to hide no other.
const READ_WITH_GATES_MAX: usize = 500;
/// Histories that are read at once.
const AT_ONCE: usize = 8;

/// What a run is found to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// It moves, or is over.
    Well,
    /// It waits for a person, and somebody wanted it to.
    AtGate,
    /// It should have moved.
    Stuck(Stuck),
}

/// What is wrong with a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stuck {
    /// It waits for nothing that has a name.
    ForNothing,
    /// A coordinator has still to see it.
    Unseen,
    /// It was to be looked after then.
    Overdue(Timestamp),
    /// It is held for a person.
    Held,
}

/// All runs that are under way.
pub(super) async fn runs(patient: &Patient) -> Vec<Finding> {
    let (unfinished, mesh, is_whole) = match (&patient.unfinished, &patient.mesh) {
        (Ok((unfinished, is_whole)), Ok(mesh)) => (unfinished, mesh, *is_whole),
        (Err(error), _) | (_, Err(error)) => return vec![Finding::unseen(CHECK, "the states of runs", error)],
    };
    let old: Vec<_> = unfinished.iter().filter(|run| patient.is_overdue(run.changed)).collect();
    let looks = old.iter().take(READ_WITH_GATES_MAX).map(|run| async move {
        let look = patient.deadline.within("the history of a run", look(mesh, &run.run, patient));
        (run, look.await)
    });
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    let mut findings = Vec::new();
    let (mut n_read, mut n_gates) = (0_usize, 0_usize);
    while n_read - n_gates < READ_MAX {
        let Some((run, look)) = looks.next().await else { break };
        match look {
            Ok((State::Well, _)) => {}
            Ok((State::AtGate, _)) => n_gates += 1,
            Ok((State::Stuck(stuck), last)) => {
                findings.push(told(&run.run, stuck, last.unwrap_or(run.changed), patient));
            }
            Err(Unseen::NoTime) => break,
            Err(error) => findings.push(Finding::unseen(CHECK, &format!("run {}", run.run), &error)),
        }
        n_read += 1;
    }
    let n = unfinished.len();
    let unread = old.len().saturating_sub(n_read);
    if unread > 0 {
        let have = if unread == 1 { "1 has".to_owned() } else { format!("{unread} have") };
        let what = format!("of {n} runs under way {have} not changed for long and were not looked at");
        findings.push(Finding::unread(CHECK, what, "end or wait for those that are named here, and look again"));
    }
    if !is_whole {
        let what = "there are more states of runs than are read, or time to read them: some runs may be missing here";
        findings.push(Finding::unread(CHECK, what, "let old runs go sooner, or look from nearer to the server"));
    }
    let which = if unread == 0 && is_whole { "them" } else { "those that were looked at" };
    or_well(CHECK, findings, || format!("{n} under way, none of {which} stuck"))
}

/// What a run is found to be, and when its last decision was taken.
async fn look(mesh: &Mesh, run: &RunId, patient: &Patient) -> Result<(State, Option<Timestamp>), Error> {
    let (story, last) = follow::dated_story(mesh, run).await?;
    if last.is_some_and(|last| !patient.is_overdue(last)) || story.history().run().is_final() {
        return Ok((State::Well, last));
    }
    Ok((state(&story.history().run().waits(), |at| patient.is_overdue(at)), last))
}

/// The worst of what a run waits for.
fn state(waits: &[Wait], is_overdue: impl Fn(Timestamp) -> bool) -> State {
    if waits.is_empty() {
        return State::Stuck(Stuck::ForNothing);
    }
    let (mut first, mut is_unseen, mut is_held, mut is_at_gate) = (None::<Timestamp>, false, false, false);
    for wait in waits {
        match wait {
            Wait::Worker { until, .. }
            | Wait::Report { until, .. }
            | Wait::Retry { until, .. }
            | Wait::Signal { until: Some(until), .. } => {
                first = Some(first.map_or(*until, |first| first.min(*until)));
            }
            Wait::Coordinator => is_unseen = true,
            Wait::Person { .. } => is_held = true,
            // Somebody wanted it to wait for as long as it takes.
            Wait::Signal { until: None, .. } => is_at_gate = true,
            // For others of the same run, which are waited for themselves.
            Wait::Window { .. } | Wait::Needs { .. } => {}
        }
    }
    match first {
        Some(until) if is_overdue(until) => State::Stuck(Stuck::Overdue(until)),
        _ if is_unseen => State::Stuck(Stuck::Unseen),
        _ if is_held => State::Stuck(Stuck::Held),
        None if !is_at_gate => State::Stuck(Stuck::ForNothing),
        None => State::AtGate,
        Some(_) => State::Well,
    }
}

fn told(run: &RunId, stuck: Stuck, last: Timestamp, patient: &Patient) -> Finding {
    let now = patient.now();
    let age = duration_words(between(last, now));
    let look = format!("rr why {run} says more; rr cancel {run} ends it");
    match stuck {
        Stuck::ForNothing => {
            let what = format!("run {run} has not moved for {age}, and waits for nothing that has a name");
            Finding::bad(
                CHECK,
                what,
                format!("this is a bug in rr; please report it with rr show {run} --json; {look}"),
            )
        }
        Stuck::Unseen => {
            let what = format!("run {run} has waited for a coordinator for {age}");
            Finding::bad(CHECK, what, format!("see coordinators and partitions above; {look}"))
        }
        Stuck::Overdue(until) => {
            let late = duration_words(between(until, now));
            let what = format!("run {run} has not moved for {age}, and was to be looked after {late} ago");
            Finding::bad(CHECK, what, format!("see coordinators and partitions above; {look}"))
        }
        Stuck::Held => {
            let what = format!("run {run} has been held for {age}: a worker was lost, and a person must decide");
            Finding::warn(CHECK, what, look)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rr_schemas::ranges::Ranges;

    #[test]
    fn a_run_is_stuck_when_its_deadline_is_long_over_or_there_is_none() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (job, tasks) = (|| "a".parse().unwrap(), Ranges::new);
        let retry = |second| Wait::Retry { job: job(), tasks: tasks(), until: at(second) };
        let held = || Wait::Person { job: job(), tasks: tasks() };
        let needs = || Wait::Needs { job: job(), unmet: 1 };
        let gate = |until| Wait::Signal { job: job(), signal: job(), until };
        for (waits, expected) in [
            (vec![], State::Stuck(Stuck::ForNothing)),
            (vec![needs()], State::Stuck(Stuck::ForNothing)),
            (vec![needs(), retry(200)], State::Well),
            (vec![retry(200), retry(50)], State::Stuck(Stuck::Overdue(at(50)))),
            (vec![held(), retry(50)], State::Stuck(Stuck::Overdue(at(50)))),
            (vec![held(), retry(200)], State::Stuck(Stuck::Held)),
            (vec![Wait::Coordinator], State::Stuck(Stuck::Unseen)),
            (vec![gate(None), needs()], State::AtGate),
            (vec![gate(None), retry(200)], State::Well),
            (vec![gate(None), retry(50)], State::Stuck(Stuck::Overdue(at(50)))),
            (vec![gate(Some(at(50)))], State::Stuck(Stuck::Overdue(at(50)))),
            (vec![gate(None), held()], State::Stuck(Stuck::Held)),
        ] {
            assert_eq!(state(&waits, |until| until < at(100)), expected, "{waits:?}");
        }
    }
}
