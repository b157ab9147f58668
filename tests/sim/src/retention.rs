//! What is old is forgotten, and nothing else: what some meshes go on with once everything else was judged.
//!
//! A run that waits for a person holds everything back that was asked for after it, so the one that stays open here is asked for last:
//! behind it nothing of the others may be left.

use std::time::Duration;

use rr_nats::Mesh;
use rr_schemas::{flow::params::ParamValues, id::RunId, span::Span};
use tokio::time::{Instant, sleep};

use crate::{
    case::RunPlan,
    chaos::Chaos,
    clock::WorldTime,
    function::{Seen, Start},
    judge::{Complaint, Digest, judge_starts},
    machine::Site,
    overlap::judge_overlap,
    quiet::in_time,
    stored::Stored,
    swarm::Kind,
    user,
    world::{Report, read, take_journal},
};

/// How long the history of a run is kept that has ended.
const KEEP_MS: u64 = 5_000;
/// How often what is older is looked for.
const SWEEP_EVERY_MS: u64 = 1_000;
/// How long things go wrong meanwhile.
const TROUBLE: Duration = Duration::from_secs(6);
/// How long everything may take to be forgotten when nothing goes wrong any more: states are kept for three times as long again, and
/// coordinators need some seconds to agree on who looks.
const FORGOTTEN_WITHIN: Duration = Duration::from_mins(1);
/// The run that stays open while the others are forgotten: it waits for a person, whatever becomes of its first job.
const OPEN: &str = r#"{"name":"open","jobs":[
    {"name":"before","handler":"work","queue":"default"},
    {"name":"gate","signal":"go"},
    {"name":"after","handler":"work","queue":"default","needs":["gate"]}]}"#;

/// Lets coordinators forget what has ended, among faults; reports what is wrong then. `runs` are over. The digest takes in what was
/// there each time that somebody looked.
pub(crate) async fn forget(chaos: &mut Chaos, site: &Site, of: (&Mesh, &[RunId]), seen: &Seen, report: &mut Report) {
    let mut digest = Digest(report.digest);
    report.complaints.extend(forgotten(chaos, site, of, seen, &mut digest).await);
    take_journal(&mut digest, &site.model.journal());
    report.digest = digest.0;
}

/// What is wrong while coordinators forget.
async fn forgotten(
    chaos: &mut Chaos,
    site: &Site,
    (mesh, runs): (&Mesh, &[RunId]),
    seen: &Seen,
    digest: &mut Digest,
) -> Vec<Complaint> {
    let (Ok(open), Ok(flow)) = ("open".parse::<RunId>(), serde_json::from_str(OPEN)) else {
        return vec![Complaint { run: None, text: "the run that stays open is none".to_owned() }];
    };
    for machine in chaos.machines.iter_mut().filter(|machine| machine.is_coordinator()) {
        machine.kill(site);
        machine.forgets(Span::saturating_from_millis(KEEP_MS), Span::saturating_from_millis(SWEEP_EVERY_MS));
    }
    chaos.start_all();
    let plan = RunPlan { after: Duration::ZERO, flow, params: ParamValues::default(), again: None };
    user::submit(mesh, &open, &plan, None).await;
    chaos.spare(&[Kind::RunCancelled, Kind::Forged, Kind::Garbage, Kind::StreamRemoved]);
    chaos.rage(Instant::now() + TROUBLE).await;
    chaos.mend_all();
    let until = Instant::now() + FORGOTTEN_WITHIN;
    let mut complaints = loop {
        let complaints = left(mesh, runs, &open, digest).await;
        for complaint in &complaints {
            digest.take(complaint.to_string().as_bytes());
        }
        if complaints.is_empty() || Instant::now() > until {
            break complaints;
        }
        sleep(Duration::from_secs(1)).await;
    };
    complaints.extend(whole(mesh, &open, &seen.all(), site.time, digest).await);
    user::signal(mesh, &open, "go").await;
    complaints.extend(in_time(mesh, std::slice::from_ref(&open)).await);
    complaints.extend(whole(mesh, &open, &seen.all(), site.time, digest).await);
    complaints
}

/// What is left of runs that are over for long, while another one has begun. Their output goes by its own age.
async fn left(mesh: &Mesh, runs: &[RunId], open: &RunId, digest: &mut Digest) -> Vec<Complaint> {
    match read(mesh, &[]).await {
        Ok((stored, _)) => {
            digest.take(&stored.digest.0.to_le_bytes());
            let has_begun = stored.kept().into_iter().any(|kept| kept.run == open && !kept.decisions.is_empty());
            let not_begun = || Complaint { run: Some(open.clone()), text: "nothing was decided".to_owned() };
            stored.of_forgotten(runs).into_iter().chain((!has_begun).then(not_begun)).collect()
        }
        Err(error) => vec![Complaint { run: None, text: format!("nothing can be read: {error}") }],
    }
}

/// What is wrong with the run that is not to be forgotten.
async fn whole(mesh: &Mesh, open: &RunId, starts: &[Start], time: WorldTime, digest: &mut Digest) -> Vec<Complaint> {
    // Where something may still be going wrong, the time is granted that `rr verify` grants it.
    let (stored, now): (Stored, _) = match read(mesh, std::slice::from_ref(open)).await {
        Ok(read) => read,
        Err(error) => return vec![Complaint { run: None, text: format!("nothing can be read: {error}") }],
    };
    digest.take(&stored.digest.0.to_le_bytes());
    let mut complaints = stored.complaints(Some(now));
    let kept: Vec<_> = stored.kept().into_iter().filter(|kept| kept.run == open).collect();
    if kept.iter().all(|kept| kept.decisions.is_empty()) {
        complaints.push(Complaint { run: Some(open.clone()), text: "is open, and its history is gone".to_owned() });
    }
    let starts: Vec<Start> = starts.iter().filter(|start| start.run == *open).cloned().collect();
    // Servers may have begun again.
    complaints.extend(judge_starts(&starts, &kept, false));
    complaints.extend(judge_overlap(&starts, &kept, time));
    complaints
}
