//! Offers that nobody who is present could ever take.

mod served;

use futures::{StreamExt as _, stream};
use rr_nats::checkup::OldestOffer;
use rr_schemas::name::WorkerName;
use rr_schemas::offer::Target;

use self::served::{Served, says_so};
use super::finding::{Finding, NO_TIME, or_well};
use super::looking::Unseen;
use super::patient::Patient;
use crate::text::{between, duration_words};

const CHECK: &str = "offers";

/// Targets without a worker that are asked for their oldest offer, and how many of them at once.
const TARGETS_MAX: usize = 100;
const AT_ONCE: usize = 16;

/// What waits for somebody who is not there.
pub(super) async fn offers(patient: &Patient) -> Vec<Finding> {
    let (open, workers, mesh) = match (&patient.offers, &patient.workers, &patient.mesh) {
        (Ok(open), Ok(workers), Ok(mesh)) => (open, workers, mesh),
        (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => {
            return vec![Finding::unseen(CHECK, "offers and who serves them", error)];
        }
    };
    let served = Served::by(workers, patient.lanes.as_ref().ok());
    let unserved: Vec<(&Target, u64)> =
        open.targets.iter().filter(|(target, _)| !served.holds(target)).map(|(target, n)| (target, *n)).collect();
    let mut findings = Vec::new();
    let mut n_unread = 0_usize;
    let looks = unserved.iter().take(TARGETS_MAX).map(|(target, n)| async move {
        (*target, *n, patient.deadline.within("the oldest offer", mesh.oldest_offer(target)).await)
    });
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    while let Some((target, n, oldest)) = looks.next().await {
        match oldest {
            Ok(Some(oldest)) if patient.is_overdue(oldest.at) => {
                findings.push(waiting(patient, target, n, &oldest, says_so(workers, target)));
            }
            Ok(_) => {}
            Err(Unseen::NoTime) => n_unread += 1,
            Err(error) if error.is_denied() => {
                let what = format!("{} that nobody present serves; since when", counted(n, target));
                findings.push(Finding::unseen(CHECK, &what, &error));
            }
            Err(error) => findings.push(Finding::unseen(CHECK, &counted(n, target), &error)),
        }
    }
    if let Some(rest) = unserved.len().checked_sub(TARGETS_MAX).filter(|rest| *rest > 0) {
        let what = format!("{rest} more targets have offers, and nobody present serves them");
        findings.push(Finding::warn(CHECK, what, "start workers for what is named here, and look again"));
    }
    if n_unread > 0 {
        let what = format!("{n_unread} targets have offers that nobody present serves; since when was not looked at");
        findings.push(Finding::unread(CHECK, what, NO_TIME));
    }
    if open.uncounted > 0 {
        let what = format!("{} offers more were not looked at", open.uncounted);
        let cure = "start workers, or end runs, until there are fewer, and look again";
        findings.push(Finding::unread(CHECK, what, cure));
    }
    let n: u64 = open.targets.values().sum();
    let young = if unserved.is_empty() { String::new() } else { format!("; {} have nobody now", unserved.len()) };
    let waiting = duration_words(patient.waiting);
    or_well(CHECK, findings, || {
        format!("{n} offers wait or run, and none has waited {waiting} without anybody who serves it{young}")
    })
}

fn waiting(patient: &Patient, target: &Target, n: u64, oldest: &OldestOffer, claims: Option<&WorkerName>) -> Finding {
    let run = &oldest.run;
    let age = duration_words(between(oldest.at, patient.now()));
    let what =
        format!("{} wait and nobody present serves that, the oldest for {age}, of run {run}", counted(n, target));
    if let Some(worker) = claims {
        let what = format!("{what}; worker {worker} says that it does, but its consumer on RR_WORK does not have it");
        let cure = format!(
            "wait 2 minutes, for it asks again whether it has what it serves; else read its log, and restart it; or end the \
             run: rr cancel {run}"
        );
        return Finding::bad(CHECK, what, cure);
    }
    let start = match target {
        Target::Host(host) => format!("rr worker --hosts {host}"),
        Target::Queue(queue) => format!("rr worker --queues {queue}"),
        Target::Worker(worker) => format!("the worker {worker} again"),
    };
    Finding::bad(CHECK, what, format!("start {start}, or end the run: rr cancel {run}"))
}

/// `3 offers for queue build`.
fn counted(n: u64, target: &Target) -> String {
    let offers = if n == 1 { "offer" } else { "offers" };
    match target {
        Target::Host(host) => format!("{n} {offers} for host {host}"),
        Target::Queue(queue) => format!("{n} {offers} for queue {queue}"),
        Target::Worker(worker) => format!("{n} {offers} for worker {worker}"),
    }
}
