//! What is made again while a part of the mesh does not answer.

use std::time::Duration;

use jiff::Timestamp;
use rr_model::{Fault, Servers};
use rr_nats::{Finding, Store, Upkeep, subject::EVENTS};
use tokio::time::sleep;

use super::faults::{SECOND, made};

/// The log answers for what is its own, and its numbers are remembered.
#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_answer_keeps_nothing_else_from_being_made_again() {
    let durable = |name: &str, stream, from| Finding::Durable { name: name.to_owned(), stream, from };
    let timers = || durable("timers", "RR_TIMERS", None);
    for (silent, expected) in [
        ("RR_OUTPUT", vec![Finding::Anew(Store::Runs), durable("p0", EVENTS, Some(1)), timers()]),
        (EVENTS, vec![Finding::Anew(Store::Runs), timers()]),
    ] {
        let (model, _link, mesh) = made(Servers::Three).await;
        let mut upkeep = Upkeep::new(&mesh);
        upkeep.look(Timestamp::UNIX_EPOCH).await.1.unwrap();
        for (stream, consumer) in [(EVENTS, "p0"), ("RR_TIMERS", "timers")] {
            model.inject(&Fault::RemoveConsumer { stream: stream.to_owned(), consumer: consumer.to_owned() });
        }
        model.inject(&Fault::RemoveStream { stream: "KV_rr-runs".to_owned() });
        let (unaware, leaderless) = (Duration::ZERO, Duration::from_hours(1));
        model.inject(&Fault::LoseMajority { stream: silent.to_owned(), unaware, leaderless });
        sleep(SECOND).await;
        let (findings, looked) = upkeep.look(Timestamp::UNIX_EPOCH).await;
        assert_eq!(findings, expected, "{silent}");
        assert!(looked.is_err(), "{silent} was not looked at");
    }
}
