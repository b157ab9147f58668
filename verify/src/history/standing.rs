//! Where each task stands when something is decided of it: its last attempt, and who is said to run that.

use jiff::Timestamp;
use rr_core::Plan;
use rr_schemas::{
    decision::{Event, Record},
    input::Holder,
};

use crate::records::within;

/// Every task after the events so far, and whether the run is being stopped by then.
pub(super) struct Standings<'a> {
    plan: &'a Plan,
    tasks: Vec<Option<Standing<'a>>>,
    pub(super) is_stopped: bool,
}

/// The attempt of a task that was offered last.
#[derive(Clone, Copy)]
pub(super) struct Standing<'a> {
    pub(super) attempt: u32,
    pub(super) offer: u32,
    /// When the first offer of it was made.
    pub(super) since: Timestamp,
    pub(super) runs: Runs<'a>,
    /// By which input this offer was given back.
    pub(super) returned: Option<u64>,
    is_over: bool,
}

/// Who is said to run an attempt.
#[derive(Clone, Copy)]
pub(super) enum Runs<'a> {
    /// Nobody: it waits for somebody.
    Nobody,
    /// This process.
    By(&'a Holder),
    /// Nobody knows: people are to say what becomes of it. Who ran it, where that was said.
    Held(Option<&'a Holder>),
}

impl Runs<'_> {
    pub(super) fn text(self) -> String {
        match self {
            Self::Nobody => "nobody has started it".to_owned(),
            Self::By(holder) => format!("{} ({}) runs it", holder.worker, holder.instance),
            Self::Held(_) => "it is held as lost".to_owned(),
        }
    }
}

impl<'a> Standings<'a> {
    /// Before the first event.
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self { plan, tasks: vec![None; plan.n_tasks() as usize], is_stopped: false }
    }

    /// The attempt of a task that was offered last; none where none was.
    pub(super) fn of(&self, task: u32) -> Option<Standing<'a>> {
        self.tasks.get(task as usize).copied().flatten()
    }

    /// The same if it is this attempt, and was not decided.
    pub(super) fn open(&self, task: u32, attempt: u32) -> Option<Standing<'a>> {
        self.of(task).filter(|standing| standing.attempt == attempt && !standing.is_over)
    }

    pub(super) fn fold(&mut self, record: &'a Record) {
        match &record.event {
            Event::Offered { tasks, attempt, offer, .. } if within(self.plan, tasks) => {
                for task in tasks.iter() {
                    self.offer(record.at, task, *attempt, *offer);
                }
            }
            Event::Started { task, attempt, by } => {
                self.change(*task, *attempt, |standing| standing.runs = Runs::By(by));
            }
            Event::Held { task, attempt } => self.change(*task, *attempt, |standing| {
                standing.runs = match standing.runs {
                    Runs::Nobody => Runs::Held(None),
                    Runs::By(by) => Runs::Held(Some(by)),
                    held @ Runs::Held(_) => held,
                };
            }),
            // Whether it is this offer, and whether its holder has said so, is judged by itself.
            Event::Returned { task, attempt, .. } => {
                self.change(*task, *attempt, |standing| standing.returned = Some(record.cause));
            }
            Event::Ended { task, attempt, .. } => self.change(*task, *attempt, |standing| standing.is_over = true),
            Event::CancelRequested { .. } | Event::DeadlinePassed {} => self.is_stopped = true,
            Event::Submitted { .. }
            | Event::Rejected { .. }
            | Event::Offered { .. }
            | Event::Extended { .. }
            | Event::Signalled { .. }
            | Event::Late { .. }
            | Event::JobEnded { .. }
            | Event::RunEnded { .. }
            | Event::PutAside { .. } => {}
        }
    }

    fn offer(&mut self, at: Timestamp, task: u32, attempt: u32, offer: u32) {
        let Some(slot) = self.tasks.get_mut(task as usize) else { return };
        let since = slot.filter(|before| before.attempt == attempt).map_or(at, |before| before.since);
        *slot = Some(Standing { attempt, offer, since, runs: Runs::Nobody, returned: None, is_over: false });
    }

    fn change(&mut self, task: u32, attempt: u32, change: impl FnOnce(&mut Standing<'a>)) {
        let standing = self.tasks.get_mut(task as usize).and_then(Option::as_mut);
        if let Some(standing) = standing.filter(|standing| standing.attempt == attempt) {
            change(standing);
        }
    }
}
