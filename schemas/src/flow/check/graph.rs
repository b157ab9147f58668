//! What must hold between jobs: names are unique, needs name jobs and lead to no cycle.

use std::collections::BTreeMap;

use crate::{
    flow::{
        Flow, Job,
        check::{Place, Problem, Problems, did_you_mean, places},
    },
    name::Name,
};

/// Jobs of a cycle that a message names at most.
const CYCLE_SHOWN_MAX: usize = 12;

pub(super) fn check(flow: &Flow, problems: &mut Problems) {
    check_names(flow, problems);
    for (place, _) in places(flow).filter(|(place, job)| place.slot.is_some() && !job.needs.is_empty()) {
        let help = "slots follow each other by themselves; for a graph, list all jobs under jobs:".to_owned();
        problems.add(Problem::new(place.field("needs"), "needs is not possible in slots").with_help(Some(help)));
    }
    let index: BTreeMap<&Name, usize> = flow.jobs.iter().enumerate().map(|(index, job)| (&job.name, index)).collect();
    let needs: Vec<Vec<usize>> =
        flow.jobs.iter().enumerate().map(|(at, job)| resolve_needs(flow, at, job, &index, problems)).collect();
    report_cycles(flow, &needs, problems);
}

fn check_names(flow: &Flow, problems: &mut Problems) {
    let mut first: BTreeMap<String, (Place, &Name)> = BTreeMap::new();
    for (place, job) in places(flow) {
        let Some((other, name)) = first.get(&job.name.folded()) else {
            first.insert(job.name.folded(), (place, &job.name));
            continue;
        };
        let case = if **name == job.name { "" } else { ", which differs only in case" };
        let problem = Problem::new(place.field("name"), format!("duplicate job name \"{}\"{case}", job.name));
        problems.add(problem.with_also(other.field("name")));
    }
}

/// The jobs that the job at `at` needs, as far as its needs are right.
fn resolve_needs(
    flow: &Flow,
    at: usize,
    job: &Job,
    index: &BTreeMap<&Name, usize>,
    problems: &mut Problems,
) -> Vec<usize> {
    let mut found = Vec::with_capacity(job.needs.len());
    for (nth, need) in job.needs.iter().enumerate() {
        if problems.is_full() {
            break;
        }
        let pointer = || Place { slot: None, index: at }.field(&format!("needs/{nth}"));
        match index.get(need) {
            None => {
                let known = flow.jobs.iter().map(|job| job.name.as_str());
                let help = did_you_mean(need.as_str(), known);
                let message = format!("job \"{}\" depends on unknown \"{need}\"", job.name);
                problems.add(Problem::new(pointer(), message).with_help(help));
            }
            Some(_) if *need == job.name => {
                problems.add(Problem::new(pointer(), format!("job \"{}\" depends on itself", job.name)));
            }
            Some(needed) => found.push(*needed),
        }
    }
    found.sort_unstable();
    if found.windows(2).any(|pair| pair.first() == pair.last()) {
        let pointer = Place { slot: None, index: at }.field("needs");
        problems.add(Problem::new(pointer, format!("job \"{}\" names a job twice in its needs", job.name)));
        found.dedup();
    }
    found
}

/// How far the search has come with a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mark {
    New,
    /// On the path from the job where the search began, at this depth.
    OnPath(usize),
    Done,
}

/// Depth-first search with its own stack: each need that leads back into the path closes a cycle.
fn report_cycles(flow: &Flow, needs: &[Vec<usize>], problems: &mut Problems) {
    let mut marks = vec![Mark::New; needs.len()];
    for start in 0..needs.len() {
        if marks.get(start) != Some(&Mark::New) {
            continue;
        }
        // Each entry: a job, and the needs of it that are still to be followed.
        let mut path: Vec<(usize, std::slice::Iter<'_, usize>)> = Vec::new();
        let mut enter = Some(start);
        while !problems.is_full() {
            if let Some(job) = enter.take() {
                set(&mut marks, job, Mark::OnPath(path.len()));
                path.push((job, needs.get(job).map(Vec::as_slice).unwrap_or_default().iter()));
            }
            let Some((job, rest)) = path.last_mut() else { break };
            match rest.next().map(|next| (*next, marks.get(*next))) {
                Some((next, Some(Mark::New))) => enter = Some(next),
                Some((_, Some(Mark::OnPath(depth)))) => {
                    let (job, depth) = (*job, *depth);
                    let cycle = path.iter().skip(depth).map(|(job, _)| *job);
                    problems.add(cycle_problem(flow, job, cycle));
                }
                Some((_, Some(Mark::Done) | None)) => {}
                None => {
                    set(&mut marks, *job, Mark::Done);
                    path.pop();
                }
            }
        }
    }
}

fn set(marks: &mut [Mark], job: usize, mark: Mark) {
    if let Some(slot) = marks.get_mut(job) {
        *slot = mark;
    }
}

/// `a -> b -> a`, from the first job of the cycle; reported where its last job closes it.
fn cycle_problem(flow: &Flow, last: usize, cycle: impl Iterator<Item = usize>) -> Problem {
    let mut names: Vec<&str> = cycle.filter_map(|job| flow.jobs.get(job)).map(|job| job.name.as_str()).collect();
    names.extend(names.first().copied());
    let n_jobs = names.len() - usize::from(!names.is_empty());
    let shown = if names.len() > CYCLE_SHOWN_MAX {
        let (head, tail) =
            (names.get(..CYCLE_SHOWN_MAX - 2).unwrap_or_default(), names.last().copied().unwrap_or_default());
        format!("{} -> ... -> {tail} ({n_jobs} jobs)", head.join(" -> "))
    } else {
        names.join(" -> ")
    };
    let pointer = Place { slot: None, index: last }.field("needs");
    Problem::new(pointer, format!("jobs need each other in a circle: {shown}"))
}
