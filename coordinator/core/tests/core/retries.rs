//! Retries: what is taken over from an earlier run, and what runs again.

use proptest::prelude::*;
use rr_core::{Heard, History, NotRetryable, Policy, Run, run::decide::Around};
use rr_draw::Dice;
use rr_schemas::{
    decision::{Event, JobStatus, Record, RunStatus},
    flow::{Flow, params::ParamValues},
    input::{Input, Source, Submit},
    report::Outcome,
    retry::{Again, Carried, RetryOf},
    view::TaskStatus,
};

use super::{
    flows::{drawn, flow, one_job},
    stage::{Stage, decide_all, offers},
    world::{Fate, World},
};

/// The first decisions of a retry.
pub(crate) fn retried(flow: &Flow, carried: Option<Carried>) -> (Run, Vec<Record>) {
    let retry_of = Some(RetryOf { run: "r".parse().unwrap(), again: Again::Failed });
    let submit = Submit { flow: flow.clone(), params: ParamValues::default(), by: "t".into(), retry_of };
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut heard = Heard::new(1, at, Source::Api, Input::Submit(Box::new(submit)));
    heard.around = Some(Box::new(Around { carried: carried.map(Box::new), ..Around::default() }));
    let mut run = Run::new("r2".parse().unwrap(), Policy::default());
    let records = decide_all(&mut run, &[heard]);
    (run, records)
}

pub(crate) fn carried(old: &Run, again: Again) -> Carried {
    let given = old.signals().filter(|(_, given)| *given).map(|(signal, _)| signal.clone());
    Carried { run: old.id().clone(), tasks: old.carried(again), signals: given.collect() }
}

fn shown(run: &Run, again: Again) -> Vec<String> {
    run.carried(again).iter().map(|(outcome, tasks)| format!("{} {tasks}", outcome.word())).collect()
}

#[test]
fn a_run_is_retried_when_it_is_over_and_something_is_left_of_it() {
    let flow = one_job(2, "");
    let blank = Run::new("r".parse().unwrap(), Policy::default());
    let mut old = Stage::new(&flow);
    old.end(0, 1, Outcome::Ok, Some(0));
    let live = old.run.clone();
    old.end(1, 1, Outcome::Failed, Some(1));
    let rejected = retried(&flow, None).0;
    for (run, again, refused) in [
        (&blank, Again::Failed, NotRetryable::NotBegun),
        (&live, Again::Failed, NotRetryable::NotOver),
        (&rejected, Again::Failed, NotRetryable::Rejected),
        (&old.run, Again::NotStarted, NotRetryable::NothingLeft),
    ] {
        assert_eq!(run.carry_over(again), Err(refused));
    }
    let taken_over = old.run.carry_over(Again::Failed).unwrap();
    assert_eq!((taken_over.run.as_str(), taken_over.n_tasks()), ("r", 1));
}

#[test]
fn what_failed_in_a_job_that_failed_runs_again_and_so_does_what_comes_after() {
    let flow = flow(
        r#"{"name":"f","slots":[
            {"jobs":[{"name":"good","run":["x"],"hosts":"g[1-2]","success":"50%"},
                     {"name":"bad","run":["x"],"hosts":"b[1-4]","parallelism":2}]},
            {"jobs":[{"name":"after","run":["x"],"hosts":"a1"}]}]}"#,
    );
    let mut old = Stage::new(&flow);
    for (task, outcome) in [(0, Outcome::Ok), (1, Outcome::Failed), (2, Outcome::Ok), (3, Outcome::Failed)] {
        old.end(task, 1, outcome, Some(1));
    }
    old.end(4, 1, Outcome::Ok, Some(0));
    assert_eq!(old.run.status(), RunStatus::Failed);
    assert_eq!(shown(&old.run, Again::Failed), ["ok 0,2,4", "failed 1"], "a job that succeeded is carried whole");
    assert_eq!(shown(&old.run, Again::NotStarted), ["ok 0,2,4", "failed 1,3"]);
    let (mut run, records) = retried(&flow, Some(carried(&old.run, Again::Failed)));
    assert_eq!(offers(&records), [("3,5".into(), 1, 1)]);
    assert_eq!(run.view().jobs[0].status, JobStatus::Succeeded, "a job of which all is carried ends at its turn");
    assert_eq!(run.view().retry_of, Some("r".parse().unwrap()));
    assert_eq!(run.task(1), Some((TaskStatus::Failed, 0)));
    assert!(run.is_carried(1) && !run.is_carried(3));
    // The second time both succeed, and what had been skipped has its turn.
    let mut stage = Stage::of(run.clone(), records);
    stage.end(3, 1, Outcome::Ok, Some(0));
    let after = stage.end(5, 1, Outcome::Ok, Some(0));
    assert_eq!(offers(&after), [("6".into(), 1, 1)]);
    stage.end(6, 1, Outcome::Ok, Some(0));
    assert_eq!(stage.run.status(), RunStatus::Succeeded);
    let found = rr_verify::records::judge(stage.run.id(), &stage.log, &Policy::default());
    assert!(found.is_empty(), "{found:#?}");
    // Carried failures count: with one more the job cannot succeed any more, and nothing starts.
    (run, _) = retried(&flow, Some(carried(&old.run, Again::NotStarted)));
    assert_eq!(run.status(), RunStatus::Failed);
    assert_eq!(run.view().jobs.iter().map(|job| job.not_started).collect::<Vec<_>>(), [0, 1, 1]);
}

#[test]
fn what_does_not_fit_the_plan_or_the_request_is_rejected() {
    let flow = one_job(3, "");
    let of = |run: &str, tasks: &[(Outcome, &str)]| Carried {
        run: run.parse().unwrap(),
        tasks: tasks.iter().map(|(outcome, tasks)| (*outcome, tasks.parse().unwrap())).collect(),
        signals: [].into(),
    };
    for (carried, is_taken) in [
        (None, false),
        (Some(of("other", &[])), false),
        (Some(of("r", &[(Outcome::Ok, "0-3")])), false),
        (Some(of("r", &[(Outcome::Ok, "0-1"), (Outcome::Failed, "1")])), false),
        (Some(of("r", &[(Outcome::Ok, "0"), (Outcome::Failed, "2")])), true),
        (Some(of("r", &[])), true),
    ] {
        let (run, _) = retried(&flow, carried.clone());
        assert_eq!(run.status() != RunStatus::Rejected, is_taken, "{carried:?}");
    }
}

/// A carry list comes from a history only: without a retry nothing is taken over, whatever is around.
#[test]
fn nothing_is_carried_into_a_run_that_retries_none() {
    let submit = Submit { flow: one_job(2, ""), params: ParamValues::default(), by: "t".into(), retry_of: None };
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut heard = Heard::new(1, at, Source::Api, Input::Submit(Box::new(submit)));
    let carried =
        Carried { run: "r".parse().unwrap(), tasks: [(Outcome::Ok, (0..=1).into())].into(), signals: [].into() };
    heard.around = Some(Box::new(Around { carried: Some(Box::new(carried)), ..Around::default() }));
    let records = Run::new("r2".parse().unwrap(), Policy::default()).decide(&[heard]).records;
    assert_eq!(offers(&records), [("0-1".into(), 1, 1)]);
}

/// Every second task of very many: neither a decision nor an offer grows without limit.
#[test]
fn scattered_tasks_are_offered_in_several_decisions() {
    let flow = one_job(40_000, "");
    let tasks = [(Outcome::Ok, (0..40_000).filter(|task| task % 2 == 0).collect())].into();
    let (run, records) = retried(&flow, Some(Carried { run: "r".parse().unwrap(), tasks, signals: [].into() }));
    let offered: u64 = records
        .iter()
        .map(|record| match &record.event {
            Event::Offered { tasks, .. } => {
                assert!(tasks.iter_ranges().len() < 5_000);
                tasks.len()
            }
            _ => 0,
        })
        .sum();
    assert_eq!((offered, run.view().jobs[0].ok), (20_000, 20_000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever became of a run: its retry keeps the rules, runs nothing that is carried, and succeeds in a kind world.
    #[test]
    fn a_retry_keeps_every_rule(seed: u64) {
        let mut dice = Dice(seed);
        let flow = Flow { timeout: None, ..drawn(&mut dice) };
        let kind = dice.chance(50);
        let again = if dice.chance(70) { Again::Failed } else { Again::NotStarted };
        let mut old = World::new(&flow, Fate::HOSTILE, Dice(seed ^ 1));
        old.play();
        let fate = if kind { Fate::KIND } else { Fate::HOSTILE };
        let mut new = World::retry(&flow, &old.run, again, fate, dice);
        let history = new.play();
        let found = rr_verify::records::judge(history.run().id(), &new.log, &Policy::default());
        prop_assert!(found.is_empty(), "{:#?}", found);
        let view = history.view();
        if kind && again == Again::Failed {
            prop_assert_eq!(view.status, RunStatus::Succeeded);
        }
        let before = history_of(&old).view();
        for (task, old) in view.jobs.iter().flat_map(|job| &job.tasks).zip(before.jobs.iter().flat_map(|job| &job.tasks)) {
            prop_assert!(!task.carried || (task.attempts.is_empty() && task.status == old.status));
            prop_assert!(task.carried || old.status != TaskStatus::Ok);
        }
    }
}

fn history_of(world: &World) -> History {
    let mut history = History::new(world.run.id().clone());
    for record in &world.log {
        history.apply(record).unwrap();
    }
    history
}
