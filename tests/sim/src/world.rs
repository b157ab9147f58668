//! A seed from its begin to its end.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rr_model::{Chances, Counts, Model, ModelConfig, Noted};
use rr_nats::{Error, Link, Mesh, ensure, subject};
use rr_schemas::{decision::Event, id::RunId};
use rr_verify::history::GRACE;
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    branches::{self, Said},
    case::{Case, Mode, RunPlan},
    chaos::Chaos,
    clock::WorldTime,
    function::{Seen, Start},
    judge::{Complaint, Digest, judge_offers, judge_starts},
    machine::{Machine, Site, topology},
    overlap::judge_overlap,
    quiet::{in_time, nothing_is_left, relief},
    retention::forget,
    retries::judge_retries,
    stored::{Kept, Stored},
    swarm::{self, Kind},
    user::{self, Asked, wait_for_end},
};

/// How long a world may last: trouble, and several times what is waited for after it.
const WORLD: Duration = Duration::from_hours(1);
/// How long the servers may take to answer once nothing goes wrong any more.
pub(crate) const ANSWERS: Duration = Duration::from_mins(1);
/// What the product and its machines say of themselves that must never be so.
pub(crate) const ALARMS: [&str; 12] = [
    "a part of the coordinator failed",
    "a part of the coordinator ended; it is started again",
    "a helper of the worker failed",
    "the run is parked",
    "the run cannot go on",
    "an input makes the coordinator fail",
    "the worker panicked while it carried out an attempt",
    "the plan has no such task",
    "a worker does not end",
    "event passed over",
    "a machine panics",
    "an offer cannot be made",
];

/// Flows that must have begun, by how [`word`] counts them.
pub(crate) const FLOWS: [&str; 3] = ["retry taken over", "targets by labels", "parameters given"];

/// What a seed came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is wrong; nothing, where all is well.
    pub complaints: Vec<Complaint>,
    /// How often each kind of fault came.
    pub faults: BTreeMap<String, u64>,
    /// How often each thing was logged.
    pub said: Said,
    /// How often each kind of event was decided.
    pub events: BTreeMap<&'static str, u64>,
    /// Tells this history from any other.
    pub digest: u64,
    /// Functions that were started.
    pub starts: usize,
    /// How much time has passed in the world.
    pub simulated: Duration,
}

/// Lives through a case. Its files are below `dir` meanwhile, which is best kept in memory.
///
/// # Errors
/// The files cannot be made.
pub fn run(case: &Case, dir: &Path) -> io::Result<Report> {
    let files = tempfile::Builder::new().prefix("rr-sim-").tempdir_in(dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    drop(branches::take());
    fastrand::seed(case.seed);
    let world = async { timeout(WORLD, live(case, &files)).await.unwrap_or_else(|_| failed("the world does not end")) };
    let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(world)));
    // What still runs ends here, and may fail in its turn.
    let ended = catch_unwind(AssertUnwindSafe(|| drop(runtime)));
    let mut report = lived.unwrap_or_else(|_| failed("the simulation panics"));
    if ended.is_err() {
        report.complaints.push(Complaint { run: None, text: "the end of the simulation panics".to_owned() });
    }
    report.said = branches::take();
    report.complaints.extend(alarms(&report.said));
    Ok(report)
}

fn failed(text: &str) -> Report {
    Report { complaints: vec![Complaint { run: None, text: text.to_owned() }], ..Report::default() }
}

fn alarms(said: &Said) -> impl Iterator<Item = Complaint> {
    ALARMS
        .into_iter()
        .filter(|alarm| said.contains_key(*alarm))
        .map(|alarm| Complaint { run: None, text: format!("logged: {alarm}") })
}

async fn live(case: &Case, files: &TempDir) -> Report {
    let begun = Instant::now();
    let agreement = Duration::from_millis(1)..=case.agreement_max;
    let config = ModelConfig { agreement, ..ModelConfig::new(case.seed, case.servers) };
    let time = WorldTime::new(config.start);
    let model = Model::new(config);
    let (link, mesh) = match user_mesh(case, &model).await {
        Ok(made) => made,
        Err(error) => return failed(&format!("the mesh cannot be made: {error}")),
    };
    model.keep_journal(&[subject::WORK, subject::TIMERS]);
    let (seen, topology) = (Seen::default(), topology(case));
    let Case { seed: number, manners, .. } = *case;
    let site = Arc::new(Site { time, model: model.clone(), topology, seed: number, manners, seen: seen.clone() });
    let (firsts, retries) = ids(case);
    let runs: Vec<RunId> = firsts.iter().chain(&retries).cloned().collect();
    let asked = Asked::default();
    let mut asking = JoinSet::new();
    for (index, (run, plan)) in firsts.iter().cloned().zip(case.runs.clone()).enumerate() {
        let (mesh, asked, dice) = (mesh.clone(), asked.clone(), rr_draw::Dice(case.seed ^ (index as u64 + 1)));
        asking.spawn(async move { user::wants(&mesh, &run, &plan, dice, &asked).await });
    }
    let machines = machines(case, &site, time, files.path());
    let mut chaos = Chaos::new(case, &site, machines, mesh.clone(), asked);
    let mut report = Report::default();
    match case.mode {
        Mode::Safety => {
            chaos.rage(begun + case.trouble).await;
            for machine in &mut chaos.machines {
                machine.kill(&site);
            }
            asking.shutdown().await;
            chaos.mend_server();
        }
        Mode::Liveness => {
            let trouble = chaos.rage(begun + case.trouble);
            all_over(&mesh, &runs, trouble).await;
            chaos.mend_all();
            report.complaints = in_time(&mesh, &firsts).await;
            // They are asked for when the others are over.
            if report.complaints.is_empty() {
                report.complaints = in_time(&mesh, &retries).await;
            }
            let relief = relief(case, time, files.path());
            nothing_is_left(&mesh, &runs, &site, relief, &mut chaos.machines).await;
        }
    }
    if chaos.counts.contains_key(&Kind::StreamRemoved) && ensure(&link, &site.topology).await.is_err() {
        tracing::warn!("streams that were removed cannot be made again");
    }
    // The journal first: what is stored while the quarantine is read is in it only later.
    match (model.journal(), read(&mesh, &runs).await) {
        (_, Err(error)) => {
            report.complaints.push(Complaint { run: None, text: format!("nothing can be read: {error}") });
        }
        (journal, Ok((stored, now))) => report.judge(case.mode, &stored, now, &seen.all(), &journal, &chaos),
    }
    if case.forgets && report.complaints.is_empty() {
        forget(&mut chaos, &site, (&mesh, &runs), &seen, &mut report).await;
    }
    report.faults = counts(&chaos, model.counts());
    report.simulated = begun.elapsed();
    report
}

/// The ids of the runs of a case, and of those that retry them.
fn ids(case: &Case) -> (Vec<RunId>, Vec<RunId>) {
    let firsts: Vec<RunId> = (0..case.runs.len()).filter_map(user::run_id).collect();
    let is_retried = |(run, plan): (&RunId, &RunPlan)| plan.again.and_then(|_| user::again_id(run));
    let retries = firsts.iter().zip(&case.runs).filter_map(is_retried).collect();
    (firsts, retries)
}

/// The machines of a case, at work.
fn machines(case: &Case, site: &Arc<Site>, time: WorldTime, dir: &Path) -> Vec<Machine> {
    let coordinators = (1..=case.coordinators).map(|number| Machine::coordinator(number, time, case.seed));
    let workers = case.workers.iter().zip(1..);
    let workers = workers.filter_map(|(plan, number)| Machine::worker(number, plan, dir, time));
    let mut machines: Vec<Machine> = coordinators.chain(workers).collect();
    for machine in &mut machines {
        machine.start(site);
    }
    machines
}

impl Report {
    fn judge(
        &mut self,
        mode: Mode,
        stored: &Stored,
        now: Timestamp,
        starts: &[Start],
        journal: &[Noted],
        chaos: &Chaos,
    ) {
        let kept = stored.kept();
        for event in kept.iter().flat_map(Kept::events) {
            *self.events.entry(word(event)).or_default() += 1;
        }
        match mode {
            Mode::Safety => self.complaints.extend(stored.complaints(None)),
            Mode::Liveness => {
                // Nothing is wrong any more: nobody needs the time that is granted where something is.
                let now = now.checked_add(GRACE.as_duration()).unwrap_or(now);
                self.complaints.extend(stored.complaints(Some(now)));
                self.complaints.extend(stored.left_over());
                if !chaos.counts.contains_key(&Kind::StreamRemoved) {
                    self.complaints.extend(stored.timers_not_put_aside(journal));
                }
            }
        }
        // A server that begins again has forgotten what it delivered last, and ids of offers that are done with.
        let forgetful = [Kind::ConsumerRemoved, Kind::StreamRemoved, Kind::ServerRestarted];
        let counts_hold = forgetful.iter().all(|kind| !chaos.counts.contains_key(kind));
        self.complaints.extend(judge_starts(starts, &kept, counts_hold));
        self.complaints.extend(judge_overlap(starts, &kept, chaos.site.time));
        self.complaints.extend(judge_offers(journal, &kept));
        self.complaints.extend(judge_retries(starts, &kept));
        self.starts = starts.len();
        let mut digest = stored.digest;
        take_journal(&mut digest, journal);
        self.digest = digest.0;
    }
}

/// Takes in what was ever stored beside the log: a stream itself forgets what was taken from it.
pub(crate) fn take_journal(digest: &mut Digest, journal: &[Noted]) {
    for Noted { stream, seq, subject, id, scheduler, at } in journal {
        for text in [stream, subject].into_iter().chain(id).chain(scheduler) {
            digest.take(text.as_bytes());
        }
        digest.take(&seq.to_le_bytes());
        digest.take(&at.as_nanosecond().to_le_bytes());
    }
}

async fn user_mesh(case: &Case, model: &Model) -> Result<(Link, Mesh), Error> {
    let link = model.link("user").await?;
    model.set_chances(Some("user"), Chances::default());
    let mesh = ensure(&link, &topology(case)).await?;
    Ok((link, mesh))
}

/// Reads everything, as soon as the servers answer, and says what time it is by their clock.
pub(crate) async fn read(mesh: &Mesh, runs: &[RunId]) -> Result<(Stored, Timestamp), Error> {
    let until = Instant::now() + ANSWERS;
    loop {
        let both = async { Ok((Stored::read(mesh, runs).await?, mesh.server_time().await?)) };
        match both.await {
            Err(_) if Instant::now() < until => sleep(Duration::from_millis(200)).await,
            read => return read,
        }
    }
}

fn counts(chaos: &Chaos, of_messages: Counts) -> BTreeMap<String, u64> {
    let of_kinds = chaos.counts.iter().map(|(kind, count)| (kind.name().to_owned(), *count));
    let of_messages = of_messages.into_iter().map(|(name, count)| (swarm::of_messages(name), count));
    of_kinds.chain(of_messages).collect()
}

/// Lets trouble go on, but not for longer than there is something to be troubled.
async fn all_over(mesh: &Mesh, runs: &[RunId], trouble: impl Future<Output = ()>) {
    let over = async {
        for run in runs {
            wait_for_end(mesh, run).await;
        }
    };
    tokio::select! {
        biased;
        () = trouble => {}
        () = over => {}
    }
}

fn word(event: &Event) -> &'static str {
    match event {
        Event::Submitted { retry_of: Some(_), .. } => "retry taken over",
        Event::Submitted { found, .. } if !found.is_empty() => "targets by labels",
        Event::Submitted { params, .. } if !params.is_empty() => "parameters given",
        Event::Submitted { .. } => "submitted",
        Event::Rejected { .. } => "rejected",
        Event::Offered { offer: 1, .. } => "offered",
        Event::Offered { .. } => "offered again",
        Event::Started { .. } => "started",
        Event::Extended { .. } => "extended",
        Event::Ended { again: Some(_), .. } => "ended, again",
        Event::Ended { end, .. } => end.outcome.word(),
        Event::Returned { .. } => "returned",
        Event::Held { .. } => "held",
        Event::Late { .. } => "late",
        Event::CancelRequested { .. } => "cancel requested",
        Event::Signalled { .. } => "signalled",
        Event::DeadlinePassed {} => "deadline passed",
        Event::JobEnded { .. } => "job ended",
        Event::RunEnded { .. } => "run ended",
        Event::PutAside { .. } => "put aside",
    }
}
