//! Rules of the whole worker, on a real nats-server; the test plays the coordinator.

mod closed;
mod ending;
mod full;
mod links;
mod locking;
mod returning;
mod running;
mod sharing;
mod starting;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_nats::server::{Config, Embedded, Search, default_cache_dir, obtain};
use rr_nats::{ConnectOptions, Earlier, Mesh, Topology, connect, ensure};
use rr_schemas::{
    id::RunId,
    input::Input,
    name::WorkerName,
    offer::{Command, Offer, Target},
    presence::JoinAnswer,
    report::{Claim, Ended, Report, What},
};
use rr_worker::{Handle, Handlers, Options, StartError, Worker, config::Hosts};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Longest wait for anything, on a machine that is busy with other tests.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A mesh with a coordinator that lets everybody join, hands out again what is given back, and decides nothing else.
struct Stage {
    dir: TempDir,
    server: Embedded,
    mesh: Mesh,
    coordinator: JoinSet<()>,
    /// What was offered, by task, attempt and offer.
    offered: Offered,
}

type Offered = Arc<Mutex<HashMap<(u32, u32, u32), Offer>>>;

impl Stage {
    async fn new() -> Self {
        Self::with_ack_wait(Duration::from_secs(30)).await
    }

    async fn with_ack_wait(work_ack_wait: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let value = |name| std::env::var_os(name);
        let search = Search {
            explicit: value("RR_NATS_SERVER").map(Into::into),
            path: value("PATH"),
            cache_dir: default_cache_dir(value("XDG_CACHE_HOME").as_deref(), value("HOME").as_deref()).unwrap(),
        };
        let binary = obtain(&search, &|_line| {}).await.unwrap();
        let config = Config::new(dir.path().join("store"), dir.path().join("run"));
        let server = Embedded::start(&binary, config).await.unwrap();
        let link = connect(&access(&server, "coordinator")).await.unwrap();
        let mesh = ensure(&link, &Topology { work_ack_wait, ..Topology::default() }).await.unwrap();
        let mut stage = Self { dir, server, mesh, coordinator: JoinSet::new(), offered: Offered::default() };
        stage.start_coordinator();
        stage
    }

    fn start_coordinator(&mut self) {
        self.coordinator.spawn(let_join(self.mesh.clone()));
        self.coordinator.spawn(offer_again(self.mesh.clone(), Arc::clone(&self.offered)));
    }

    async fn stop_coordinator(&mut self) {
        self.coordinator.shutdown().await;
    }

    /// A connection of its own.
    async fn connect(&self, name: &str) -> Mesh {
        connect(&access(&self.server, name)).await.unwrap().mesh().await.unwrap()
    }

    /// A worker of some queues.
    fn options(&self, name: &str, queues: &[&str], capacity: u32) -> Options {
        let mut options = Options::new(name.parse().unwrap(), self.state_dir(name));
        options.serves.queues = queues.iter().map(|queue| queue.parse().unwrap()).collect();
        options.capacity = NonZeroU32::new(capacity).unwrap();
        options.environment = std::env::vars_os().collect();
        options.times.farewell = "2s".parse().unwrap();
        options
    }

    fn state_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join("state").join(name)
    }

    async fn start(&self, options: Options, handlers: Handlers) -> Result<Handle, StartError> {
        let mesh = self.connect(options.name.as_str()).await;
        timeout(WAIT_MAX, Worker::start(mesh, options, handlers)).await.unwrap()
    }

    /// A worker that serves every host and the queue `q`.
    async fn worker(&self, name: &str, capacity: u32, handlers: Handlers) -> Handle {
        let mut options = self.options(name, &["q"], capacity);
        options.serves.hosts = Hosts::All;
        self.start(options, handlers).await.unwrap()
    }

    async fn offer(&self, offer: &Offer) {
        self.offered.lock().unwrap().insert((offer.task, offer.attempt, offer.offer), offer.clone());
        self.mesh.offer(offer).await.unwrap();
    }

    /// Somebody claims the first attempt of the first task.
    async fn claims(&self, worker: &str, instance: &str) {
        let (worker, instance) = (worker.parse().unwrap(), instance.parse().unwrap());
        let claim = Claim { task: 0, attempt: 1, worker, instance, token: String::new() };
        self.mesh.claim(&run(), &claim, Earlier::None).await.unwrap();
    }

    /// Task, offer and worker of everything that was given back.
    async fn returns(&self) -> Vec<(u32, u32, WorkerName)> {
        let returned = |(_, worker, report): (u64, WorkerName, Report)| {
            matches!(report.what, What::Returned {}).then_some((report.task, report.offer, worker))
        };
        self.reports().await.into_iter().filter_map(returned).collect()
    }

    /// Every report on the run, with its sequence and who sent it.
    async fn reports(&self) -> Vec<(u64, WorkerName, Report)> {
        let inputs = self.mesh.inputs_after(&(&run()).into(), 0, 0).await.unwrap();
        inputs
            .into_iter()
            .filter_map(|message| match (message.source.clone(), message.input.clone()) {
                (rr_schemas::input::Source::Worker(worker), Ok(Input::Report(report))) => {
                    Some((message.seq(), worker, report))
                }
                (_, Ok(Input::Claim(_))) => None,
                (source, input) => panic!("{source:?}: {input:?}"),
            })
            .collect()
    }

    /// The ends that were reported, in the order in which they are stored.
    async fn ends(&self) -> Vec<(u32, Ended)> {
        let ends = self.reports().await.into_iter().filter_map(|(_, _, report)| match report.what {
            What::Ended(ended) => Some((report.task, ended)),
            What::Started { .. } | What::Returned {} => None,
        });
        ends.collect()
    }

    /// The ends of this many attempts, once they are all reported and nothing is left on offer.
    async fn all_ends(&self, count: usize) -> Vec<(u32, Ended)> {
        until("all ends and no offer", async || {
            let ends = self.ends().await;
            (ends.len() >= count && self.mesh.offers(&run()).await.unwrap().is_empty()).then_some(ends)
        })
        .await
    }

    /// The first reported end.
    async fn end(&self) -> Ended {
        self.all_ends(1).await.remove(0).1
    }
}

fn access(server: &Embedded, name: &str) -> ConnectOptions {
    ConnectOptions {
        server: server.url(),
        user: Some(server.user().to_owned()),
        password: Some(server.password().to_owned()),
        name: name.to_owned(),
        ..ConnectOptions::default()
    }
}

async fn let_join(mesh: Mesh) {
    let mut joins = mesh.serve_joins().await.unwrap();
    while let Some(request) = joins.next().await {
        let join = request.join.clone().unwrap();
        let answer = match mesh.ensure_lane(&join.worker, &join.serves.hosts, &join.labels).await {
            Ok(own) => {
                let mut queues = Vec::new();
                for queue in &join.serves.queues {
                    queues.push(mesh.ensure_queue_lanes(queue).await.unwrap());
                }
                JoinAnswer::Welcome { own, queues }
            }
            Err(error) => JoinAnswer::Refused { reason: error.to_string() },
        };
        request.reply.answer(&answer).await;
    }
}

async fn offer_again(mesh: Mesh, offered: Offered) {
    let mut seen = 0;
    loop {
        for message in mesh.inputs_after(&(&run()).into(), seen, 0).await.unwrap() {
            seen = message.seq();
            let Ok(Input::Report(Report { task, attempt, offer, what: What::Returned {}, .. })) = message.input else {
                continue;
            };
            let of_before = offered.lock().unwrap().get(&(task, attempt, offer)).cloned();
            let again = Offer { offer: offer + 1, ..of_before.unwrap() };
            offered.lock().unwrap().insert((task, attempt, offer + 1), again.clone());
            mesh.offer(&again).await.unwrap();
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until something is so.
async fn until<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not so after {WAIT_MAX:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn ended(handle: &mut Handle) {
    timeout(WAIT_MAX, handle.join()).await.unwrap().unwrap();
}

/// The run that all tests speak of.
fn run() -> RunId {
    "run1".parse().unwrap()
}

/// An offer of the queue `q`.
fn offer(task: u32, command: Command) -> Offer {
    Offer {
        run: run(),
        flow: "flow1".parse().unwrap(),
        job: "job1".parse().unwrap(),
        task,
        attempt: 1,
        offer: 1,
        target: Target::Queue("q".parse().unwrap()),
        priority: rr_schemas::flow::Priority::default(),
        command,
        env: BTreeMap::new(),
        inherit_env: Vec::new(),
        params: BTreeMap::new(),
        cwd: None,
        timeout: None,
        grace: None,
        claimed: false,
        lock: None,
        token: String::new(),
    }
}

fn sh(script: &str) -> Command {
    Command::Shell { shell: vec!["/bin/sh".to_owned(), "-c".to_owned()], script: script.to_owned() }
}

fn handler(name: &str) -> Command {
    Command::Handler(name.parse().unwrap())
}
