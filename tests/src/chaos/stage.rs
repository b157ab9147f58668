//! The stage: a mesh with its processes, under load, until everything is over and judged.

mod outputs;
mod struck;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use jiff::Timestamp;
use rr_nats::Mesh;
use rr_nats::server::Embedded;
use rr_schemas::decision::Event;
use rr_schemas::id::RunId;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::flows::{self, Kind, WORKER};
use super::load::{Asked, Load};
use super::operator::Operator;
use super::scenario::{Cue, Report};
use super::stall::Outage;
use super::strike::Strike;
use super::trial::Trial;
use crate::cluster::Servers;
use crate::mesh::{TestMesh, Timing};
use crate::process::{Output, Running};
use crate::proxy::Proxy;
use crate::verdict::Verdict;
use crate::wait::eventually;

/// How long anything may take that is not itself measured.
pub const END: Duration = Duration::from_mins(2);

/// How long a process may take to stop when it is asked to.
const STOP: Duration = Duration::from_secs(30);

/// What a process of the mesh does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It decides.
    Coordinator,
    /// Its name, and the hosts that it serves beside the queue `default`.
    Worker(&'static str, &'static str),
}

/// Whoever serves these serves every host.
pub const ALL_HOSTS: &str = "*";

/// Two coordinators, and three workers that share hosts `h1` to `h9`.
pub const EVERYBODY: &[Role] = &[
    Role::Coordinator,
    Role::Coordinator,
    Role::Worker("w1", "h[1-3]"),
    Role::Worker("w2", "h[4-6]"),
    Role::Worker("w3", "h[7-9]"),
];

/// A process of the mesh.
#[derive(Debug)]
pub struct Part {
    /// What it does.
    pub role: Role,
    /// The process.
    pub process: Running,
    /// Its network, where it has one of its own.
    pub proxy: Option<Proxy>,
}

impl Part {
    fn start<S>(mesh: &TestMesh<S>, role: Role, proxy: Option<Proxy>) -> Self {
        let process = start(mesh, role, proxy.as_ref().map(|proxy| mesh.url_via(proxy)).as_deref());
        Self { role, process, proxy }
    }
}

fn start<S>(mesh: &TestMesh<S>, role: Role, url: Option<&str>) -> Running {
    let server = url.iter().flat_map(|url| ["--server", *url]);
    match role {
        Role::Coordinator => mesh.rr(["coordinator"].into_iter().chain(server)).start(),
        Role::Worker(name, hosts) => {
            let own = ["worker", "--name", name, "--queues", "default", "--capacity", "8"];
            let hosts = if hosts == ALL_HOSTS { vec!["--all-hosts"] } else { vec!["--hosts", hosts] };
            mesh.rr(own.into_iter().chain(hosts).chain(server)).env(WORKER, name).start()
        }
    }
}

/// A mesh with its processes, under load.
#[derive(Debug)]
pub struct Stage<S = Embedded> {
    /// The servers, and the user.
    pub mesh: TestMesh<S>,
    /// The processes of `rr`.
    pub parts: Vec<Part>,
    /// A connection of the harness itself.
    pub handle: Mesh,
    /// What came out so far.
    pub report: Report,
    timing: Timing,
    load: Option<Load>,
    /// Exit codes of `rr verify --all` of which one must come out in the end.
    pub verdicts: &'static [i32],
    /// Whether inputs may be put aside: what is planted, and what is said of attempts that the log has lost.
    pub puts_aside: bool,
    /// Runs beside the load.
    own: Vec<Asked>,
    outages: Vec<Outage>,
    strikes: Vec<Strike>,
    /// Whether attempts may be called lost: not where every worker is there all the time.
    pub losses: Losses,
    /// How long the last run may take to end.
    pub patience: Duration,
    /// Whether what attempts have written is still there.
    pub keeps_output: bool,
}

/// Whether attempts may be called lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Losses {
    /// Their worker may have been away.
    Possible,
    /// No worker was; but what was handed out into a connection that broke with its server comes a second time to a worker that does not
    /// know it, which cannot tell that from its own earlier life, and calls it lost unstarted.
    Undelivered,
    /// No worker was, and no server.
    Never,
}

impl Stage {
    /// One server, and these processes on it.
    pub async fn single(timing: Timing, roles: &[Role]) -> Self {
        Self::over(TestMesh::bare(timing).await, timing, roles, None).await
    }

    /// The same, where each process has a network of its own.
    pub async fn networked(timing: Timing, roles: &[Role]) -> Self {
        let mesh = TestMesh::bare(timing).await;
        let port = mesh.address().port();
        Self::over(mesh, timing, roles, Some(port)).await
    }

    /// Whoever has the password of the server.
    pub fn operator(&self) -> Operator {
        let server = self.mesh.address();
        Operator { port: server.port(), user: server.user().to_owned(), password: server.password().to_owned() }
    }
}

impl Stage<Servers> {
    /// A cluster of three servers, and these processes on it.
    pub async fn cluster(timing: Timing, roles: &[Role]) -> Self {
        Self::over(TestMesh::cluster(timing).await, timing, roles, None).await
    }
}

impl<S> Stage<S> {
    /// These processes on a server that is there.
    ///
    /// # Panics
    /// They do not come.
    pub async fn over(mesh: TestMesh<S>, timing: Timing, roles: &[Role], via: Option<u16>) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        for role in roles {
            let proxy = match via {
                Some(port) => Some(Proxy::to(port).await),
                None => None,
            };
            parts.push(Part::start(&mesh, *role, proxy));
            // Coordinators come first and make the mesh.
            mesh.is_made().await;
        }
        let n_workers = roles.iter().filter(|role| **role != Role::Coordinator).count();
        mesh.has_workers(n_workers).await;
        mesh.has_coordinators(roles.len() - n_workers).await;
        let handle = mesh.mesh().await.expect("a mesh");
        Self {
            mesh,
            parts,
            handle,
            report: Report::default(),
            timing,
            load: None,
            verdicts: &[0],
            puts_aside: false,
            own: Vec::new(),
            outages: Vec::new(),
            strikes: Vec::new(),
            losses: Losses::Possible,
            patience: END,
            keeps_output: true,
        }
    }

    /// Begins with the load.
    pub fn load(&mut self, cue: &mut Cue) {
        self.load = Some(Load::start(self.handle.clone(), self.mesh.path(""), cue.dice.fork()));
    }

    /// Waits until so many more runs were asked for: something of everything is under way.
    ///
    /// # Panics
    /// They are not.
    pub async fn has_asked(&self, more: usize) {
        let until = self.n_asked() + more;
        let asked = async || if self.n_asked() >= until { Ok(()) } else { Err(self.n_asked().to_string()) };
        eventually("load", END, asked).await;
    }

    /// Waits until every run that the load has asked for so far is over, so that the next fault is not added to this one; not
    /// longer than this, for whether they end is judged in the end.
    pub async fn comes_to_rest(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut left = self.runs();
        while let Some(run) = left.last()
            && Instant::now() < until
        {
            let status = self.handle.status(run).await;
            if status.is_ok_and(|entry| entry.is_some_and(|entry| entry.view.status.is_final())) {
                left.pop();
            } else {
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// The coordinators, by their places among the parts.
    pub fn coordinators(&self) -> Vec<usize> {
        self.places(|role| role == Role::Coordinator)
    }

    /// The workers, by their places among the parts.
    pub fn workers(&self) -> Vec<usize> {
        self.places(|role| role != Role::Coordinator)
    }

    fn places(&self, is_one: impl Fn(Role) -> bool) -> Vec<usize> {
        self.parts.iter().enumerate().filter(|(_, part)| is_one(part.role)).map(|(place, _)| place).collect()
    }

    /// The part at a place.
    ///
    /// # Panics
    /// There is none.
    pub fn part(&mut self, place: usize) -> &mut Part {
        self.parts.get_mut(place).expect("a part")
    }

    /// The network of a part.
    ///
    /// # Panics
    /// It has none of its own.
    pub fn network(&self, place: usize) -> &Proxy {
        self.parts.get(place).and_then(|part| part.proxy.as_ref()).expect("a network")
    }

    /// `kill -9` of a process that is alive; it must have been.
    pub async fn kill(&mut self, place: usize) {
        self.lives(place);
        let since = Timestamp::now();
        self.part(place).process.kill().await;
        self.struck(since);
    }

    /// Starts a process that was killed.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn revive(&mut self, place: usize) {
        let Self { mesh, parts, .. } = self;
        let part = parts.get_mut(place).expect("a part");
        part.process = start(mesh, part.role, part.proxy.as_ref().map(|proxy| mesh.url_via(proxy)).as_deref());
    }

    /// Asks a process to stop, and starts it again.
    ///
    /// # Panics
    /// It does not stop, or cannot be started.
    pub async fn restart(&mut self, place: usize) {
        self.lives(place);
        let part = self.parts.remove(place);
        part.process.terminate();
        let Part { role, process, proxy } = part;
        let stopped = process.ended(STOP).await;
        // One that was asked before it began to listen ends at once.
        let is_good = stopped.status.success() || stopped.status.signal() == Some(Signal::TERM.as_raw());
        self.report.demand(is_good, || format!("{role:?} does not stop cleanly: {stopped}"));
        self.parts.insert(place, Part::start(&self.mesh, role, proxy));
    }

    /// Starts a process anew that knows only this server.
    ///
    /// # Panics
    /// It does not stop, or cannot be started.
    pub async fn move_to(&mut self, place: usize, url: &str) {
        let Self { mesh, parts, .. } = self;
        let part = parts.get_mut(place).expect("a part");
        part.process.kill().await;
        part.process = start(mesh, part.role, Some(url));
    }

    /// A run that was asked for beside the load, to be judged like all of them.
    pub fn also(&mut self, run: RunId, kind: &'static Kind, wanted: Timestamp) {
        self.own.push(Asked { run, kind, wanted });
    }

    /// A run that is not judged, because it cannot end.
    pub fn forget(&mut self, run: &RunId) {
        self.own.retain(|asked| asked.run != *run);
    }

    /// A process that was not killed is alive.
    fn lives(&mut self, place: usize) {
        let part = self.part(place);
        if !part.process.runs() {
            let text = format!("{:?} has died by itself: {}", part.role, part.process.stderr());
            self.report.violations.push(text);
        }
    }

    /// Publishes a run as a user does, beside the load; it is judged like all of them.
    ///
    /// # Panics
    /// It is refused.
    pub async fn publish(&mut self, id: &str, kind: &'static Kind) -> RunId {
        let wanted = Timestamp::now();
        let _id = self.ask(id, kind).await.exits(0);
        let run: RunId = id.parse().expect("an id");
        self.also(run.clone(), kind, wanted);
        run
    }

    /// The same for whoever may be refused: nothing is judged.
    pub async fn ask(&self, id: &str, kind: &Kind) -> Output {
        let file = format!("{id}.yaml");
        self.mesh.write(&file, flows::text(kind.name, kind.yaml));
        let dir = format!("dir={}", self.mesh.path("").display());
        self.mesh.rr(["publish", &file, "--id", id, "--set", &dir]).run().await
    }

    /// What is decided of a run so far; nothing where nobody can say.
    pub async fn events_of(&self, run: &RunId) -> Vec<Event> {
        let read = Verdict::read(&self.handle, run, &BTreeSet::new()).await;
        read.map(|verdict| verdict.events().cloned().collect()).unwrap_or_default()
    }

    /// How many attempts of a run have noted that they begin.
    pub fn starts_of(&self, run: &RunId) -> usize {
        let its = format!("{run} ");
        self.mesh.read(flows::STARTS).lines().filter(|line| line.starts_with(&its)).count()
    }

    /// A flow file, for whoever expects to be refused.
    pub fn flow(&self) -> String {
        let path = self.mesh.write("refused.yaml", "name: refused\njobs: [{ name: a, run: ['true'] }]\n");
        path.to_string_lossy().into_owned()
    }

    /// Ends the load, waits for the end of every run, judges all of them, and stops the processes.
    pub async fn finish(mut self) -> Report {
        self.judge().await;
        self.close().await
    }

    /// Ends the load, waits for the end of every run, and judges all of them.
    pub async fn judge(&mut self) {
        let (mut asked, trouble) = match self.load.take() {
            Some(load) => load.stop().await,
            None => (Vec::new(), Vec::new()),
        };
        asked.append(&mut self.own);
        self.report.violations.extend(trouble);
        let Self { timing, losses, puts_aside, .. } = *self;
        let trial = Trial { mesh: &self.handle, timing, outages: &self.outages, losses, puts_aside };
        let asked = trial.settle(&asked, self.patience, &mut self.report).await;
        let lives = trial.judge(&asked, &self.mesh.read(flows::STARTS), &mut self.report).await;
        self.met(&lives);
        // What users have says the same.
        let verified = self.mesh.rr(["verify", "--all"]).within(END).run().await;
        let is_expected = verified.status.code().is_some_and(|code| self.verdicts.contains(&code));
        self.report.demand(is_expected, || format!("not one of {:?}: {verified}", self.verdicts));
        self.judge_outputs(&asked).await;
    }

    /// Stops the processes, which are all alive.
    pub async fn close(mut self) -> Report {
        for place in 0..self.parts.len() {
            self.lives(place);
        }
        // Workers go first, while somebody hears what they still say.
        for mut part in self.parts.drain(..).rev() {
            if !part.process.runs() {
                continue;
            }
            part.process.terminate();
            // Whatever was found before must not go with it.
            match part.process.try_ended(STOP).await {
                Err(why) => self.report.violations.push(why),
                Ok(stopped) => {
                    let is_good = stopped.status.success();
                    self.report.demand(is_good, || format!("{:?} does not stop cleanly: {stopped}", part.role));
                }
            }
        }
        self.report
    }
}
