//! Histories that have lost their ends.
//!
//! A state in the bucket is written after the decision that it shows. Where it is ahead of the log, the log has lost what
//! came last: after a power failure, a restore of an old copy, or a purge.

use std::time::Duration;

use rr_nats::{Compared, Shortened};

use super::finding::{Finding, NO_TIME, or_well};
use super::patient::Patient;

const CHECK: &str = "history";

/// How long the history of an ended run is surely there; later it may have been forgotten on purpose.
const SURELY_KEPT: Duration = Duration::from_hours(1);

/// Runs whose states are ahead of their histories.
pub(super) async fn history(patient: &Patient) -> Vec<Finding> {
    let mesh = match &patient.mesh {
        Ok(mesh) => mesh,
        Err(error) => return vec![Finding::unseen(CHECK, "the histories of runs", error)],
    };
    let kept_since = patient.now().saturating_sub(SURELY_KEPT).unwrap_or_default();
    match patient.deadline.within("the ends of histories", mesh.shortened(kept_since, None)).await {
        Ok(Compared { shortened, is_all }) => {
            let mut found: Vec<Finding> = shortened.iter().map(told).collect();
            if !is_all {
                found.push(Finding::unread(CHECK, "more states have changed lately than were compared", NO_TIME));
            }
            or_well(CHECK, found, || {
                "no state of a run is ahead of its history, among those that changed last".to_owned()
            })
        }
        Err(error) => vec![Finding::unseen(CHECK, "the ends of histories", &error)],
    }
}

fn told(Shortened { run, shown, left }: &Shortened) -> Finding {
    let what = if *left == 0 {
        format!("the history of run {run} is gone; its state shows decision {shown}")
    } else {
        format!("the history of run {run} ends with decision {left}, and its state shows decision {shown}")
    };
    let cure = "the log has lost its end (power, an old copy, a purge): look on the hosts what this run has done, attempts \
                with on_lost fail or hold or a lock first, for they may start twice now, and ask for what is missing; where \
                there is a newer backup, stop the coordinators, delete the streams RR_* and KV_rr-*, rr restore it, and \
                start them";
    Finding::bad(CHECK, what, cure)
}
