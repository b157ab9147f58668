//! How many tasks of a job are under way, and how it ends: at the edges of each rule.

use rr_schemas::{decision::JobStatus, ranges::Ranges, report::Outcome};
use rr_verify::Rule;

use crate::events::{Events, and_again, cancel, ended, job, offered, one_job, so_far};

/// The first so many tasks.
fn first(n: u32) -> String {
    Ranges::from(0..=n - 1).to_string()
}

#[test]
fn no_more_is_under_way_than_the_window_has() {
    for (n, parallelism, window) in
        [(10, r#""50%""#, 5), (9, r#""50%""#, 4), (10, r#""3%""#, 1), (10, "3", 3), (3, "9", 3), (10, r#""100%""#, 10)]
    {
        let flow = one_job(n, &format!(r#""parallelism":{parallelism}"#));
        let offer = |n| so_far(&flow, vec![(0, offered("a", &first(n), 1, 1))]);
        assert_eq!(offer(window), [], "{parallelism} of {n}");
        if window < n {
            assert_eq!(offer(window + 1), [Rule::Window], "{parallelism} of {n}");
        }
    }
    // What waits for its next attempt is under way, too.
    let flow = one_job(3, r#""parallelism":1,"retry":{"attempts":2,"delay":"1s"}"#);
    let delayed = and_again(ended(0, 1, Outcome::Failed), 1_000);
    let beside = vec![(0, offered("a", "0", 1, 1)), (0, delayed), (0, offered("a", "1", 1, 1))];
    assert_eq!(so_far(&flow, beside), [Rule::Window]);
}

/// Of twelve: one, three, five, and the three that are left.
#[test]
fn waves_follow_each_other_and_do_not_overlap() {
    let flow = one_job(12, r#""parallelism":[1,"25%",5]"#);
    let ends = |tasks: std::ops::RangeInclusive<u32>| tasks.map(|task| (0, ended(task, 1, Outcome::Ok)));
    let waves = ["0", "1-3", "4-8", "9-11"];
    let lasts = [0, 3, 8];
    for n in 0..waves.len() {
        let mut events: Events = Vec::new();
        for (wave, last) in waves.iter().zip(lasts).take(n) {
            events.push((0, offered("a", wave, 1, 1)));
            let first = wave.split('-').next().unwrap().parse().unwrap();
            events.extend(ends(first..=last));
        }
        let with = |tasks: &str| {
            let mut events = events.clone();
            events.push((0, offered("a", tasks, 1, 1)));
            so_far(&flow, events)
        };
        assert_eq!(with(waves[n]), [], "wave {n}");
        if let Some(last) = lasts.get(n) {
            let first = waves[n].split('-').next().unwrap();
            assert_eq!(with(&format!("{first}-{}", last + 1)), [Rule::Window], "wave {n} and one of the next");
            assert_eq!(
                with(&format!("{last}-{}", last + 1)),
                [Rule::Window],
                "the last of wave {n} and one of the next"
            );
        }
    }
}

/// How a job may end after so many good and bad tasks, of which one may be of a kind of its own.
#[test]
fn a_job_ends_as_its_tasks_have() {
    use JobStatus::{Cancelled, Failed, Running, Skipped, Succeeded, Waiting};
    for (n, fields, n_ok, n_bad, bad, right) in [
        (9, r#""success":"80%","fail_fast":false"#, 8, 1, Outcome::Failed, vec![Succeeded]),
        (9, r#""success":"80%","fail_fast":false"#, 7, 2, Outcome::Failed, vec![Failed]),
        (3, r#""success":2,"fail_fast":false"#, 2, 1, Outcome::Failed, vec![Succeeded]),
        (3, r#""success":2,"fail_fast":false"#, 1, 2, Outcome::Failed, vec![Failed]),
        (101, r#""success":"1%","fail_fast":false"#, 2, 99, Outcome::Failed, vec![Succeeded]),
        (101, r#""success":"1%","fail_fast":false"#, 1, 100, Outcome::Failed, vec![Failed]),
        // Not each had its turn.
        (3, r#""success":2,"fail_fast":false"#, 2, 0, Outcome::Failed, vec![]),
        (3, r#""success":2,"fail_fast":false"#, 0, 2, Outcome::Failed, vec![]),
        (3, r#""success":2"#, 0, 2, Outcome::Failed, vec![Failed]),
        (3, r#""success":2"#, 0, 1, Outcome::Failed, vec![]),
        // What nobody serves counts neither way where the flow says so.
        (4, r#""on_unreachable":"skip","fail_fast":false"#, 3, 1, Outcome::Unreachable, vec![Succeeded]),
        (4, r#""on_unreachable":"skip","fail_fast":false"#, 0, 4, Outcome::Unreachable, vec![Failed]),
        (4, r#""on_unreachable":"skip""#, 0, 1, Outcome::Unreachable, vec![]),
        (4, r#""on_unreachable":"skip","success":"50%""#, 0, 3, Outcome::Unreachable, vec![]),
        (4, r#""on_unreachable":"fail","fail_fast":false"#, 3, 1, Outcome::Unreachable, vec![Failed]),
        (4, r#""on_unreachable":"fail""#, 0, 1, Outcome::Unreachable, vec![Failed]),
    ] {
        let flow = one_job(n, fields);
        let mut events = vec![(0, offered("a", &first(n_ok + n_bad), 1, 1))];
        events.extend((0..n_ok).map(|task| (0, ended(task, 1, Outcome::Ok))));
        events.extend((n_ok..n_ok + n_bad).map(|task| (0, ended(task, 1, bad))));
        for status in [Waiting, Running, Succeeded, Failed, Skipped, Cancelled] {
            let with = |more: Events| so_far(&flow, events.iter().cloned().chain(more).collect());
            let fits = right.contains(&status);
            let found = with(vec![(0, job("a", status))]);
            assert_eq!(found.is_empty(), fits, "{fields}, {n_ok} good and {n_bad} bad of {n}: {status:?}: {found:?}");
            // In a run that is being stopped one that had its turns ends as they have, any other one is cancelled.
            let found = with(vec![(0, cancel()), (0, job("a", status))]);
            let fits = match status {
                Succeeded | Failed => fits,
                Cancelled => !right.contains(&Succeeded),
                Waiting | Running | Skipped => false,
            };
            assert_eq!(found.is_empty(), fits, "stopped: {fields}, {n_ok} of {n}: {status:?}: {found:?}");
        }
    }
}

#[test]
fn a_job_ends_when_nothing_of_it_is_open() {
    let flow = one_job(2, r#""fail_fast":false,"success":1"#);
    let one = || vec![(0, offered("a", "0-1", 1, 1)), (0, ended(0, 1, Outcome::Ok))];
    let then = |more: Events| so_far(&flow, one().into_iter().chain(more).collect());
    assert_eq!(then(vec![(0, ended(1, 1, Outcome::Refused)), (0, job("a", JobStatus::Succeeded))]), []);
    assert!(then(vec![(0, job("a", JobStatus::Succeeded))]).contains(&Rule::End));
    assert!(then(vec![(0, cancel()), (0, job("a", JobStatus::Cancelled))]).contains(&Rule::End));
    let flow = one_job(1, r#""retry":{"attempts":2,"delay":"1s"}"#);
    let delayed = || vec![(0, offered("a", "0", 1, 1)), (0, and_again(ended(0, 1, Outcome::Failed), 1_000))];
    let then = |more: Events| so_far(&flow, delayed().into_iter().chain(more).collect());
    assert_eq!(then(vec![(0, job("a", JobStatus::Failed))]), [Rule::Threshold], "its retry is to come");
    assert_eq!(then(vec![(0, cancel()), (0, job("a", JobStatus::Cancelled))]), []);
}

#[test]
fn a_gate_ends_by_its_signal_or_its_time() {
    use JobStatus::{Cancelled, Failed, Running, Skipped, Succeeded, Waiting};
    let gate = r#"{"name":"f","jobs":[{"name":"a","signal":"go","timeout":"1m"}]}"#;
    let signalled = |signal: &str| {
        (0, rr_schemas::decision::Event::Signalled { signal: signal.parse().unwrap(), by: "t".into(), reason: None })
    };
    let go = || signalled("go");
    for (what, before, at, right) in [
        ("it waits", vec![], 59_999, vec![]),
        ("its time is over", vec![], 60_000, vec![Failed]),
        ("its signal was given", vec![go()], 60_000, vec![Succeeded]),
        ("the run is being stopped", vec![(0, cancel())], 5, vec![Cancelled]),
    ] {
        for status in [Waiting, Running, Succeeded, Failed, Skipped, Cancelled] {
            let mut events = before.clone();
            events.push((at, job("a", status)));
            assert_eq!(so_far(gate, events).is_empty(), right.contains(&status), "{what}: {status:?}");
        }
    }
    assert_eq!(so_far(gate, vec![go(), go()]), [Rule::DecidedOnce]);
    assert_eq!(so_far(gate, vec![signalled("on")]), [Rule::Chain]);
    assert_eq!(so_far(gate, vec![(0, cancel()), go()]), [Rule::Stop]);
    let patient = gate.replace(r#","timeout":"1m""#, "");
    assert_eq!(so_far(&patient, vec![(90_000_000, job("a", Failed))]), [Rule::Time], "it waits for ever");
}
