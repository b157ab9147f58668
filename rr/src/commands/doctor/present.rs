//! Who is there: coordinators, somebody for each partition, workers.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rr_nats::Shown;
use rr_nats::checkup::ConsumerState;
use rr_schemas::id::Partition;
use rr_schemas::name::WorkerName;
use rr_schemas::presence::WorkerPresence;
use tokio::time::sleep;

use super::finding::{Finding, NO_TIME, or_well};
use super::looking::Unseen;
use super::patient::{Partitions, Patient};
use crate::text::{between, duration_words, first_few};

const COORDINATORS: &str = "coordinators";
const PARTITIONS: &str = "partitions";
const WORKERS: &str = "workers";

/// A partition that nobody asks for is looked at again, this often and after this pause: between two requests of a
/// coordinator, or while it changes hands, nobody seems to ask for it.
const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);
/// Partitions that are asked for their oldest input, and how many of them at once.
const BACKLOGS_MAX: usize = 100;
const AT_ONCE: usize = 16;

/// Whether anybody decides.
pub(super) fn coordinators(patient: &Patient) -> Vec<Finding> {
    vec![match &patient.coordinators {
        Ok(present) if present.is_empty() => {
            let what = "no coordinator is up: nothing is decided, and what is published waits";
            Finding::bad(COORDINATORS, what, "start one: rr coordinator")
        }
        Ok(present) if present.len() == 1 => Finding::ok(COORDINATORS, "1 is up; a second one takes over when it dies"),
        Ok(present) => Finding::ok(COORDINATORS, format!("{} are up", present.len())),
        Err(error) => Finding::unseen(COORDINATORS, "who is there", error),
    }]
}

/// Whether each partition is somebody's, and how long its inputs wait.
pub(super) async fn partitions(patient: &Patient) -> Vec<Finding> {
    let (Partitions::Seen(seen), Ok(mesh)) = (&patient.partitions, &patient.mesh) else {
        let Partitions::Unseen { error, .. } = &patient.partitions else { return Vec::new() };
        return vec![Finding::unseen(PARTITIONS, "who asks for the inputs of a partition", error)];
    };
    let served = seen.iter().filter_map(|(partition, state)| Some((*partition, state.as_ref().ok()?)));
    let served: Vec<(Partition, &ConsumerState)> = served.collect();
    let mut findings = Vec::new();
    let has_backlog = |(_, state): &&(Partition, &ConsumerState)| state.has_backlog();
    let is_unread = |(_, state): &&(Partition, Result<ConsumerState, Unseen>)| {
        state.as_ref().is_err_and(|unseen| *unseen == Unseen::NoTime)
    };
    let beyond = served.iter().filter(has_backlog).skip(BACKLOGS_MAX).map(|(partition, _)| *partition);
    let mut unread: Vec<Partition> = seen.iter().filter(is_unread).map(|(partition, _)| *partition).collect();
    unread.extend(beyond);
    let backlogs = served.iter().filter(has_backlog).take(BACKLOGS_MAX);
    let backlogs = backlogs.map(|(partition, state)| async move {
        let look = mesh.oldest_input(*partition, state);
        (*partition, *state, patient.deadline.within("the oldest input", look).await)
    });
    let mut backlogs = stream::iter(backlogs).buffered(AT_ONCE);
    while let Some((partition, state, oldest)) = backlogs.next().await {
        match oldest {
            Ok(Some(at)) if patient.is_overdue(at) => {
                let n = state.undelivered + state.unacknowledged;
                let age = duration_words(between(at, patient.now()));
                let inputs = if n == 1 { "1 input is".to_owned() } else { format!("{n} inputs are") };
                let what = format!("partition p{partition}: {inputs} not answered, the oldest for {age}");
                findings.push(Finding::bad(
                    PARTITIONS,
                    what,
                    "see coordinators above, and the log of each coordinator",
                ));
            }
            Ok(_) => {}
            Err(Unseen::NoTime) => unread.push(partition),
            Err(error) => findings.push(Finding::unseen(PARTITIONS, &format!("the backlog of p{partition}"), &error)),
        }
    }
    // Where no coordinator is up, that is what is wrong.
    if patient.coordinators.as_ref().is_ok_and(|present| !present.is_empty()) {
        let unasked = served.iter().filter(|(_, state)| is_unasked(state)).map(|(partition, _)| *partition).collect();
        let unasked = still_unasked(patient, mesh, unasked, &mut unread).await;
        if !unasked.is_empty() {
            let names = first_few(unasked.iter().map(|partition| format!("p{partition}")).collect());
            let what = format!("no coordinator asks for the inputs of {names}: they are not answered");
            let cure = "look at the log of each coordinator; one that was killed is missed after seconds, and one that hangs \
                must be restarted";
            findings.push(Finding::bad(PARTITIONS, what, cure));
        }
    }
    findings.extend(not_looked_at(unread));
    if served.is_empty() {
        if let Some((_, Err(error))) = seen.first() {
            findings.push(Finding::unseen(PARTITIONS, "the partitions", error));
        }
        return findings;
    }
    let n_pinned = served.iter().filter(|(_, state)| state.is_pinned).count();
    let n = served.len();
    let waiting = duration_words(patient.waiting);
    or_well(PARTITIONS, findings, || {
        format!("{n} partitions, {n_pinned} of them pinned to a coordinator; no input has waited {waiting}")
    })
}

fn not_looked_at(mut unread: Vec<Partition>) -> Option<Finding> {
    unread.sort_unstable();
    unread.dedup();
    let n = unread.len();
    let names = first_few(unread.into_iter().map(|partition| format!("p{partition}")).collect());
    let what = format!("{n} partitions, or whether their inputs wait, were not looked at: {names}");
    (n > 0).then(|| Finding::unread(PARTITIONS, what, NO_TIME))
}

const fn is_unasked(state: &ConsumerState) -> bool {
    !state.is_pinned && state.asking == 0
}

/// Those of the partitions for which nobody asks at any of several looks. For those that there was no time for, that is not
/// known.
async fn still_unasked(
    patient: &Patient,
    mesh: &rr_nats::Mesh,
    mut unasked: Vec<Partition>,
    unread: &mut Vec<Partition>,
) -> Vec<Partition> {
    for _ in 1..LOOKS {
        if unasked.is_empty() {
            break;
        }
        sleep(PAUSE).await;
        let looks = unasked.iter().take(BACKLOGS_MAX).map(|partition| async move {
            let state = patient.deadline.within("a partition", mesh.partition_durable(*partition)).await;
            (*partition, state)
        });
        let looks: Vec<(Partition, Result<ConsumerState, Unseen>)> =
            stream::iter(looks).buffered(AT_ONCE).collect().await;
        unasked.clear();
        for (partition, state) in looks {
            match state {
                Ok(state) if is_unasked(&state) => unasked.push(partition),
                Err(Unseen::NoTime) => unread.push(partition),
                Ok(_) | Err(Unseen::Asked(_)) => {}
            }
        }
    }
    unasked
}

/// Who can be given work.
pub(super) fn workers(patient: &Patient) -> Vec<Finding> {
    let present = match &patient.workers {
        Ok(present) => present,
        Err(error) => return vec![Finding::unseen(WORKERS, "who is there", error)],
    };
    let mut findings = Vec::new();
    let n = present.len();
    if n == 0 {
        let what = "no worker is present: nothing can run";
        findings.push(Finding::warn(WORKERS, what, "start one: rr worker --hosts HOSTS --queues QUEUES"));
    }
    let mut n_joining = 0;
    match &patient.lanes {
        Ok(lanes) => {
            let known: HashSet<&WorkerName> =
                lanes.known.iter().map(|known| &known.worker).chain(&lanes.unled).collect();
            let names: HashSet<&WorkerName> = present.iter().map(|shown| &shown.value.worker).collect();
            let away = sorted(known.iter().filter(|name| !names.contains(*name)));
            if !away.is_empty() {
                let what = format!("{} known and away: {}", away.len(), first_few(away));
                findings.push(Finding::warn(WORKERS, what, "start them, or: rr worker forget NAME"));
            }
            let homeless = present.iter().filter(|shown| !known.contains(&shown.value.worker));
            // A worker shows itself before a coordinator lets it in. Where none is up, that is what is wrong.
            let may_join = patient.coordinators.as_ref().is_ok_and(|present| !present.is_empty());
            let (late, joining): (Vec<_>, Vec<_>) =
                homeless.partition(|shown| may_join && patient.is_overdue(started(shown)));
            n_joining = joining.len();
            if !late.is_empty() {
                let what = format!(
                    "present for longer than {}, but without a consumer on RR_WORK to get work from: {}",
                    duration_words(patient.waiting),
                    first_few(sorted(late.iter().map(|shown| &shown.value.worker)))
                );
                findings.push(Finding::bad(WORKERS, what, "restart them: a worker that starts asks for its consumer"));
            }
        }
        Err(error) => findings.push(Finding::unseen(WORKERS, "who is known and away", error)),
    }
    let n_draining = present.iter().filter(|shown| shown.value.draining).count();
    let draining = if n_draining > 0 { format!(", {n_draining} of them draining") } else { String::new() };
    let joining = if n_joining > 0 { format!("; {n_joining} have not joined yet") } else { String::new() };
    or_well(WORKERS, findings, || format!("{n} present{draining}{joining}"))
}

/// When a worker started, by the server's clock where the worker has said what time it is there.
fn started(shown: &Shown<WorkerPresence>) -> Timestamp {
    let since = shown.value.since;
    let skew = shown.clock.map(|clock| shown.at.duration_since(clock));
    skew.and_then(|skew| since.checked_add(skew).ok()).unwrap_or(since)
}

fn sorted(names: impl Iterator<Item = impl ToString>) -> Vec<String> {
    let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
    names.sort();
    names
}
