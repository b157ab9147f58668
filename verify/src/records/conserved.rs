//! Conservation at each event: the fold counts every target once, and as the events say. What an event does not touch is not
//! looked at again, so a run costs as much as it has events and tasks.

use rr_core::run::counts::Counts;
use rr_schemas::{
    decision::{Event, Record},
    ranges::Ranges,
    view::TaskStatus,
};

use super::{Judge, tally::Tally};
use crate::Rule;

impl Judge<'_> {
    /// Folds an event that was judged, and looks at what it has touched. Where something else is wrong already, the fold and the
    /// judge may well disagree.
    pub(super) fn fold(&mut self, record: &Record) {
        if self.illegal.is_some() {
            return;
        }
        if let Err(error) = self.history.apply(record) {
            self.illegal = Some((record.cause, error.to_string()));
            return;
        }
        if self.findings.0.is_empty() {
            self.check_conserved(record);
        }
    }

    fn check_conserved(&mut self, record: &Record) {
        let at = record.cause;
        let (job, tasks) = match &record.event {
            Event::Offered { job, tasks, .. } => (self.plan.job_named(job), tasks.clone()),
            Event::Started { task, .. }
            | Event::Ended { task, .. }
            | Event::Returned { task, .. }
            | Event::Held { task, .. } => (self.plan.job_of(*task), Ranges::from(*task..=*task)),
            Event::JobEnded { job, .. } => (self.plan.job_named(job), Ranges::new()),
            Event::Submitted { .. }
            | Event::Rejected { .. }
            | Event::Extended { .. }
            | Event::Late { .. }
            | Event::Signalled { .. }
            | Event::CancelRequested { .. }
            | Event::DeadlinePassed {}
            | Event::RunEnded { .. }
            | Event::PutAside { .. } => return,
        };
        let Some((index, planned)) = job.and_then(|index| Some((index, self.plan.jobs().get(index)?))) else { return };
        let counts = self.history.run().counts(index).unwrap_or_default();
        let tally = self.tally(index);
        self.findings.demand(is_conserved(counts, tally, planned.n), Rule::Conservation, at, || {
            format!("{} has {} targets, which are {tally:?}, and is folded to {counts:?}", planned.name, planned.n)
        });
        for number in tasks.iter() {
            let task = self.tasks.get(&number).copied().unwrap_or_default();
            let folded = self.history.run().task(number).map(|(status, _)| status);
            let over = task.last.map(TaskStatus::from);
            let fits = match folded {
                Some(TaskStatus::Offered | TaskStatus::Running) => task.open,
                Some(TaskStatus::Lost) => task.open || over == folded,
                Some(TaskStatus::Waiting) => !task.open && task.due.is_some(),
                // One that waits for its next attempt is given up when its job has no hope.
                folded => !task.open && folded.is_some() && over == folded,
            };
            self.findings.demand(fits, Rule::Conservation, at, || {
                let folded = folded.map_or("nothing", TaskStatus::word);
                format!("task {number} is {task:?}, and is folded to {folded}")
            });
        }
    }
}

/// Whether each target is counted once, and as the events say. Those between two attempts may have been given up, as bad.
fn is_conserved(counts: Counts, tally: Tally, n: u32) -> bool {
    let Counts { ok, bad, skipped, open, delayed, waiting } = counts;
    let between = tally.busy.saturating_sub(tally.open);
    let (given_up, over) = (bad + skipped, tally.bad + tally.skipped);
    ok + bad + skipped + open + delayed + waiting == n
        && ok == tally.ok
        && open == tally.open
        && n.checked_sub(tally.known) == Some(waiting)
        && given_up >= over
        && given_up + delayed == over + between
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_counted_once_and_as_the_events_say() {
        let good = Counts { ok: 1, bad: 2, skipped: 1, open: 3, delayed: 2, waiting: 1 };
        let tally = Tally { known: 9, busy: 5, open: 3, ok: 1, bad: 2, unreachable: 1, skipped: 1 };
        for (what, counts, fits) in [
            ("as the events say", good, true),
            ("one is given up", Counts { bad: 3, delayed: 1, ..good }, true),
            ("all are given up", Counts { bad: 4, delayed: 0, ..good }, true),
            ("more are given up than wait", Counts { bad: 5, delayed: 0, ..good }, false),
            ("one is forgotten", Counts { bad: 1, ..good }, false),
            ("one is good that is bad", Counts { ok: 2, bad: 1, ..good }, false),
            ("one is open that was not offered", Counts { open: 4, waiting: 0, ..good }, false),
            ("one is open that waits for its retry", Counts { open: 4, delayed: 1, ..good }, false),
            ("one waits for its retry that is over", Counts { bad: 1, delayed: 3, ..good }, false),
            ("one is counted twice", Counts { waiting: 2, ..good }, false),
        ] {
            assert_eq!(is_conserved(counts, tally, 10), fits, "{what}");
        }
        assert!(!is_conserved(good, tally, 11), "there are more targets");
    }
}
