//! A doctor with few rights says what it may not see, and by which subject; what it may not see is not bad.

use std::time::Duration;

use rr_tests::eventually;
use serde_json::Value;

use super::{Guarded, SOON};

/// A refusal is no timeout: nothing is waited for.
const QUICK: Duration = Duration::from_secs(10);

async fn findings(guarded: &Guarded, user: &str) -> Vec<Value> {
    let output = guarded.rr(user, &["doctor", "--json"]).within(QUICK).run().await.exits(0);
    let findings = output.json("findings").as_array().unwrap().clone();
    assert!(!output.stdout.contains("no answer in time"), "{output}");
    findings
}

/// The levels of a check's findings.
fn levels<'f>(findings: &'f [Value], check: &str) -> Vec<&'f str> {
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    of_check.map(|finding| finding["level"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn whoever_asks_is_told_what_they_may_not_see_and_by_which_subject() {
    let (guarded, _coordinator, _worker) = Guarded::with_mesh().await;
    let all = eventually("health", SOON, async || {
        let findings = findings(&guarded, "admin").await;
        if levels(&findings, "partitions") == ["ok"] { Ok(findings) } else { Err(format!("{findings:#?}")) }
    })
    .await;
    assert!(all.iter().all(|finding| finding["level"] != "unknown"), "{all:#?}");

    let seen = findings(&guarded, "v").await;
    for check in ["ack", "coordinators", "workers", "clock", "runs", "offers", "quarantine"] {
        assert!(levels(&seen, check).iter().all(|level| ["ok", "warn"].contains(level)), "{check}: {seen:#?}");
    }
    for (check, subject) in [
        ("quorum", "permission denied: $JS.API.STREAM.INFO.RR_TIMERS"),
        ("drift", "permission denied: $JS.API.STREAM.INFO.RR_TIMERS"),
        ("store", "permission denied: $JS.API.STREAM.INFO.RR_TIMERS"),
        ("drift", "permission denied: $JS.API.CONSUMER.INFO.RR_TIMERS.timers"),
        ("partitions", "permission denied: $JS.API.CONSUMER.INFO.RR_EVENTS.p0"),
    ] {
        let is_told = |finding: &&Value| {
            finding["check"] == check
                && finding["level"] == "unknown"
                && finding["what"].as_str().unwrap().contains(subject)
        };
        assert!(seen.iter().any(|finding| is_told(&finding)), "{check} {subject}: {seen:#?}");
    }
    // What it may know all the same: a partition's durable by its name.
    let admin = guarded.raw("admin").await;
    let _gone = admin.ask("$JS.API.CONSUMER.DELETE.RR_EVENTS.p1", &[], "").await.unwrap();
    let _told =
        guarded.rr("v", &["doctor"]).within(QUICK).run().await.exits(1).says(&["RR_EVENTS has no consumer p1:"]);
    let _made = guarded.rr("admin", &["init", "--partitions", "2"]).run().await.exits(0);

    for user in ["p", "w1"] {
        let seen = findings(&guarded, user).await;
        assert!(levels(&seen, "server") == ["ok"] && levels(&seen, "drift").contains(&"unknown"), "{user}: {seen:#?}");
    }
    // A coordinator looks after all of it.
    let seen = findings(&guarded, "c1").await;
    assert_eq!(levels(&seen, "drift"), ["ok"], "{seen:#?}");
}
