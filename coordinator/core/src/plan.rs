//! The plan of a run: its flow with hosts counted, thresholds computed, needs resolved and parameters filled in.

use std::collections::BTreeMap;

use rr_schemas::{
    flow::{
        Flow, Job,
        check::{self, Problem},
        params::{self, ParamValues},
        select::{Found, FoundTargets},
        template::{self, Template},
    },
    host::{HOST_CHARS_MAX, HostSet},
    id::RunId,
    name::{EnvName, Name, WorkerName},
    offer::{Command, Offer, Target},
    span::Span,
};

/// The queue of a job that names neither hosts nor queue.
pub const DEFAULT_QUEUE: &str = "default";

/// How long a worker that is away may take to come back for its task of an `all` job, where the flow does not say.
const CATCH_UP: Span = Span::saturating_from_secs(600);

/// A flow, resolved. It depends on nothing but the flow and the parameters.
#[derive(Clone, Debug)]
pub struct Plan {
    flow: Name,
    jobs: Vec<PlannedJob>,
    by_name: BTreeMap<Name, usize>,
    n_tasks: u32,
    params: BTreeMap<Name, String>,
    env: BTreeMap<EnvName, Template>,
    timeout: Option<Span>,
    graph: Graph,
}

/// One job with its numbers.
#[derive(Clone, Debug)]
pub struct PlannedJob {
    /// Name.
    pub name: Name,
    /// Its slot, from 1; none in the graph form.
    pub slot: Option<u32>,
    /// Index of its first task.
    pub first: u32,
    /// Number of its tasks.
    pub n: u32,
    /// How many tasks must succeed.
    pub needed: u32,
    /// How many run at once at most.
    pub window: u32,
    /// Sizes of growing waves, the last one repeated; none where there is one size.
    pub waves: Vec<u32>,
    /// Where its tasks run.
    pub targets: Targets,
    /// The job as the flow has it.
    pub job: Job,
}

/// Where the tasks of a job run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Targets {
    /// One task a host.
    Hosts(HostSet),
    /// One task, on any worker of the queue.
    Queue(Name),
    /// One task a worker.
    Workers(Vec<WorkerName>),
    /// To be found by labels when the run starts.
    ToBeFound,
    /// None: a gate, which waits for a signal.
    Gate,
}

/// What waits for what. Nodes are the jobs, and after them one barrier between each two slots, so that slots of many
/// jobs cost edges in proportion to the jobs and not to their square.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    /// Per node: the nodes that need it.
    pub(crate) feeds: Vec<Vec<usize>>,
    /// Per node: how many nodes it needs.
    pub(crate) n_needs: Vec<u32>,
}

impl Plan {
    /// Checks and resolves a flow. What it names by labels is still to be found: such a job has no tasks here.
    ///
    /// # Errors
    /// Everything that is wrong with the flow or its parameters.
    pub fn new(flow: &Flow, given: &ParamValues) -> Result<Self, Vec<Problem>> {
        let problems = check::check(flow);
        if !problems.is_empty() {
            return Err(problems);
        }
        let plan = Self::resolved(flow, params::resolve(flow, given)?, &FoundTargets::new())?;
        plan.check_values()?;
        Ok(plan)
    }

    /// Checks and resolves a flow whose labels have been looked for.
    ///
    /// # Errors
    /// Everything that is wrong with the flow, its parameters or what was found.
    pub fn with_found(flow: &Flow, given: &ParamValues, found: &FoundTargets) -> Result<Self, Vec<Problem>> {
        Self::new(flow, given)?;
        let problems = check::check_found(flow, found);
        if problems.is_empty() { Self::of_accepted(flow, given, found) } else { Err(problems) }
    }

    /// Resolves a flow that was accepted once. Its rules are not asked again: a version with stricter ones must go on
    /// with the runs of the version before.
    ///
    /// # Errors
    /// What no version can have accepted.
    pub fn of_accepted(flow: &Flow, given: &ParamValues, found: &FoundTargets) -> Result<Self, Vec<Problem>> {
        Self::resolved(flow, params::accepted(flow, given), found)
    }

    fn resolved(flow: &Flow, params: BTreeMap<Name, String>, found: &FoundTargets) -> Result<Self, Vec<Problem>> {
        let mut jobs = Vec::new();
        let mut n_tasks = 0_u32;
        for (slot, job) in flow.all_jobs() {
            let planned = PlannedJob::new(slot, n_tasks, job, found.get(&job.name))?;
            let too_many = || vec![Problem::new("/jobs", "more tasks than can be counted")];
            n_tasks = n_tasks.checked_add(planned.n).ok_or_else(too_many)?;
            jobs.push(planned);
        }
        let by_name = jobs.iter().enumerate().map(|(index, job)| (job.name.clone(), index)).collect();
        let graph = Graph::new(flow, &jobs, &by_name);
        Ok(Self {
            flow: flow.name.clone(),
            jobs,
            by_name,
            n_tasks,
            params,
            env: flow.env.clone(),
            timeout: flow.timeout,
            graph,
        })
    }

    /// Name of the flow.
    pub const fn flow(&self) -> &Name {
        &self.flow
    }

    /// The jobs in the order of the flow.
    pub fn jobs(&self) -> &[PlannedJob] {
        &self.jobs
    }

    /// Number of tasks over all jobs.
    pub const fn n_tasks(&self) -> u32 {
        self.n_tasks
    }

    /// Parameters with their defaults filled in.
    pub const fn params(&self) -> &BTreeMap<Name, String> {
        &self.params
    }

    /// Time limit of the run.
    pub const fn timeout(&self) -> Option<Span> {
        self.timeout
    }

    /// The job of that name.
    pub fn job_named(&self, name: &Name) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Index of the job that a task belongs to.
    pub fn job_of(&self, task: u32) -> Option<usize> {
        if task >= self.n_tasks {
            return None;
        }
        self.jobs.partition_point(|job| job.first <= task).checked_sub(1)
    }

    /// Where a task runs.
    pub fn target(&self, task: u32) -> Option<Target> {
        let job = self.jobs.get(self.job_of(task)?)?;
        match &job.targets {
            Targets::Hosts(hosts) => hosts.nth(task - job.first).map(Target::Host),
            Targets::Queue(queue) => Some(Target::Queue(queue.clone())),
            Targets::Workers(workers) => workers.get((task - job.first) as usize).cloned().map(Target::Worker),
            Targets::ToBeFound | Targets::Gate => None,
        }
    }

    /// What the first task of a job runs, for people; where its host is still to be found, the place for it stays empty.
    ///
    /// None of a gate.
    pub fn first_command(&self, planned: &PlannedJob) -> Option<Command> {
        let host = match &planned.targets {
            Targets::Hosts(hosts) => hosts.nth(0).map(|host| host.to_string()),
            Targets::ToBeFound => Some("{{ host }}".to_owned()),
            Targets::Queue(_) | Targets::Workers(_) => None,
            Targets::Gate => return None,
        };
        Values { params: &self.params, host }.command(&planned.job)
    }

    /// What a worker needs to run one attempt.
    ///
    /// None where there is no such task.
    pub fn offer(&self, run: &RunId, task: u32, attempt: u32, offer: u32) -> Option<Offer> {
        let planned = self.jobs.get(self.job_of(task)?)?;
        let target = self.target(task)?;
        let host = match &target {
            Target::Host(host) => Some(host.to_string()),
            Target::Queue(_) | Target::Worker(_) => None,
        };
        let values = Values { params: &self.params, host };
        let job = &planned.job;
        let env = self.env.iter().chain(&job.env);
        Some(Offer {
            run: run.clone(),
            flow: self.flow.clone(),
            job: planned.name.clone(),
            task,
            attempt,
            offer,
            command: values.command(job)?,
            env: env.map(|(name, value)| Some((name.clone(), values.fill(value)?))).collect::<Option<_>>()?,
            inherit_env: job.inherit_env.clone(),
            params: self.params.clone(),
            cwd: match &job.cwd {
                Some(cwd) => Some(values.fill(cwd)?),
                None => None,
            },
            priority: job.priority,
            timeout: job.timeout,
            grace: job.grace,
            claimed: job.is_claimed(),
            lock: job.lock.clone(),
            // Who makes the offer adds it.
            token: String::new(),
            target,
        })
    }

    pub(crate) const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Fills every template once, so that no offer can fail later: values are known now, and only `host` varies.
    fn check_values(&self) -> Result<(), Vec<Problem>> {
        let bad = |job: &PlannedJob| {
            Problem::new("/jobs", format!("job \"{}\" becomes too long when its parameters are filled in", job.name))
        };
        for job in &self.jobs {
            // With the longest host that there can be, every other one fits too.
            let has_host = job.job.hosts.is_some() || job.job.select.is_some();
            let host = has_host.then(|| "h".repeat(HOST_CHARS_MAX));
            let values = Values { params: &self.params, host };
            let env = self.env.values().chain(job.job.env.values()).chain(job.job.cwd.as_ref());
            if values.command(&job.job).is_none() || env.map(|value| values.fill(value)).any(|value| value.is_none()) {
                return Err(vec![bad(job)]);
            }
        }
        Ok(())
    }
}

impl PlannedJob {
    fn new(slot: Option<usize>, first: u32, job: &Job, found: Option<&Found>) -> Result<Self, Vec<Problem>> {
        let targets = match (found, &job.hosts, &job.queue) {
            _ if job.signal.is_some() => Targets::Gate,
            (Some(Found::Hosts(hosts)), ..) | (None, Some(hosts), _) => Targets::Hosts(hosts.clone()),
            (Some(Found::Workers(workers)), ..) => Targets::Workers(workers.clone()),
            (None, None, Some(queue)) => Targets::Queue(queue.clone()),
            (None, None, None) if job.labels().is_some() => Targets::ToBeFound,
            (None, None, None) => Targets::Queue(default_queue()?),
        };
        let n = match &targets {
            Targets::Hosts(hosts) => hosts.len(),
            Targets::Queue(_) => 1,
            Targets::Workers(workers) => u32::try_from(workers.len()).unwrap_or(u32::MAX),
            Targets::ToBeFound | Targets::Gate => 0,
        };
        Ok(Self {
            name: job.name.clone(),
            slot: slot.and_then(|slot| u32::try_from(slot + 1).ok()),
            first,
            n,
            needed: if job.signal.is_some() { 0 } else { job.success.needed(n) },
            window: job.parallelism.window(n),
            waves: job.parallelism.waves(n),
            targets,
            job: job.clone(),
        })
    }
}

impl PlannedJob {
    /// How long an offer to a target that nobody serves waits, where the mesh's own patience is not enough.
    pub fn patience(&self) -> Option<Span> {
        match self.job.on_unreachable {
            Some(on_unreachable) => on_unreachable.patience(),
            None => self.job.all.as_ref().map(|_| CATCH_UP),
        }
    }

    /// Whether its tasks start in batches, each when the one before is over.
    pub const fn is_in_waves(&self) -> bool {
        self.job.waves || !self.waves.is_empty()
    }

    /// How many tasks may be under way, given how many batches have begun.
    pub fn window_of(&self, begun: u32) -> u32 {
        let wave = self.waves.get(begun as usize).or_else(|| self.waves.last());
        wave.copied().unwrap_or(self.window)
    }
}

impl Graph {
    fn new(flow: &Flow, jobs: &[PlannedJob], by_name: &BTreeMap<Name, usize>) -> Self {
        let n_barriers = flow.slots.len().saturating_sub(1);
        let n_nodes = jobs.len() + n_barriers;
        let mut graph = Self { feeds: vec![Vec::new(); n_nodes], n_needs: vec![0; n_nodes] };
        for (index, planned) in jobs.iter().enumerate() {
            if let Some(slot) = planned.slot {
                let slot = slot as usize - 1;
                if slot > 0 {
                    graph.link(jobs.len() + slot - 1, index);
                }
                if slot < n_barriers {
                    graph.link(index, jobs.len() + slot);
                }
            }
            for need in planned.job.needs.iter().filter_map(|need| by_name.get(need)) {
                graph.link(*need, index);
            }
        }
        graph
    }

    fn link(&mut self, from: usize, to: usize) {
        if let (Some(feeds), Some(n_needs)) = (self.feeds.get_mut(from), self.n_needs.get_mut(to)) {
            feeds.push(to);
            *n_needs += 1;
        }
    }
}

/// What templates of one task may name.
struct Values<'a> {
    params: &'a BTreeMap<Name, String>,
    host: Option<String>,
}

impl Values<'_> {
    fn command(&self, job: &Job) -> Option<Command> {
        if let Some(handler) = &job.handler {
            return Some(Command::Handler(handler.clone()));
        }
        if let Some(shell) = &job.shell {
            return Some(Command::Shell { shell: shell.shell.clone(), script: shell.script.clone() });
        }
        job.run.iter().map(|part| self.fill(part)).collect::<Option<_>>().map(Command::Argv)
    }

    fn fill(&self, template: &Template) -> Option<String> {
        let lookup = |name: &str| {
            if name == template::HOST {
                return self.host.as_deref();
            }
            self.params.get(&name.parse::<Name>().ok()?).map(String::as_str)
        };
        template.render(&lookup).ok()
    }
}

fn default_queue() -> Result<Name, Vec<Problem>> {
    DEFAULT_QUEUE.parse().map_err(|_| Vec::new())
}
