//! Retries: what is carried over comes from the history of the earlier run and from nowhere else.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare fails")]

use rr_schemas::{
    decision::{Event, RunStatus},
    flow::params::ParamValues,
    input::{Input, Submit},
    report::Outcome,
    retry::{Again, RetryOf},
};

use super::support::{World, hasty, one_job, options};

fn retry(flow: &str, of: &str) -> Input {
    Input::Submit(Box::new(Submit {
        flow: serde_json::from_str(flow).unwrap(),
        params: ParamValues::default(),
        by: "test".to_owned(),
        retry_of: Some(RetryOf { run: of.parse().unwrap(), again: Again::Failed }),
    }))
}

#[tokio::test]
async fn a_retry_runs_what_the_history_of_the_run_says_has_failed() {
    let world = World::new(hasty()).await;
    let _coordinator = world.coordinator(options()).await;
    let mut worker = world.worker("w1", "h[1-2]").await;
    let flow = one_job(r#", "hosts": "h[1-2]""#);
    let first = world.submit("first", &flow).await;
    for _ in 0..2 {
        let offer = worker.offer().await;
        let outcome = if offer.task == 0 { Outcome::Ok } else { Outcome::Failed };
        worker.ends(&offer, outcome).await;
    }
    world.ends(&first, RunStatus::Failed).await;
    let other = one_job(r#", "hosts": "h[2-3]""#);
    let live = world.submit("live", &one_job(r#", "hosts": "h3""#)).await;
    world.happens(&live, |event| matches!(event, Event::Offered { .. })).await;
    for (run, flow, of, problem) in [
        ("r1", &flow, "nobody", "there is no run nobody"),
        ("r2", &flow, "r2", "there is no run r2"),
        ("r3", &other, "first", "the flow and the parameters of run first"),
        ("r4", &one_job(r#", "hosts": "h3""#), "live", "run live is not over"),
    ] {
        let run = world.asks(run, &retry(flow, of)).await;
        let view = world.ends(&run, RunStatus::Rejected).await;
        assert!(view.problems[0].contains(problem), "{:?}", view.problems);
    }
    let second = world.asks("second", &retry(&flow, "first")).await;
    let offer = worker.offer().await;
    assert_eq!((offer.run.as_str(), offer.task, offer.attempt), ("second", 1, 1));
    worker.ends(&offer, Outcome::Ok).await;
    let view = world.ends(&second, RunStatus::Succeeded).await;
    assert_eq!((view.jobs[0].ok, view.retry_of), (2, Some(first)));
    let third = world.asks("third", &retry(&flow, "second")).await;
    let view = world.ends(&third, RunStatus::Rejected).await;
    assert!(view.problems[0].contains("nothing of run second"), "{:?}", view.problems);
}
