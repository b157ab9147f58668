//! What there is around a submit: the targets that its labels stand for, and what speaks against starting it.
//!
//! It is seen once, when the run begins, and recorded by the first decision; the core never asks the world.

use std::collections::BTreeSet;

use rr_core::{Plan, run::decide::Around};
use rr_nats::{HostFilter, KnownWorker};
use rr_schemas::{
    flow::{
        Flow, Job,
        check::{self, Problem},
        select::{Found, FoundTargets, Labels},
    },
    host::{self, Host, HostSet},
    input::Submit,
    name::WorkerName,
    offer::Target,
};

use crate::{retry::take_over, served::served, shell::Shell, trouble::TurnError};

/// Workers whose labels are told to somebody whose own match nobody.
const WORKERS_TOLD: usize = 5;

/// Looks around, where the flow asks for it.
pub(crate) async fn look_around(shell: &Shell, submit: &Submit) -> Result<Option<Box<Around>>, TurnError> {
    let Submit { flow, params, .. } = submit;
    let has_labels = flow.all_jobs().any(|(_, job)| job.labels().is_some());
    if !(has_labels || flow.preflight || submit.retry_of.is_some()) || Plan::new(flow, params).is_err() {
        return Ok(None);
    }
    let mut around = Around::default();
    if let Some(retry_of) = &submit.retry_of {
        match take_over(shell, submit, retry_of).await? {
            // The targets are those of the earlier run: what is carried over is said of them.
            Ok((found, carried)) => (around.found, around.carried) = (found, Some(Box::new(carried))),
            Err(problem) => around.problems.push(problem),
        }
    } else if has_labels {
        let workers = shell.mesh.known_workers().await?;
        (around.found, around.problems) = find(flow, &workers);
    }
    if flow.preflight
        && around.problems.is_empty()
        && let Ok(plan) = Plan::with_found(flow, params, &around.found)
    {
        if !shell.presence.is_steady() {
            return Err(TurnError::Unavailable("who is present shows only in a moment".to_owned()));
        }
        let carried = around.carried.as_ref();
        let is_carried = |task| carried.is_some_and(|carried| carried.tasks.values().any(|tasks| tasks.contains(task)));
        let targets: Vec<Target> = (0..plan.n_tasks()).filter_map(|task| plan.target(task)).collect();
        let served = served(shell, targets).await?;
        around.problems = absent(&plan, is_carried, |target| served.contains(target));
    }
    Ok(Some(Box::new(around)))
}

/// What the labels of each job stand for, and which stand for nothing.
fn find(flow: &Flow, workers: &[KnownWorker]) -> (FoundTargets, Vec<Problem>) {
    let mut found = FoundTargets::new();
    let mut problems = Vec::new();
    for (_, job) in flow.all_jobs() {
        let Some(labels) = job.labels() else { continue };
        match find_one(job, labels, workers) {
            Ok(targets) => drop(found.insert(job.name.clone(), targets)),
            Err(message) => {
                let at = check::place_of_labels(flow, &job.name).unwrap_or_default();
                problems.push(Problem::new(at, message).with_help(Some(told(workers))));
            }
        }
    }
    (found, problems)
}

fn find_one(job: &Job, labels: &Labels, workers: &[KnownWorker]) -> Result<Found, String> {
    let matching: Vec<&KnownWorker> = workers.iter().filter(|worker| worker.labels.have(labels)).collect();
    if matching.is_empty() {
        return Err(format!("no worker has {labels}"));
    }
    if job.all.is_some() {
        return Ok(Found::Workers(
            matching.into_iter().map(|worker| worker.worker.clone()).collect::<Vec<WorkerName>>(),
        ));
    }
    let hosts: BTreeSet<&Host> = matching.iter().flat_map(|worker| named(&worker.hosts)).collect();
    if hosts.is_empty() {
        return Err(format!("no worker with {labels} serves hosts by name"));
    }
    HostSet::from_hosts(hosts).map(Found::Hosts).map_err(|error| error.message())
}

fn named(hosts: &HostFilter) -> impl Iterator<Item = &Host> {
    match hosts {
        HostFilter::All => None,
        HostFilter::Only(hosts) => Some(hosts),
    }
    .into_iter()
    .flatten()
}

/// What the labels of workers are, for somebody whose own match none.
fn told(workers: &[KnownWorker]) -> String {
    let with_labels: Vec<&KnownWorker> = workers.iter().filter(|worker| !worker.labels.is_empty()).collect();
    if with_labels.is_empty() {
        return "no worker has labels; give it some with rr worker --label role=db".to_owned();
    }
    let each = with_labels.iter().take(WORKERS_TOLD).map(|worker| format!("{} has {}", worker.worker, worker.labels));
    let rest = with_labels.len().saturating_sub(WORKERS_TOLD);
    let more = if rest == 0 { String::new() } else { format!("; and {rest} more") };
    format!("{}{more}", each.collect::<Vec<_>>().join("; "))
}

/// One problem for each job with targets that nobody serves now. What was carried over needs nobody.
fn absent(plan: &Plan, is_carried: impl Fn(u32) -> bool, is_served: impl Fn(&Target) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    for job in plan.jobs() {
        let tasks = (job.first..job.first.saturating_add(job.n)).filter(|task| !is_carried(*task));
        let targets = tasks.filter_map(|task| plan.target(task));
        let (mut hosts, mut others) = (Vec::new(), Vec::new());
        for target in targets.filter(|target| !is_served(target)) {
            match target {
                Target::Host(host) => hosts.push(host),
                Target::Queue(queue) => others.push(format!("queue {queue}")),
                Target::Worker(worker) => others.push(format!("worker {worker}")),
            }
        }
        if !hosts.is_empty() {
            others.push(host::fold(&hosts));
        }
        if !others.is_empty() {
            let message = format!("preflight: nobody serves {} for job \"{}\"", others.join(", "), job.name);
            let help = "rr worker ls shows who serves what; without preflight: true the run starts all the same";
            problems.push(Problem::new("/preflight", message).with_help(Some(help.to_owned())));
        }
    }
    problems.truncate(check::PROBLEMS_MAX);
    problems
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rr_schemas::flow::params::ParamValues;

    use super::*;

    fn worker(name: &str, hosts: HostFilter, labels: &[(&str, &str)]) -> KnownWorker {
        let labels = labels.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned()));
        let labels = Labels::try_from(labels.collect::<BTreeMap<_, _>>()).unwrap();
        KnownWorker { worker: name.parse().unwrap(), hosts, labels }
    }

    fn only(hosts: &str) -> HostFilter {
        HostFilter::Only(hosts.parse::<HostSet>().unwrap().iter().collect())
    }

    fn flow(fields: &str) -> Flow {
        serde_json::from_str(&format!(r#"{{"name":"f","jobs":[{{"name":"j","run":["x"],{fields}}}]}}"#)).unwrap()
    }

    #[test]
    fn labels_stand_for_hosts_or_for_workers() {
        let workers = [
            worker("a", only("db[1-2]"), &[("role", "db"), ("zone", "eu")]),
            worker("b", only("db3"), &[("role", "db")]),
            worker("c", HostFilter::All, &[("role", "any")]),
            worker("d", only("web1"), &[]),
        ];
        for (fields, expected) in [
            (r#""select":{"role":"db"}"#, Ok("hosts db[1-3]")),
            (r#""select":{"role":"db","zone":"eu"}"#, Ok("hosts db[1-2]")),
            (r#""all":{"role":"db"}"#, Ok("workers a b")),
            (r#""all":{"role":"any"}"#, Ok("workers c")),
            (r#""select":{"role":"any"}"#, Err("no worker with role=any serves hosts by name")),
            (r#""select":{"role":"web"}"#, Err("no worker has role=web")),
            (r#""all":{"role":"web"}"#, Err("no worker has role=web")),
        ] {
            let flow = flow(fields);
            let (found, problems) = find(&flow, &workers);
            let found = found.values().next().map(|found| match found {
                Found::Hosts(hosts) => format!("hosts {hosts}"),
                Found::Workers(names) => {
                    let names: Vec<&str> = names.iter().map(WorkerName::as_str).collect();
                    format!("workers {}", names.join(" "))
                }
            });
            let problem = problems.first().map(|problem| problem.message.clone());
            assert_eq!(
                found.ok_or_else(|| problem.unwrap_or_default()).as_deref(),
                expected.map_err(str::to_owned).as_deref()
            );
            assert!(problems.iter().all(|problem| problem.help.as_ref().unwrap().contains("a has role=db, zone=eu")));
        }
    }

    #[test]
    fn a_preflight_names_what_nobody_serves() {
        let flow = flow(r#""hosts":"db[1-4]""#);
        let plan = Plan::new(&flow, &ParamValues::default()).unwrap();
        let served = |target: &Target| matches!(target, Target::Host(host) if host.as_str() < "db3");
        let problems = absent(&plan, |_| false, served);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("nobody serves db[3-4] for job \"j\""), "{problems:?}");
        assert!(absent(&plan, |_| false, |_| true).is_empty());
        assert!(absent(&plan, |task| task >= 2, served).is_empty());
    }
}
