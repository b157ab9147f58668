//! What must hold of a flow beyond what its types guarantee.
//!
//! The loader checks with this before anything is sent, and the coordinator checks again, because any NATS client may
//! send a flow. O(n log n) in the jobs, and no recursion: a flow is input from outside.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    flow::{
        ATTEMPTS_TOTAL_MAX, Flow, JOBS_MAX, Job, TASKS_MAX,
        params::{self, Param},
        select::{Found, FoundTargets},
        template::HOST,
    },
    name::Name,
    span::Span,
};

mod graph;
mod job;

/// Something that is wrong with a flow or with the parameters given to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// JSON pointer into the flow: `/slots/0/jobs/1/success`; empty for the flow as a whole.
    pub at: String,
    /// What is wrong: a lower-case fragment.
    pub message: String,
    /// Pointer to the other place, where the problem lies between two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub also: Option<String>,
    /// What to do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Problems that a check lists at most; people mend these first, and a decision has to carry them.
pub const PROBLEMS_MAX: usize = 100;

impl Problem {
    /// A problem without help.
    pub fn new(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into(), also: None, help: None }
    }

    /// The same with the other place that it is about.
    #[must_use]
    pub fn with_also(self, also: impl Into<String>) -> Self {
        Self { also: Some(also.into()), ..self }
    }

    /// The same with help, if there is any.
    #[must_use]
    pub fn with_help(self, help: Option<String>) -> Self {
        Self { help, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.at.is_empty() {
            write!(f, "{}: ", self.at)?;
        }
        f.write_str(&self.message)?;
        if let Some(also) = &self.also {
            write!(f, ", see also {also}")?;
        }
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// Words among which a nearest one is looked for, at most: comparing is slow, and a flow may have thousands of names.
const WORDS_MAX: usize = 1_000;

/// `did you mean "x"?` for the nearest of the known words, if one is at most two letters away.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = known.into_iter().take(WORDS_MAX).filter(|word| word.len().abs_diff(given.len()) <= 2);
    let nearest = near.map(|word| (strsim::osa_distance(given, word), word)).min()?;
    (nearest.0 <= 2 && nearest.0 < given.len()).then(|| format!("did you mean \"{}\"?", nearest.1))
}

/// Everything that is wrong with a flow, [`PROBLEMS_MAX`] problems at most. A flow without problems can be planned.
pub fn check(flow: &Flow) -> Vec<Problem> {
    let mut problems = Problems::default();
    check_form(flow, &mut problems);
    check_params(flow, &mut problems);
    job::check_env(flow, "", &flow.env, None, &mut problems);
    if flow.timeout.is_some_and(Span::is_zero) {
        problems.add(job::zero_timeout("/timeout".to_owned()));
    }
    for (place, job) in places(flow) {
        if problems.is_full() {
            break;
        }
        job::check(flow, job, &place, &mut problems);
    }
    graph::check(flow, &mut problems);
    problems.list
}

/// What becomes too long when a flow without problems is filled in with these values.
pub(super) fn check_filled(flow: &Flow, values: &BTreeMap<Name, String>) -> Vec<Problem> {
    let mut problems = Problems::default();
    for (place, job) in places(flow) {
        job::check_filled(flow, job, place, values, &mut problems);
    }
    problems.list
}

/// What is wrong with a flow without problems, now that it is known what its labels stand for.
pub fn check_found(flow: &Flow, found: &FoundTargets) -> Vec<Problem> {
    let mut problems = Problems::default();
    let targets = |job: &Job| found.get(&job.name).map_or_else(|| job.targets(), Found::len);
    check_size(flow, targets, &mut problems);
    for (place, job) in places(flow) {
        if let Some(found) = found.get(&job.name) {
            job::check_found(job, place, found.len(), &mut problems);
        } else if job.labels().is_some() {
            problems.add(Problem::new(place.to_string(), "nobody has looked for what its labels stand for"));
        }
    }
    problems.list
}

/// Where the labels of a job stand: `/slots/0/jobs/1/select`.
pub fn place_of_labels(flow: &Flow, name: &Name) -> Option<String> {
    let (place, job) = places(flow).find(|(_, job)| job.name == *name)?;
    Some(place.field(if job.select.is_some() { "select" } else { "all" }))
}

/// The list under construction; what does not fit any more is left out.
#[derive(Debug, Default)]
struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, problem: Problem) {
        if !self.is_full() {
            self.list.push(problem);
        }
    }

    fn is_full(&self) -> bool {
        self.list.len() >= PROBLEMS_MAX
    }
}

/// Where a job stands; prints as a JSON pointer.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: Option<usize>,
    index: usize,
}

impl Place {
    /// The pointer to one of the job's fields.
    fn field(self, field: &str) -> String {
        format!("{self}/{field}")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(slot) = self.slot {
            write!(f, "/slots/{slot}")?;
        }
        write!(f, "/jobs/{}", self.index)
    }
}

/// Every job with its place, in the order of the file.
fn places(flow: &Flow) -> impl Iterator<Item = (Place, &Job)> {
    let in_slots = flow.slots.iter().enumerate().flat_map(|(slot, jobs)| {
        jobs.jobs.iter().enumerate().map(move |(index, job)| (Place { slot: Some(slot), index }, job))
    });
    let in_graph = flow.jobs.iter().enumerate().map(|(index, job)| (Place { slot: None, index }, job));
    in_slots.chain(in_graph)
}

/// Slots or jobs, none of them empty, and not more than a run can hold.
fn check_form(flow: &Flow, problems: &mut Problems) {
    match (flow.slots.is_empty(), flow.jobs.is_empty()) {
        (true, true) => {
            let help = "give it slots: or jobs:".to_owned();
            problems.add(Problem::new("", "flow has no jobs").with_help(Some(help)));
        }
        (false, false) => problems.add(
            Problem::new("/jobs", "slots and jobs exclude each other")
                .with_also("/slots")
                .with_help(Some("put the jobs into slots, or name what each needs".to_owned())),
        ),
        (true, false) | (false, true) => {}
    }
    for (index, _) in flow.slots.iter().enumerate().filter(|(_, slot)| slot.jobs.is_empty()) {
        problems.add(Problem::new(format!("/slots/{index}"), format!("slot {} is empty", index + 1)));
    }
    let n_jobs = flow.all_jobs().count();
    if n_jobs > JOBS_MAX {
        problems.add(Problem::new("", format!("flow has {n_jobs} jobs, limit {JOBS_MAX}")));
    }
    check_size(flow, Job::targets, problems);
}

/// Not more than a run can hold.
fn check_size(flow: &Flow, targets: impl Fn(&Job) -> u32, problems: &mut Problems) {
    let n_tasks = flow.all_jobs().map(|(_, job)| u64::from(targets(job))).fold(0, u64::saturating_add);
    if n_tasks > u64::from(TASKS_MAX) {
        problems.add(Problem::new("", format!("flow has {n_tasks} tasks, limit {TASKS_MAX}")));
    }
    let attempts = flow.all_jobs().map(|(_, job)| u64::from(targets(job)) * u64::from(job.retry.attempts));
    let n_attempts = attempts.fold(0, u64::saturating_add);
    if n_attempts > ATTEMPTS_TOTAL_MAX {
        let message = format!("flow allows {n_attempts} attempts over all its tasks, limit {ATTEMPTS_TOTAL_MAX}");
        problems.add(Problem::new("", message));
    }
}

fn check_params(flow: &Flow, problems: &mut Problems) {
    let mut environment: BTreeMap<String, &str> = BTreeMap::new();
    for (name, param) in &flow.params {
        let at = format!("/params/{name}");
        if name.folded() == HOST {
            problems.add(Problem::new(&at, "parameter \"host\" is built in: the host of the task"));
        }
        if let Some(other) = environment.insert(params::env_key(name), name.as_str()) {
            let message = format!("parameter \"{name}\" is the same as \"{other}\" but for case, - and _");
            let help = format!("a command sees both as {}", params::env_key(name));
            problems.add(Problem::new(&at, message).with_also(format!("/params/{other}")).with_help(Some(help)));
        }
        check_param(param, &at, problems);
    }
}

/// Default and choices are values that the parameter may have.
fn check_param(param: &Param, at: &str, problems: &mut Problems) {
    let choices = param.choices.iter().enumerate().map(|(index, choice)| (format!("{at}/choices/{index}"), choice));
    let default = param.default.iter().map(|default| (format!("{at}/default"), default));
    for (at, value) in choices.chain(default) {
        if let Some((message, help)) = params::wrong(param, value) {
            problems.add(Problem::new(at, message).with_help(help));
        }
    }
}

#[cfg(test)]
mod tests;
