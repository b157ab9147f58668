//! What a seed means: a mesh, flows, and what goes wrong.

use std::{collections::BTreeMap, time::Duration};

use rr_draw::{Dice, PARAM, ROLES, Style, drawn};
use rr_model::Servers;
use rr_schemas::{
    flow::{
        Flow,
        params::{ParamValue, ParamValues},
        select::Labels,
    },
    host::HostSet,
    name::Name,
    retry::Again,
};
use rr_worker::config::{Hosts, Serves};

use crate::swarm::Swarm;

/// What is asked of a seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Faults go on to the end; whatever there is then must be right.
    Safety,
    /// Faults stop after a while; every run must end then.
    Liveness,
}

impl Mode {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
        }
    }
}

/// A worker to be.
#[derive(Clone, Debug)]
pub struct WorkerPlan {
    /// What it serves.
    pub serves: Serves,
    /// Attempts at once.
    pub capacity: u32,
    /// By what flows find it that do not name their targets.
    pub labels: Labels,
}

/// A run to be.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// When it is asked for.
    pub after: Duration,
    /// Its flow.
    pub flow: Flow,
    /// What is given for its parameters.
    pub params: ParamValues,
    /// Whether it is retried once it is over, and what runs again then.
    pub again: Option<Again>,
}

/// What functions do, in percent of attempts.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// They fail.
    pub fail: u64,
    /// They take longer than the moment after which they say that they run.
    pub slow: u64,
    /// They write something.
    pub write: u64,
    /// They do not hear when they are told to end.
    pub deaf: u64,
}

/// Everything that a seed decides.
#[derive(Clone, Debug)]
pub struct Case {
    /// The seed.
    pub seed: u64,
    /// What is asked of it.
    pub mode: Mode,
    /// The servers.
    pub servers: Servers,
    /// How long copies need to agree at most, where there are any.
    pub agreement_max: Duration,
    /// Partitions of the mesh.
    pub partitions: u16,
    /// Coordinators.
    pub coordinators: usize,
    /// Workers.
    pub workers: Vec<WorkerPlan>,
    /// Runs.
    pub runs: Vec<RunPlan>,
    /// What functions do.
    pub manners: Manners,
    /// What goes wrong.
    pub swarm: Swarm,
    /// How long faults come.
    pub trouble: Duration,
    /// Whether coordinators forget what has ended, once everything is over and was judged.
    pub forgets: bool,
    /// What the rest is drawn from, as it happens.
    pub dice: Dice,
}

/// Of a hundred seeds that ask for liveness, how many forget in the end.
const FORGETS: u64 = 4;
const WORK: &str = r#""handler":"work""#;
const QUEUES: [&str; 3] = ["default", "q1", "q2"];

impl Case {
    /// Draws what a seed means.
    pub fn draw(seed: u64, mode: Mode) -> Self {
        let mut dice = Dice(seed ^ 0x5EED_0000_0000_0000);
        let servers = if dice.chance(30) { Servers::Three } else { Servers::One };
        // Slow copies have something left to agree on when they lose their leader.
        let agreement_max = if dice.chance(40) { dice.between(10, 80) } else { 5 };
        let coordinators = size(&mut dice, &[50, 35, 15]);
        let n_workers = size(&mut dice, &[30, 30, 20, 10, 10]);
        let is_large = dice.chance(4);
        let hosts_max = if is_large { 60 } else { 9 };
        let runs = runs(&mut dice, is_large, hosts_max);
        let trouble = match mode {
            Mode::Safety => dice.between(2_000, 12_000),
            Mode::Liveness => dice.between(500, 8_000),
        };
        let is_contested = n_workers > 1 && dice.chance(50);
        let workers = workers(&mut dice, n_workers, hosts_max, is_contested);
        let swarm = Swarm::draw(&mut dice);
        let swarm = if is_contested { swarm.with_silences() } else { swarm };
        Self {
            seed,
            mode,
            servers,
            agreement_max: Duration::from_millis(agreement_max),
            partitions: if dice.chance(30) { 2 } else { 1 },
            coordinators,
            workers,
            runs,
            manners: Manners {
                fail: [0, 10, 30, 60].get(size(&mut dice, &[30, 40, 20, 10]) - 1).copied().unwrap_or(0),
                slow: dice.roll(60),
                write: dice.roll(30),
                deaf: dice.roll(30),
            },
            swarm,
            trouble: Duration::from_millis(trouble),
            // Drawn by itself: it changes nothing before.
            forgets: mode == Mode::Liveness && Dice(!seed).chance(FORGETS),
            dice: dice.fork(),
        }
    }
}

/// A number from 1 on, by the weights in percent.
fn size(dice: &mut Dice, weights: &[u64]) -> usize {
    let mut roll = dice.roll(100);
    for (index, weight) in weights.iter().enumerate() {
        if roll < *weight {
            return index + 1;
        }
        roll -= weight;
    }
    1
}

/// Small ones most of the time; a large one comes alone.
fn runs(dice: &mut Dice, is_large: bool, hosts_max: u64) -> Vec<RunPlan> {
    /// Tasks of all runs together, of small ones and of large ones.
    const TASKS_MAX: (u32, u32) = (40, 200);
    let style =
        Style { work: WORK, hosts_max, has_queues: true, has_labels: true, slots_max: 3, patience: "3s", limit: "4s" };
    let n = if is_large { 1 } else { size(dice, &[55, 30, 15]) };
    let mut left = if is_large { TASKS_MAX.1 } else { TASKS_MAX.0 };
    let mut runs = Vec::new();
    while runs.len() < n {
        let flow = drawn(dice, &style);
        let tasks: u32 = flow.all_jobs().map(|(_, job)| job.targets()).sum();
        if tasks <= left {
            left -= tasks;
            let has_labels = flow.all_jobs().any(|(_, job)| job.labels().is_some());
            // Who has not joined yet is not found.
            let from = if has_labels { 1_000 } else { 0 };
            let after = from + if runs.is_empty() { 0 } else { dice.roll(4_000) };
            let again = match dice.roll(30) {
                0 | 1 if !is_large => Some(Again::Failed),
                2 if !is_large => Some(Again::NotStarted),
                _ => None,
            };
            let params = if dice.chance(50) { given(&flow) } else { ParamValues::default() };
            runs.push(RunPlan { after: Duration::from_millis(after), flow, params, again });
        } else if !runs.is_empty() {
            break;
        }
    }
    runs
}

/// Another value than the default, where there is a parameter.
fn given(flow: &Flow) -> ParamValues {
    let is_it = |name: &&Name| name.as_str() == PARAM.0;
    let name = flow.params.keys().find(is_it).cloned();
    name.map(|name| (name, ParamValue::String("two".to_owned()))).into_iter().collect()
}

fn labels(dice: &mut Dice) -> Labels {
    let role = dice.pick(&ROLES).copied().unwrap_or_default();
    let label = "role".parse::<Name>().ok().map(|name| (name, role.to_owned()));
    label.into_iter().collect::<BTreeMap<_, _>>().try_into().unwrap_or_default()
}

/// Every queue is served by somebody, and nearly every host: what nobody serves is unreachable.
fn workers(dice: &mut Dice, n: usize, hosts_max: u64, is_contested: bool) -> Vec<WorkerPlan> {
    let one_for_all = !is_contested && dice.chance(15);
    let mut hosts: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    // Who joins second is refused as long as the first one is there.
    let wanted_twice = if is_contested { dice.roll(hosts_max) + 1 } else { 0 };
    let unserved = if dice.chance(20) { dice.roll(hosts_max) + 1 } else { 0 };
    for host in (1..=hosts_max).filter(|host| *host != unserved) {
        let worker = usize::try_from(dice.roll(u64::try_from(n).unwrap_or(1))).unwrap_or_default();
        hosts.entry(worker).or_default().push(format!("h{host}"));
        if host == wanted_twice && n > 1 {
            hosts.entry((worker + 1) % n).or_default().push(format!("h{host}"));
        }
    }
    let mut plans: Vec<WorkerPlan> = (0..n)
        .map(|index| {
            let listed = hosts.get(&index).and_then(|hosts| hosts.join(",").parse::<HostSet>().ok());
            let hosts = match listed {
                _ if one_for_all && index == 0 => Hosts::All,
                Some(hosts) if !one_for_all => Hosts::Only(hosts),
                Some(_) | None => Hosts::None,
            };
            let capacity = u32::try_from(dice.between(1, 6)).unwrap_or(1);
            WorkerPlan { serves: Serves { hosts, queues: Vec::new() }, capacity, labels: labels(dice) }
        })
        .collect();
    for queue in QUEUES {
        let first = usize::try_from(dice.roll(u64::try_from(n).unwrap_or(1))).unwrap_or_default();
        for (index, plan) in plans.iter_mut().enumerate() {
            if (index == first || dice.chance(40))
                && let Ok(queue) = queue.parse()
            {
                plan.serves.queues.push(queue);
            }
        }
    }
    plans
}
