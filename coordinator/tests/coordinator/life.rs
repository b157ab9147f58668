//! What becomes of a run.

use std::collections::BTreeSet;

use rr_coordinator::Options;
use rr_nats::First;
use rr_schemas::{
    decision::{Event, JobStatus, RunStatus},
    flow::select::Labels,
    id::EntityId,
    input::{Cancel, Found, Input, Seen, SeenAttempts},
    offer::{Offer, Target},
    presence::{Control, Hosts, Join, JoinAnswer, Serves},
    ranges::Ranges,
    report::Outcome,
};

use crate::support::{PATIENCE, World, hasty, millis, one_job, options, policy, submit, until};

#[tokio::test]
async fn a_run_goes_from_its_submit_to_its_end() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    assert_eq!((&offer.run, offer.task, offer.attempt, offer.offer), (&run, 0, 1, 1));
    worker.ends(&offer, Outcome::Ok).await;
    let view = world.ends(&run, RunStatus::Succeeded).await;
    assert_eq!((view.jobs[0].status, view.jobs[0].ok, view.jobs[0].failed), (JobStatus::Succeeded, 1, 0));
    assert_eq!(world.decisions(&run).await.len(), 2, "one decision for each input");
}

#[tokio::test]
async fn a_second_submit_of_an_id_changes_nothing() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let flow = one_job(r#", "hosts": "h1""#);
    let run = world.submit("r1", &flow).await;
    assert!(world.mesh.submit(&run, "test", &submit(&flow), First::New).await.is_err());
    let offer = worker.offer().await;
    world.mesh.submit(&run, "test", &submit(&flow), First::Any).await.unwrap();
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    // The run has left the coordinator's memory; the next one makes it load the run again.
    world.mesh.submit(&run, "test", &submit(&flow), First::Any).await.unwrap();
    let other = world.submit("r2", &flow).await;
    let offer = worker.offer().await;
    assert_eq!(offer.run, other, "nothing of the first run is offered again");
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&other, RunStatus::Succeeded).await;
    assert_eq!(world.decisions(&run).await.len(), 2);
}

#[tokio::test]
async fn a_worker_is_believed_only_of_what_it_was_offered() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut honest = world.worker("w1", "").await;
    let run = world.submit("r1", &one_job(r#", "on_lost": "fail""#)).await;
    let offer = honest.offer().await;
    assert_eq!(offer.token.len(), 32);
    let other = world.submit("r2", &one_job("")).await;
    let others = honest.offer().await;
    // It serves the same queue, and speaks of what somebody else was offered, with every token that it may have.
    let thief = world.worker("w9", "").await;
    for token in [String::new(), "0".repeat(32), others.token.clone()] {
        let stolen = Offer { token, ..offer.clone() };
        thief.starts(&stolen).await;
        thief.ends(&stolen, Outcome::Ok).await;
    }
    honest.claims(&offer).await;
    honest.ends(&offer, Outcome::Failed).await;
    world.ends(&run, RunStatus::Failed).await;
    for event in world.events(&run).await {
        if let Event::Started { by, .. } | Event::Ended { by: Some(by), .. } | Event::Late { by, .. } = event {
            assert_eq!(by.worker, honest.name);
        }
    }
    let secrets: Vec<String> = world.decisions(&run).await.into_iter().map(|decision| decision.secret).collect();
    assert!(!secrets[0].is_empty() && secrets[1..].iter().all(String::is_empty));
    honest.ends(&others, Outcome::Ok).await;
    world.ends(&other, RunStatus::Succeeded).await;
}

#[tokio::test]
async fn nobody_is_believed_of_a_host_whose_offer_they_have_not_got() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut honest = world.worker("w1", "h1").await;
    let liar = world.worker("w2", "h2").await;
    let stranger = world.worker("w3", "").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = honest.offer().await;
    liar.ends(&Offer { token: "0".repeat(32), ..offer.clone() }, Outcome::Failed).await;
    stranger.ends(&Offer { token: String::new(), ..offer.clone() }, Outcome::Failed).await;
    honest.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    for event in world.events(&run).await {
        if let Event::Ended { by, .. } = event {
            assert_eq!(by.unwrap().worker, honest.name);
        } else {
            assert!(!matches!(event, Event::Late { .. }), "what is not believed leaves no trace in the log");
        }
    }
}

#[tokio::test]
async fn a_wrong_flow_is_rejected_with_its_problems() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let run = world.submit("r1", &one_job(r#", "needs": ["nobody"]"#)).await;
    let view = world.ends(&run, RunStatus::Rejected).await;
    assert!(!view.problems.is_empty());
}

/// A submit that fills a message leaves no room for the decision that would carry its flow.
#[tokio::test]
async fn a_run_that_cannot_be_submitted_is_rejected() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let description = "x".repeat(1024 * 1024 - 450);
    let flow =
        format!(r#"{{"name": "f", "description": "{description}", "jobs": [{{"name": "j", "handler": "noop"}}]}}"#);
    let run = world.submit("r1", &flow).await;
    let view = world.ends(&run, RunStatus::Rejected).await;
    assert!(view.problems[0].contains("too large"), "{:?}", view.problems);
}

#[tokio::test]
async fn what_is_said_of_an_unknown_run_is_dropped() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let flow = one_job(r#", "hosts": "h1""#);
    let run = world.submit("r1", &flow).await;
    let mut offer = worker.offer().await;
    worker.ends(&offer, Outcome::Ok).await;
    offer.run = "ghost".parse().unwrap();
    worker.ends(&offer, Outcome::Ok).await;
    let cancel = Input::Cancel(Cancel { by: "test".to_owned(), reason: None });
    world.mesh.request(&EntityId::from(&offer.run), "test", &cancel).await.unwrap();
    world.ends(&run, RunStatus::Succeeded).await;
    assert_eq!(world.decisions(&offer.run).await, []);
    // It may still begin.
    world.mesh.submit(&offer.run, "test", &submit(&flow), First::Any).await.unwrap();
    let offer = worker.offer().await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&offer.run, RunStatus::Succeeded).await;
}

#[tokio::test]
async fn a_cancelled_run_takes_its_offers_back_and_kills_what_runs() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h[1-3]").await;
    let mut controls = world.mesh.controls(&worker.name).await.unwrap();
    let run = world.submit("r1", &one_job(r#", "hosts": "h[1-3]""#)).await;
    let offer = worker.offer().await;
    worker.starts(&offer).await;
    world.happens(&run, |event| matches!(event, Event::Started { .. })).await;
    let cancel = Input::Cancel(Cancel { by: "test".to_owned(), reason: None });
    world.mesh.request(&EntityId::from(&run), "test", &cancel).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, controls.next()).await.unwrap().unwrap();
    assert_eq!(told, Control::Kill { run: run.clone(), task: offer.task, attempt: 1 });
    worker.ends(&offer, Outcome::Cancelled).await;
    world.ends(&run, RunStatus::Cancelled).await;
    until("its offers are gone", async || world.mesh.offers(&run).await.unwrap().is_empty().then_some(())).await;
}

#[tokio::test]
async fn every_task_of_a_wide_job_runs_once() {
    const TASKS: u32 = 1_500;
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let worker = world.worker("w1", "h[1-64]").await;
    let _working = worker.works();
    let hosts: Vec<String> = (0..TASKS).map(|task| format!("h{}", 1 + task % 64)).collect();
    let rest = format!(r#", "hosts": {:?}, "parallelism": 100"#, hosts.join(","));
    let run = world.submit("r1", &one_job(&rest)).await;
    let view = world.ends(&run, RunStatus::Succeeded).await;
    assert_eq!(view.jobs[0].ok, view.jobs[0].targets);
    let events = world.events(&run).await;
    let ended: BTreeSet<u32> = events
        .iter()
        .filter_map(|event| if let Event::Ended { task, .. } = event { Some(*task) } else { None })
        .collect();
    assert_eq!(ended.len(), view.jobs[0].targets as usize);
    assert!(!events.iter().any(|event| matches!(event, Event::Late { .. })), "no attempt ran twice");
}

#[tokio::test]
async fn a_small_memory_changes_nothing() {
    let world = World::new(hasty()).await;
    let small = Options { entities_max: 2, tasks_max: 4, turns_max: 2, ..options() };
    let _coordinator = world.coordinator(small).await;
    let _working = world.worker("w1", "h[1-4]").await.works();
    let mut runs = Vec::new();
    for round in 0..30 {
        let rest = r#", "hosts": "h[1-4]", "parallelism": 1"#;
        runs.push(world.submit(&format!("r{round}"), &one_job(rest)).await);
    }
    for run in runs {
        world.ends(&run, RunStatus::Succeeded).await;
        assert!(!world.events(&run).await.iter().any(|event| matches!(event, Event::Late { .. })), "nothing ran twice");
    }
}

#[tokio::test]
async fn what_no_source_may_say_is_passed_over() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    let run = world.submit("r1", &one_job(r#", "hosts": "h1""#)).await;
    let offer = worker.offer().await;
    let seen = Seen {
        attempts: vec![SeenAttempts {
            tasks: Ranges::from(0..=0),
            attempt: 1,
            offer: 1,
            found: Found::OfferGone,
            withdrawn: false,
        }],
    };
    for input in [Input::Timer {}, Input::Seen(seen)] {
        world.mesh.request(&EntityId::from(&run), "mallory", &input).await.unwrap();
    }
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&run, RunStatus::Succeeded).await;
    assert_eq!(world.decisions(&run).await.len(), 2, "nothing followed from it");
}

/// Labels stand for who was there when the run began; a worker that is away has its task waiting for it.
#[tokio::test]
async fn labels_are_looked_up_once_and_a_worker_that_is_away_catches_up() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(policy(millis(300), millis(60_000))).await;
    let labels: Labels = serde_json::from_str(r#"{"role": "db"}"#).unwrap();
    let mut here = world.labelled("w1", "h[1-2]", labels.clone()).await;
    let mut away = world.labelled("w2", "h3", labels.clone()).await;
    let _other = world.worker("w3", "h4").await;
    away.vanish().await;
    let run = world.submit("all", &one_job(r#", "all": {"role": "db"}, "on_lost": "fail""#)).await;
    let offer = here.offer().await;
    assert_eq!(offer.target, Target::Worker(here.name.clone()));
    here.claims(&offer).await;
    here.ends(&offer, Outcome::Ok).await;
    // Nobody who comes later is asked.
    let _late = world.labelled("w4", "h5", labels.clone()).await;
    world.happens(&run, |event| matches!(event, Event::Extended { .. })).await;
    let offer = away.offer().await;
    assert_eq!(offer.target, Target::Worker(away.name.clone()));
    away.claims(&offer).await;
    away.ends(&offer, Outcome::Ok).await;
    let view = world.ends(&run, RunStatus::Succeeded).await;
    assert_eq!((view.jobs[0].targets, view.jobs[0].ok), (2, 2));
    let run = world.submit("select", &one_job(r#", "select": {"role": "db"}, "parallelism": 1"#)).await;
    for host in ["h1", "h2"] {
        let offer = here.offer().await;
        assert_eq!(offer.target, Target::Host(host.parse().unwrap()));
        here.ends(&offer, Outcome::Ok).await;
    }
    let offer = away.offer().await;
    away.ends(&offer, Outcome::Ok).await;
    world.happens(&run, |event| matches!(event, Event::Submitted { found, .. } if found.len() == 1)).await;
}

/// What matches nobody, or what nobody serves although the flow wants to know before, never starts.
#[tokio::test]
async fn what_cannot_be_found_or_reached_is_refused_before_it_starts() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h1").await;
    for (run, fields, problem) in [
        ("r1", r#", "select": {"role": "db"}"#, "no worker has role=db"),
        ("r2", r#", "all": {"role": "db"}"#, "no worker has role=db"),
    ] {
        let run = world.submit(run, &one_job(fields)).await;
        let view = world.ends(&run, RunStatus::Rejected).await;
        assert!(view.problems[0].contains(problem), "{:?}", view.problems);
    }
    let flow = |hosts: &str| {
        format!(
            r#"{{"name": "f", "preflight": true, "jobs": [{{"name": "j", "handler": "noop", "hosts": "{hosts}"}}]}}"#
        )
    };
    let refused = world.submit("refused", &flow("h[1-3]")).await;
    let view = world.ends(&refused, RunStatus::Rejected).await;
    assert!(view.problems[0].contains("nobody serves h[2-3] for job \"j\""), "{:?}", view.problems);
    let taken = world.submit("taken", &flow("h1")).await;
    let offer = worker.offer().await;
    worker.ends(&offer, Outcome::Ok).await;
    world.ends(&taken, RunStatus::Succeeded).await;
}

#[tokio::test]
async fn a_worker_joins_by_asking_and_nobody_takes_its_hosts() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(policy(millis(60_000), millis(60_000))).await;
    let ask = async |name: &str, hosts: &str| {
        let join = Join {
            worker: name.parse().unwrap(),
            instance: "i1".parse().unwrap(),
            serves: Serves { hosts: Hosts::Only(hosts.parse().unwrap()), queues: vec!["q".parse().unwrap()] },
            labels: Labels::default(),
        };
        until("a coordinator answers", async || world.mesh.join(&join).await.ok()).await
    };
    let welcome =
        JoinAnswer::Welcome { own: "w-w1".to_owned(), queues: vec![["q1-q", "q2-q", "q3-q"].map(str::to_owned)] };
    assert_eq!(ask("w1", "h[1-2]").await, welcome);
    assert_eq!(ask("w1", "h[1-3]").await, welcome, "it may come back and serve more");
    let mut holder = world.worker("w1", "h[1-3]").await;
    for (name, hosts, reason) in
        [("w2", "h[3-4]", "h3 is served by worker w1"), ("_rr", "h9", "belongs to coordinators")]
    {
        let JoinAnswer::Refused { reason: said } = ask(name, hosts).await else { panic!("{name} was let in") };
        assert!(said.contains(reason), "{said}");
    }
    holder.vanish().await;
    let taken =
        JoinAnswer::Welcome { own: "w-w2".to_owned(), queues: vec![["q1-q", "q2-q", "q3-q"].map(str::to_owned)] };
    let free = async || (ask("w2", "h[3-4]").await == taken).then_some(());
    until("the hosts of a worker that is gone are free", free).await;
}
