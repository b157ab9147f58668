//! What a retry takes over, beside what it was asked to.

use rr_schemas::{
    decision::Event,
    input::Input,
    report::Outcome,
    retry::{Again, Carried, RetryOf},
};
use rr_verify::Rule;

use crate::told::Told;

#[test]
fn a_retry_takes_over_what_was_asked_for() {
    const SLACK: &str = r#"{"name":"f","jobs":[
        {"name":"a","run":["x"],"hosts":"h[1-2]","success":"50%"},{"name":"b","run":["x"],"hosts":"h[1-2]"}]}"#;
    use Again::{Failed, NotStarted};
    use Outcome::{Ok, Unreachable};
    let judged = |asked: Option<(&str, Again)>, taken: Option<(&str, &[(Outcome, &str)])>| {
        let mut told = Told::new(SLACK, vec![]);
        let Input::Submit(submit) = &mut told.inputs[0].input else { panic!() };
        submit.retry_of = asked.map(|(run, again)| RetryOf { run: run.parse().unwrap(), again });
        let Event::Submitted { retry_of, .. } = &mut told.decisions[0].decision.events[0].event else { panic!() };
        *retry_of = taken.map(|(run, tasks)| {
            let tasks = tasks.iter().map(|(outcome, tasks)| (*outcome, tasks.parse().unwrap())).collect();
            Box::new(Carried { run: run.parse().unwrap(), tasks, signals: [].into() })
        });
        told.broken()
    };
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
        assert_eq!(judged(asked, taken), expected, "{what}");
    }
}
