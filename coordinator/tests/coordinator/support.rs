//! A server of the test's own, coordinators on it, and workers that the test plays.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot prepare fails")]

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use rr_coordinator::{Coordinator, Handle, Options};
use rr_core::{History, Policy};
use rr_nats::{
    ConnectOptions, FeedConfig, First, Lane, Mesh, OfferMsg, PartitionFeed, Present, PullConfig, Topology, connect,
    ensure,
    server::{Config, Embedded, Search, default_cache_dir, obtain},
};
use rr_schemas::{
    decision::{Decision, Event, RunStatus},
    flow::select::Labels,
    id::{EntityId, RunId},
    input::{Input, Submit},
    name::{InstanceId, WorkerName},
    offer::Offer,
    presence::{Hosts, Serves, WorkerPresence},
    report::{Claim, Ended, Outcome, Report, What},
    span::Span,
    view::RunView,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::relay::Relay;

/// Nothing in these tests takes longer unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    _dir: TempDir,
    pub(crate) server: Embedded,
    pub(crate) mesh: Mesh,
    topology: Topology,
}

/// Short waits, so that what a take-over waits for is tested and not waited for.
pub(crate) fn hasty() -> Topology {
    Topology {
        partitions: 2,
        partition_ack_wait: Duration::from_millis(700),
        pin_timeout: Duration::from_millis(600),
        ..Topology::default()
    }
}

pub(crate) fn options() -> Options {
    Options { pull_expires: millis(200), hesitation: millis(100), presence_ttl: millis(3_000), ..Options::default() }
}

pub(crate) fn policy(offer_expiry: Span, lease: Span) -> Options {
    Options { policy: Policy { offer_expiry, lease, ..Policy::default() }, ..options() }
}

pub(crate) fn millis(millis: u64) -> Span {
    Span::saturating_from_millis(millis)
}

impl World {
    pub(crate) async fn new(topology: Topology) -> Self {
        let value = |name| std::env::var_os(name);
        let search = Search {
            explicit: value("RR_NATS_SERVER").map(Into::into),
            path: value("PATH"),
            cache_dir: default_cache_dir(value("XDG_CACHE_HOME").as_deref(), value("HOME").as_deref()).unwrap(),
        };
        let binary = obtain(&search, &|_line| {}).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path().join("store"), dir.path().join("run"));
        let server = Embedded::start(&binary, config).await.unwrap();
        let mesh = mesh(&server, &server.url(), &topology).await;
        Self { _dir: dir, server, mesh, topology }
    }

    /// A coordinator with a connection of its own.
    pub(crate) async fn coordinator(&self, options: Options) -> Handle {
        Coordinator::start(self.connect().await, options)
    }

    /// Another connection to the mesh.
    pub(crate) async fn connect(&self) -> Mesh {
        mesh(&self.server, &self.server.url(), &self.topology).await
    }

    /// Another connection to the mesh, by way of somebody who carries it.
    pub(crate) async fn connect_via(&self, relay: &Relay) -> Mesh {
        mesh(&self.server, &relay.url(), &self.topology).await
    }

    /// Removes a stream, as somebody does who knows nothing of us: in the words of the server.
    pub(crate) async fn remove_stream(&self, stream: &str) {
        self.orders(&format!("STREAM.DELETE.{stream}"), "").await;
        until(&format!("{stream} is gone"), async || {
            let there = self.mesh.link().streams_there().await.unwrap();
            (!there.iter().any(|name| name == stream)).then_some(())
        })
        .await;
    }

    /// Takes every message of these subjects out of a stream, likewise.
    pub(crate) async fn purge(&self, stream: &str, subjects: &str) {
        self.orders(&format!("STREAM.PURGE.{stream}"), &format!(r#"{{"filter": "{subjects}"}}"#)).await;
    }

    /// Takes one message out of the log, likewise.
    pub(crate) async fn remove_message(&self, seq: u64) {
        self.orders("STREAM.MSG.DELETE.RR_EVENTS", &format!(r#"{{"seq": {seq}}}"#)).await;
    }

    async fn orders(&self, operation: &str, body: &str) {
        let mut socket = TcpStream::connect(("127.0.0.1", self.server.port())).await.unwrap();
        let login = serde_json::json!({"user": self.server.user(), "pass": self.server.password(), "verbose": false});
        let length = body.len();
        let words = format!("CONNECT {login}\r\nPUB $JS.API.{operation} {length}\r\n{body}\r\nPING\r\n");
        socket.write_all(words.as_bytes()).await.unwrap();
        // What is closed too early may not be read.
        let mut answer = BufReader::new(socket).lines();
        until("the server has read it", async || {
            answer.next_line().await.unwrap().filter(|line| line == "PONG").map(drop)
        })
        .await;
    }

    /// A worker that serves these hosts, or the queue `default` where there are none.
    pub(crate) async fn worker(&self, name: &str, hosts: &str) -> Worker {
        self.labelled(name, hosts, Labels::default()).await
    }

    pub(crate) async fn labelled(&self, name: &str, hosts: &str, labels: Labels) -> Worker {
        let name: WorkerName = name.parse().unwrap();
        let instance = InstanceId::random(&mut fastrand::Rng::new());
        let hosts = if hosts.is_empty() { Hosts::None } else { Hosts::Only(hosts.parse().unwrap()) };
        let queue = "default".parse().unwrap();
        let own = self.mesh.ensure_lane(&name, &hosts, &labels).await.unwrap();
        let durable = match hosts {
            Hosts::None => {
                let [_, normal, _] = self.mesh.ensure_queue_lanes(&queue).await.unwrap();
                normal
            }
            Hosts::All | Hosts::Only(_) => own,
        };
        let queues = if hosts == Hosts::None { vec![queue] } else { Vec::new() };
        let lane = self.mesh.open_lane(&durable, PullConfig::default()).await.unwrap();
        let value = WorkerPresence {
            worker: name.clone(),
            instance: instance.clone(),
            serves: Serves { hosts, queues },
            capacity: 1,
            labels,
            version: "0".to_owned(),
            since: Timestamp::now(),
            draining: false,
        };
        let present = self.mesh.present_worker(value, Duration::from_mins(1)).await.unwrap();
        Worker { mesh: self.mesh.clone(), name, instance, lane, present: Some(present) }
    }

    pub(crate) async fn submit(&self, run: &str, flow: &str) -> RunId {
        self.asks(run, &submit(flow)).await
    }

    /// The first thing that is asked of a run.
    pub(crate) async fn asks(&self, run: &str, input: &Input) -> RunId {
        let run: RunId = run.parse().unwrap();
        self.mesh.submit(&run, "test", input, First::New).await.unwrap();
        run
    }

    /// Acknowledges what is asked of a run, and answers nothing: that is what is left where the decision is lost.
    pub(crate) async fn acknowledges(&self, run: &RunId) {
        let partition = self.mesh.partition_of(&run.into());
        let config = FeedConfig::new(InstanceId::random(&mut fastrand::Rng::new()));
        let mut feed = PartitionFeed::open(&self.mesh, partition, config).await.unwrap();
        let asked = timeout(PATIENCE, feed.next_batch(1)).await.expect("what was asked").unwrap();
        for input in asked {
            assert_eq!(input.entity, run.into());
            input.delivery.unwrap().ack.confirm().await.unwrap();
        }
    }

    /// The status in the bucket, once it is one that is looked for.
    pub(crate) async fn view(&self, run: &RunId, wanted: impl Fn(&RunView) -> bool) -> RunView {
        until(&format!("{run} gets there"), async || {
            self.mesh.status(run).await.unwrap().map(|entry| entry.view).filter(|view| wanted(view))
        })
        .await
    }

    pub(crate) async fn ends(&self, run: &RunId, status: RunStatus) -> RunView {
        let view = self.view(run, |view| view.status.is_final()).await;
        assert_eq!(view.status, status, "{:?}", self.decisions(run).await);
        self.check(run).await;
        view
    }

    pub(crate) async fn decisions(&self, run: &RunId) -> Vec<Decision> {
        let history = self.mesh.history(&EntityId::from(run), 0).await.unwrap();
        history.into_iter().map(|stored| stored.decision.unwrap()).collect()
    }

    pub(crate) async fn events(&self, run: &RunId) -> Vec<Event> {
        let decisions = self.decisions(run).await;
        decisions.into_iter().flat_map(|decision| decision.events).map(|record| record.event).collect()
    }

    /// Waits until an event has happened.
    pub(crate) async fn happens(&self, run: &RunId, wanted: impl Fn(&Event) -> bool) {
        until(&format!("something happens to {run}"), async || {
            self.events(run).await.iter().any(&wanted).then_some(())
        })
        .await;
    }

    /// Waits until more events of a kind have happened than before.
    pub(crate) async fn happens_more(&self, run: &RunId, before: usize, wanted: impl Fn(&Event) -> bool) {
        until(&format!("something happens to {run} again"), async || {
            (self.events(run).await.iter().filter(|event| wanted(event)).count() > before).then_some(())
        })
        .await;
    }

    /// What holds of every history: one chain, every event legal, no attempt ended twice.
    pub(crate) async fn check(&self, run: &RunId) {
        let stored = self.mesh.history(&EntityId::from(run), 0).await.unwrap();
        let mut history = History::new(run.clone());
        let mut ended = BTreeSet::new();
        let (mut n, mut hash, mut upto) = (0, String::new(), 0);
        for stored in stored {
            let decision = stored.decision.unwrap();
            n += 1;
            assert_eq!((decision.n, &decision.prev), (n, &hash), "one chain");
            assert!(decision.upto >= upto, "the cursor never goes back");
            (hash, upto) = (stored.hash, decision.upto);
            for record in &decision.events {
                history.apply(record).expect("a legal event");
                if let Event::Ended { task, attempt, .. } = &record.event {
                    assert!(ended.insert((*task, *attempt)), "task {task} attempt {attempt} ended twice");
                }
            }
        }
    }
}

async fn mesh(server: &Embedded, url: &str, topology: &Topology) -> Mesh {
    let link = connect(&ConnectOptions {
        server: url.to_owned(),
        user: Some(server.user().to_owned()),
        password: Some(server.password().to_owned()),
        ..ConnectOptions::default()
    })
    .await
    .unwrap();
    ensure(&link, topology).await.unwrap()
}

pub(crate) fn submit(flow: &str) -> Input {
    let flow = serde_json::from_str(flow).unwrap();
    Input::Submit(Box::new(Submit {
        flow,
        params: rr_schemas::flow::params::ParamValues::default(),
        by: "test".to_owned(),
        retry_of: None,
    }))
}

/// A flow of one job.
pub(crate) fn one_job(rest: &str) -> String {
    format!(r#"{{"name": "f", "jobs": [{{"name": "j", "handler": "noop"{rest}}}]}}"#)
}

pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) struct Worker {
    mesh: Mesh,
    pub(crate) name: WorkerName,
    pub(crate) instance: InstanceId,
    lane: Lane,
    present: Option<Present<WorkerPresence>>,
}

impl Worker {
    /// The next offer, taken out of the queue.
    pub(crate) async fn offer(&mut self) -> Offer {
        let message = self.next().await;
        message.ack.confirm().await.unwrap();
        message.offer.unwrap()
    }

    /// The next offer, not acknowledged.
    pub(crate) async fn held_offer(&mut self) -> Offer {
        self.next().await.offer.unwrap()
    }

    async fn next(&mut self) -> OfferMsg {
        timeout(PATIENCE, async {
            loop {
                if self.lane.outstanding() == 0 {
                    self.lane.request(1).await.unwrap();
                }
                if let Some(message) = self.lane.next().await.unwrap() {
                    return message;
                }
            }
        })
        .await
        .expect("an offer")
    }

    pub(crate) async fn report(&self, offer: &Offer, what: What) {
        let report = Report {
            task: offer.task,
            attempt: offer.attempt,
            offer: offer.offer,
            instance: self.instance.clone(),
            what,
            token: offer.token.clone(),
        };
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.mesh.report(&self.name, &offer.run, &report).await {
            assert!(Instant::now() < deadline, "{error}");
        }
    }

    pub(crate) async fn ends(&self, offer: &Offer, outcome: Outcome) {
        self.report(offer, What::Ended(ended(outcome))).await;
    }

    pub(crate) async fn starts(&self, offer: &Offer) {
        self.report(offer, What::Started { at: Timestamp::now() }).await;
    }

    /// Takes the right to start it.
    pub(crate) async fn claims(&self, offer: &Offer) {
        let (worker, instance) = (self.name.clone(), self.instance.clone());
        let claim = Claim { task: offer.task, attempt: offer.attempt, worker, instance, token: offer.token.clone() };
        self.mesh.claim(&offer.run, &claim, rr_nats::Earlier::None).await.unwrap();
    }

    /// Its presence is gone, as if it had run out.
    pub(crate) async fn vanish(&mut self) {
        if let Some(present) = self.present.take() {
            present.withdraw().await.unwrap();
        }
    }

    /// Runs whatever it is offered, for ever; each attempt succeeds at once.
    pub(crate) fn works(mut self) -> Working {
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let wanted = 64_usize.saturating_sub(self.lane.outstanding());
                // While the server is away nothing can be asked for.
                if wanted >= 32 && self.lane.request(wanted).await.is_err() {
                    sleep(Duration::from_millis(50)).await;
                }
                let Ok(Some(message)) = self.lane.next().await else { continue };
                let offer = message.offer.unwrap();
                self.ends(&offer, Outcome::Ok).await;
                message.ack.ack().await;
            }
        });
        Working { _tasks: tasks }
    }
}

/// A worker at work, until it is dropped.
pub(crate) struct Working {
    _tasks: JoinSet<()>,
}

pub(crate) fn ended(outcome: Outcome) -> Ended {
    let exit_code = match outcome {
        Outcome::Ok => Some(0),
        Outcome::Failed => Some(1),
        Outcome::Timeout | Outcome::Lost | Outcome::Unreachable | Outcome::Refused | Outcome::Cancelled => None,
    };
    Ended {
        outcome,
        exit_code,
        signal: None,
        reason: None,
        started_at: None,
        ended_at: None,
        output: rr_schemas::report::Output::default(),
    }
}
