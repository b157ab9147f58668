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
use super::patient::{Patient, within};
use crate::follow;
use crate::text::{between, duration_words};

const CHECK: &str = "runs";

/// Runs whose history is read: those that have not changed for longest. How many of them at once.
const READ_MAX: usize = 50;
const AT_ONCE: usize = 8;

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
    let looks = old.iter().take(READ_MAX).map(|run| async move {
        let look = within("the history of a run", look(mesh, &run.run, patient));
        (run, look.await)
    });
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    let mut findings = Vec::new();
    while let Some((run, look)) = looks.next().await {
        match look {
            Ok(None) => {}
            Ok(Some((stuck, last))) => findings.push(told(&run.run, stuck, last.unwrap_or(run.changed), patient)),
            Err(error) => findings.push(Finding::unseen(CHECK, &format!("run {}", run.run), &error)),
        }
    }
    let n = unfinished.len();
    let unread = old.len().saturating_sub(READ_MAX);
    let unread =
        if unread > 0 { format!("; {unread} of them that have not changed were not looked at") } else { String::new() };
    let whole = if is_whole { "" } else { "; there are more states than are looked at" };
    or_well(CHECK, findings, || format!("{n} under way, none of them stuck{unread}{whole}"))
}

/// What is wrong with a run, if anything is, and when its last decision was taken.
async fn look(mesh: &Mesh, run: &RunId, patient: &Patient) -> Result<Option<(Stuck, Option<Timestamp>)>, Error> {
    let (story, last) = follow::dated_story(mesh, run).await?;
    if last.is_some_and(|last| !patient.is_overdue(last)) || story.history().run().is_final() {
        return Ok(None);
    }
    let stuck = stuck(&story.history().run().waits(), |at| patient.is_overdue(at));
    Ok(stuck.map(|stuck| (stuck, last)))
}

/// The worst of what a run waits for.
fn stuck(waits: &[Wait], is_overdue: impl Fn(Timestamp) -> bool) -> Option<Stuck> {
    if waits.is_empty() {
        return Some(Stuck::ForNothing);
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
        Some(until) if is_overdue(until) => Some(Stuck::Overdue(until)),
        _ if is_unseen => Some(Stuck::Unseen),
        _ if is_held => Some(Stuck::Held),
        None if !is_at_gate => Some(Stuck::ForNothing),
        Some(_) | None => None,
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
        for (waits, expected) in [
            (vec![], Some(Stuck::ForNothing)),
            (vec![needs()], Some(Stuck::ForNothing)),
            (vec![needs(), retry(200)], None),
            (vec![retry(200), retry(50)], Some(Stuck::Overdue(at(50)))),
            (vec![held(), retry(50)], Some(Stuck::Overdue(at(50)))),
            (vec![held(), retry(200)], Some(Stuck::Held)),
            (vec![Wait::Coordinator], Some(Stuck::Unseen)),
        ] {
            assert_eq!(stuck(&waits, |until| until < at(100)), expected, "{waits:?}");
        }
    }
}
