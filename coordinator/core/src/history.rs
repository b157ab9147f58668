//! A run with every attempt of every task: the same fold, kept whole for people.

use rr_schemas::{
    decision::{Event, Record},
    id::RunId,
    offer::Target,
    view::{AttemptView, RunView, TaskView},
};

use crate::{
    Plan, Policy,
    run::{IllegalEvent, Run},
};

/// A run and its attempts.
#[derive(Clone, Debug)]
pub struct History {
    run: Run,
    /// Per task: its attempts in order.
    attempts: Vec<Vec<AttemptView>>,
}

impl History {
    /// A run that has no history yet.
    pub fn new(id: RunId) -> Self {
        Self { run: Run::new(id, Policy::default()), attempts: Vec::new() }
    }

    /// The run itself.
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// The attempts of a task.
    pub fn attempts(&self, task: u32) -> &[AttemptView] {
        self.attempts.get(task as usize).map_or(&[], Vec::as_slice)
    }

    /// Folds one event in.
    ///
    /// # Errors
    /// [`IllegalEvent`]: not a history of ours.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalEvent> {
        self.run.apply(record)?;
        match &record.event {
            Event::Submitted { .. } => {
                let n = self.run.plan().map_or(0, Plan::n_tasks);
                self.attempts = vec![Vec::new(); n as usize];
            }
            Event::Offered { tasks, attempt, .. } => {
                for task in tasks.iter() {
                    self.open(task, *attempt);
                }
            }
            Event::Started { task, attempt, by } => {
                let view = self.open(*task, *attempt);
                if let Some(view) = view {
                    view.worker = Some(by.worker.to_string());
                    view.started_at = Some(record.at);
                }
            }
            Event::Ended { task, attempt, by, end, .. } => {
                let view = self.open(*task, *attempt);
                if let Some(view) = view {
                    view.outcome = Some(end.outcome);
                    view.exit_code = end.exit_code;
                    view.signal = end.signal;
                    view.reason.clone_from(&end.reason);
                    view.worker = by.as_ref().map(|by| by.worker.to_string()).or_else(|| view.worker.take());
                    view.started_at = end.started_at.or(view.started_at);
                    view.ended_at = Some(end.ended_at.unwrap_or(record.at));
                }
            }
            Event::Rejected { .. }
            | Event::Extended { .. }
            | Event::Held { .. }
            | Event::Returned { .. }
            | Event::Late { .. }
            | Event::Signalled { .. }
            | Event::CancelRequested { .. }
            | Event::DeadlinePassed {}
            | Event::JobEnded { .. }
            | Event::RunEnded { .. }
            | Event::PutAside { .. } => {}
        }
        Ok(())
    }

    /// The whole document.
    pub fn view(&self) -> RunView {
        let mut view = self.run.view();
        let Some(plan) = self.run.plan() else {
            return view;
        };
        for (job, planned) in view.jobs.iter_mut().zip(plan.jobs()) {
            let tasks = planned.first..planned.first + planned.n;
            job.tasks = tasks.filter_map(|task| self.task_view(plan, task)).collect();
        }
        view
    }

    fn task_view(&self, plan: &Plan, task: u32) -> Option<TaskView> {
        let (host, queue, worker) = match plan.target(task)? {
            Target::Host(host) => (Some(host), None, None),
            Target::Queue(queue) => (None, Some(queue), None),
            Target::Worker(worker) => (None, None, Some(worker)),
        };
        let (status, _) = self.run.task(task)?;
        Some(TaskView {
            host,
            queue,
            worker,
            status,
            carried: self.run.is_carried(task),
            attempts: self.attempts(task).to_vec(),
        })
    }

    /// The view of an attempt, made where it is new.
    fn open(&mut self, task: u32, attempt: u32) -> Option<&mut AttemptView> {
        let attempts = self.attempts.get_mut(task as usize)?;
        if attempts.last().is_none_or(|last| last.attempt != attempt) {
            attempts.push(AttemptView {
                attempt,
                outcome: None,
                exit_code: None,
                signal: None,
                worker: None,
                started_at: None,
                ended_at: None,
                reason: None,
            });
        }
        attempts.last_mut()
    }
}
