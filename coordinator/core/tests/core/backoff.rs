//! How long a task waits before its next attempt.

use rr_schemas::{
    decision::Event,
    input::{Input, Source},
    report::Outcome,
};

use super::{flows::one_job, stage::Stage};

/// The waits before the second attempt of a task and the following ones, in milliseconds.
fn waits(task: u32, n_tasks: u32, retry: &str, n: u32) -> Vec<u64> {
    let mut stage = Stage::new(&one_job(n_tasks, &format!(r#""retry":{{"attempts":{},{retry}}}"#, n + 1)));
    let wait = |attempt| {
        let records = stage.end(task, attempt, Outcome::Failed, Some(1));
        let Event::Ended { again: Some(again), .. } = records[0].event else { panic!("{records:?}") };
        let wait = again.duration_since(stage.now).as_millis();
        if wait > 0 {
            stage.now = again;
            stage.hear(Source::Timer, Input::Timer {});
        }
        u64::try_from(wait).unwrap()
    };
    (1..=n).map(wait).collect()
}

#[test]
fn waits_grow_by_their_factor_up_to_their_limit() {
    const DAY: u64 = 24 * 3_600_000;
    for (retry, expected) in [
        (r#""delay":"0s""#, vec![0, 0, 0]),
        (r#""delay":"0s","factor":3"#, vec![0, 0, 0]),
        (r#""delay":"1s""#, vec![1_000, 1_000, 1_000]),
        (r#""delay":"1s","factor":2"#, vec![1_000, 2_000, 4_000, 8_000]),
        (r#""delay":"1s","factor":1.5"#, vec![1_000, 1_500, 2_250, 3_375, 5_062, 7_593]),
        (r#""delay":"1s","factor":2,"max":"3s""#, vec![1_000, 2_000, 3_000, 3_000, 3_000]),
        (r#""delay":"1s","factor":2,"max":"4s""#, vec![1_000, 2_000, 4_000, 4_000]),
        // No wait is longer than a span may be, and none is computed that no number holds.
        (r#""delay":"1d","factor":5"#, [&[DAY, 5 * DAY, 25 * DAY][..], &[30 * DAY; 60]].concat()),
        (r#""delay":"1ms","factor":100"#, [&[1, 100, 10_000, 1_000_000, 100_000_000][..], &[30 * DAY; 40]].concat()),
    ] {
        assert_eq!(waits(0, 1, retry, u32::try_from(expected.len()).unwrap()), expected, "{retry}");
    }
}

/// One step of the generator splitmix64.
const fn splitmix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Whoever decides draws the same: from the run, the task and the attempt, and nothing else.
#[test]
fn jitter_is_drawn_from_run_task_and_attempt() {
    assert_eq!(splitmix(1_234_567), 6_457_827_717_110_365_317, "as the generator's authors have it");
    for (percent, wait, n) in [(30, 10_000, 20), (100, 333, 20), (1, 1_000, 20), (10, 9, 5)] {
        let most = wait * percent / 100;
        for task in [0, 1, 2] {
            let retry = format!(r#""delay":"{wait}ms","jitter":"{percent}%""#);
            let drawn = waits(task, 3, &retry, n);
            for (attempt, drawn) in (1..).zip(drawn) {
                // The run of the stage is called "r".
                let seed = splitmix((u64::from(task) << 32 | attempt) ^ u64::from(b'r'));
                let share = if most == 0 { 0 } else { splitmix(seed) % (2 * most + 1) };
                assert_eq!(drawn, wait - most + share, "{percent}% of {wait}, task {task}, attempt {attempt}");
            }
        }
    }
}
