//! What a retry takes over, beside what it was asked to.

use rr_schemas::{
    decision::Event,
    input::Input,
    report::Outcome,
    retry::{Again, Carried, RetryOf},
};
use rr_verify::Rule;

use crate::told::Told;

type Tasks<'t> = [(Outcome, &'t str)];

/// What is broken by a run that was asked to retry another one so, and has taken this over.
fn judged(flow: &str, asked: Option<(&str, Again)>, taken: Option<(&str, &Tasks<'_>)>) -> Vec<Rule> {
    let mut told = Told::new(flow, vec![]);
    let Input::Submit(submit) = &mut told.inputs[0].input else { panic!() };
    submit.retry_of = asked.map(|(run, again)| RetryOf { run: run.parse().unwrap(), again });
    let Event::Submitted { retry_of, .. } = &mut told.decisions[0].decision.events[0].event else { panic!() };
    *retry_of = taken.map(|(run, tasks)| {
        let tasks = tasks.iter().map(|(outcome, tasks)| (*outcome, tasks.parse().unwrap())).collect();
        Box::new(Carried { run: run.parse().unwrap(), tasks, signals: [].into() })
    });
    told.broken()
}

#[test]
fn a_retry_takes_over_what_was_asked_for() {
    const SLACK: &str = r#"{"name":"f","jobs":[
        {"name":"a","run":["x"],"hosts":"h[1-2]","success":"50%"},{"name":"b","run":["x"],"hosts":"h[1-2]"}]}"#;
    use Again::{Failed, NotStarted};
    use Outcome::{Ok, Unreachable};
    let all = &[(Ok, "0,2"), (Outcome::Failed, "1"), (Unreachable, "3")];
    for (what, asked, taken, fits) in [
        ("what was asked for", Some(("r0", Failed)), Some(("r0", &[(Ok, "0,2")] as &[_])), true),
        ("nothing of the earlier one", Some(("r0", Failed)), Some(("r0", &[])), true),
        ("nothing at all", Some(("r0", Failed)), None, false),
        ("what nobody asked for", None, Some(("r0", &[(Ok, "0")])), false),
        ("from another run", Some(("r0", Failed)), Some(("r9", &[(Ok, "0")])), false),
        ("what had failed", Some(("r0", Failed)), Some(("r0", &[(Ok, "2"), (Outcome::Failed, "3")])), false),
        ("what had failed in a good job", Some(("r0", Failed)), Some(("r0", &all[..2])), true),
        ("what had failed in half a job", Some(("r0", Failed)), Some(("r0", &[(Outcome::Failed, "1")])), false),
        ("what had failed everywhere", Some(("r0", Failed)), Some(("r0", all)), false),
        ("the same, as it was asked for", Some(("r0", NotStarted)), Some(("r0", all)), true),
    ] {
        let expected = if fits { vec![] } else { vec![Rule::Cause] };
        assert_eq!(judged(SLACK, asked, taken), expected, "{what}");
    }
}

/// Where unreachable targets are skipped they count neither way, and stay skipped; but a job of which nothing else is left has failed.
#[test]
fn a_retry_takes_over_what_was_skipped_in_a_job_that_succeeded() {
    const COUNTED: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-3]"}]}"#;
    const SKIPPED: &str = r#"{"name":"f","jobs":[{"name":"a","run":["x"],"hosts":"h[1-3]","on_unreachable":"skip"}]}"#;
    use Again::{Failed, NotStarted};
    use Outcome::{Ok, Unreachable};
    let skipped: &Tasks<'_> = &[(Ok, "0-1"), (Unreachable, "2")];
    for (what, flow, again, taken, fits) in [
        ("a host that was skipped", SKIPPED, Failed, skipped, true),
        ("a host that was not to be skipped", COUNTED, Failed, skipped, false),
        ("the same, as it was asked for", COUNTED, NotStarted, skipped, true),
        ("nothing of a host that was skipped", SKIPPED, Failed, &skipped[..1], true),
        ("a host that was skipped, of half a job", SKIPPED, Failed, &[(Ok, "0"), (Unreachable, "2")], false),
        (
            "a skipped one and one that failed",
            SKIPPED,
            Failed,
            &[(Ok, "0"), (Outcome::Failed, "1"), (Unreachable, "2")],
            false,
        ),
        ("nothing but what was skipped", SKIPPED, Failed, &[(Unreachable, "0-2")], false),
        ("the same, as it was asked for", SKIPPED, NotStarted, &[(Unreachable, "0-2")], true),
    ] {
        let expected = if fits { vec![] } else { vec![Rule::Cause] };
        assert_eq!(judged(flow, Some(("r0", again)), Some(("r0", taken))), expected, "{what}");
    }
}
