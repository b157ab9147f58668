//! What the world must do after each event.

use rr_core::Effect;
use rr_schemas::{
    decision::{Event, Record},
    input::Found,
    report::Outcome,
};

use super::{flows::one_job, stage::Stage};

/// Effects in short: what, task, attempt, and the offer or who is asked.
fn effects(stage: &Stage, records: &[Record]) -> Vec<String> {
    let told = |effect: Effect| match effect {
        Effect::Offer { task, attempt, offer } => format!("offer {task}.{attempt}.{offer}"),
        Effect::Withdraw { task, attempt } => format!("withdraw {task}.{attempt}"),
        Effect::WithdrawRun => "withdraw all".to_owned(),
        Effect::Kill { task, attempt, holder } => format!("kill {task}.{attempt} at {}", holder.worker),
    };
    stage.run.effects(records).into_iter().map(told).collect()
}

/// The event alone, after all that has happened.
fn of(stage: &Stage, event: Event) -> Vec<String> {
    effects(stage, &[Record { cause: 1, at: stage.now, event }])
}

fn offered(tasks: &str, attempt: u32, offer: u32) -> Event {
    Event::Offered { job: "a".parse().unwrap(), tasks: tasks.parse().unwrap(), attempt, offer }
}

/// A decision is done once more when its coordinator dies: what has moved on since is not offered again.
#[test]
fn an_offer_is_made_as_long_as_it_is_the_one_that_waits() {
    let mut stage = Stage::new(&one_job(4, r#""retry":{"attempts":2}"#));
    assert_eq!(effects(&stage, &stage.log), ["offer 0.1.1", "offer 1.1.1", "offer 2.1.1", "offer 3.1.1"]);
    stage.start("w1", 0, 1);
    stage.give_back("w2", 1, 1, 1);
    stage.end(2, 1, Outcome::Failed, Some(1));
    assert_eq!(of(&stage, offered("0-3", 1, 1)), ["offer 3.1.1"]);
    assert_eq!(of(&stage, offered("0-3", 1, 2)), ["offer 1.1.2"]);
    assert_eq!(of(&stage, offered("0-3", 2, 1)), ["offer 2.2.1"]);
    assert_eq!(of(&stage, offered("7", 1, 1)), [""; 0]);
}

#[test]
fn what_is_lost_is_taken_back_and_who_may_still_run_it_is_asked_to_end() {
    let mut stage = Stage::new(&one_job(3, r#""on_lost":"fail","fail_fast":false"#));
    stage.claim("w1", 0, 1);
    let gone = stage.look(Found::WorkerGone);
    assert_eq!(effects(&stage, &gone), ["withdraw 0.1", "kill 0.1 at w1"]);
    let void = stage.look(Found::ClaimVoid);
    assert_eq!(effects(&stage, &void), ["withdraw 1.1", "withdraw 2.1"], "nobody runs them");

    let mut stage = Stage::new(&one_job(2, r#""fail_fast":false"#));
    let unserved = stage.look(Found::OfferUnserved);
    assert_eq!(effects(&stage, &unserved), ["withdraw 0.1", "withdraw 1.1"]);

    let mut stage = Stage::new(&one_job(1, r#""on_lost":"hold""#));
    stage.claim("w1", 0, 1);
    let held = stage.look(Found::WorkerGone);
    assert_eq!(effects(&stage, &held), ["withdraw 0.1"]);

    for outcome in [Outcome::Ok, Outcome::Failed, Outcome::Timeout, Outcome::Refused] {
        let mut stage = Stage::new(&one_job(1, ""));
        let ended = stage.end(0, 1, outcome, (outcome == Outcome::Failed).then_some(1));
        assert_eq!(effects(&stage, &ended), [""; 0], "{outcome:?} needs nothing more");
    }
}

#[test]
fn a_stop_takes_back_what_waits_and_ends_what_runs() {
    let mut stage = Stage::new(&one_job(5, r#""on_lost":"hold","retry":{"attempts":2,"delay":"1h"}"#));
    for (worker, task) in [("w0", 0), ("w1", 1), ("w2", 2), ("w3", 3)] {
        stage.claim(worker, task, 1);
    }
    stage.end_by("w0", 0, 1, Outcome::Ok, Some(0));
    stage.end_by("w1", 1, 1, Outcome::Failed, Some(1));
    assert_eq!(of(&stage, Event::Extended { tasks: (2..=3).into(), until: stage.now }), [""; 0], "it goes on");
    stage.fire();
    let looks = stage.run.looks(stage.now);
    assert!(!looks.is_empty());
    let held = Event::Held { task: 3, attempt: 1 };
    stage.run.apply(&Record { cause: 1, at: stage.now, event: held }).unwrap();
    let stopped = stage.cancel();
    assert_eq!(effects(&stage, &stopped), ["withdraw all", "kill 2.1 at w2", "kill 3.1 at w3"]);
    assert_eq!(
        of(&stage, Event::Extended { tasks: (1..=4).into(), until: stage.now }),
        ["kill 2.1 at w2", "kill 3.1 at w3"]
    );
    assert_eq!(of(&stage, offered("4", 1, 1)), [""; 0], "what a stop comes with is not made");
    let started = stage.claim("w4", 4, 1);
    assert_eq!(effects(&stage, &started), ["kill 4.1 at w4"]);
    assert_eq!(of(&stage, Event::DeadlinePassed {})[..2], ["withdraw all", "kill 2.1 at w2"]);
}

#[test]
fn a_run_that_ends_by_itself_leaves_nothing_to_take_back() {
    let mut stage = Stage::new(&one_job(1, ""));
    let started = stage.start("w1", 0, 1);
    assert_eq!(effects(&stage, &started), [""; 0]);
    let ended = stage.end(0, 1, Outcome::Ok, Some(0));
    assert_eq!(effects(&stage, &ended), [""; 0]);
    let late = stage.end_by("w2", 0, 1, Outcome::Ok, Some(0));
    assert_eq!((late.len(), effects(&stage, &late)), (1, vec![]), "what is over need not be ended");
    let late = stage.start("w2", 0, 1);
    assert_eq!(effects(&stage, &late), ["kill 0.1 at w2"]);
}
