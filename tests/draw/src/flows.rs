//! Flows.

use std::fmt::Write as _;

use rr_schemas::flow::Flow;

use crate::Dice;

/// Signals that gates of drawn flows wait for.
pub const SIGNALS: [&str; 3] = ["s0", "s1", "s2"];
/// The values of the label `role` that drawn flows ask for.
pub const ROLES: [&str; 2] = ["db", "web"];
/// The parameter of drawn flows that have one, and its default.
pub const PARAM: (&str, &str) = ("version", "one");
const PARAMS: &str = r#""params":{"version":{"default":"one"}},"env":{"VERSION":"v{{ version }}"},"#;

/// What drawn flows are made of.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// What a job does, as a field of the flow.
    pub work: &'static str,
    /// Hosts of a job at most.
    pub hosts_max: u64,
    /// Queues, priorities and time limits of attempts beside hosts.
    pub has_queues: bool,
    /// Targets by the labels of workers, and a parameter that shows in the environment of jobs.
    pub has_labels: bool,
    /// Slots at most, and three jobs in each; of a graph about twice as many jobs.
    pub slots_max: u64,
    /// How long a target is waited for that nobody serves, where it is.
    pub patience: &'static str,
    /// The time limit of a run that has one.
    pub limit: &'static str,
}

impl Style {
    /// Commands on up to nine hosts.
    pub const COMMANDS: Self = Self {
        work: r#""run":["x"]"#,
        hosts_max: 9,
        has_queues: false,
        has_labels: false,
        slots_max: 4,
        patience: "5m",
        limit: "2m",
    };
}

/// A flow drawn from a seed: slots or a graph, every policy.
///
/// # Panics
/// The flow is none: a bug here.
#[expect(clippy::expect_used, reason = "a generator of what is no flow must be heard of")]
pub fn drawn(dice: &mut Dice, style: &Style) -> Flow {
    let timeout = if dice.chance(15) { format!(r#""timeout":"{}","#, style.limit) } else { String::new() };
    let params = if style.has_labels && dice.chance(20) { PARAMS } else { "" };
    let body = if dice.chance(50) { slots(dice, style) } else { graph(dice, style) };
    serde_json::from_str(&format!(r#"{{"name":"f",{params}{timeout}{body}}}"#)).expect("a flow")
}

fn slots(dice: &mut Dice, style: &Style) -> String {
    let mut index = 0;
    let n_slots = dice.roll(style.slots_max) + 1;
    let slots: Vec<String> = (0..n_slots)
        .map(|_| {
            let n_jobs = dice.roll(3) + 1;
            let jobs: Vec<String> = (0..n_jobs)
                .map(|_| {
                    index += 1;
                    job(dice, style, index, "")
                })
                .collect();
            format!(r#"{{"jobs":[{}]}}"#, jobs.join(","))
        })
        .collect();
    format!(r#""slots":[{}]"#, slots.join(","))
}

fn graph(dice: &mut Dice, style: &Style) -> String {
    let n_jobs = dice.roll(style.slots_max * 2 - 1) + 1;
    let jobs: Vec<String> = (0..n_jobs)
        .map(|index| {
            let needs: Vec<String> =
                (0..index).filter(|_| dice.chance(30)).map(|need| format!(r#""j{need}""#)).collect();
            job(dice, style, index, &format!(r#","needs":[{}]"#, needs.join(",")))
        })
        .collect();
    format!(r#""jobs":[{}]"#, jobs.join(","))
}

fn gate(dice: &mut Dice, index: u64, needs: &str) -> String {
    let signal = dice.pick(&SIGNALS).copied().unwrap_or_default();
    let timeout = if dice.chance(40) { r#","timeout":"3s""# } else { "" };
    format!(r#"{{"name":"j{index}","signal":"{signal}"{needs}{timeout}}}"#)
}

fn job(dice: &mut Dice, style: &Style, index: u64, needs: &str) -> String {
    if dice.chance(8) {
        return gate(dice, index, needs);
    }
    let n = dice.roll(style.hosts_max) + 1;
    let mut text = format!(r#"{{"name":"j{index}",{}{needs}"#, style.work);
    if style.has_labels && dice.chance(6) {
        labels(dice, &mut text);
    } else if dice.chance(80) {
        hosts(dice, style, n, &mut text);
    } else if style.has_queues {
        queue(dice, &mut text);
    }
    if style.has_queues && dice.chance(20) {
        let timeout = (dice.roll(4) + 1) * 150;
        let grace = dice.roll(3) * 100;
        push(&mut text, format_args!(r#","timeout":"{timeout}ms","grace":"{grace}ms""#));
    }
    text.push_str(if dice.chance(25) { r#","fail_fast":false"# } else { "" });
    let (attempts, delay) = (dice.roll(4) + 1, dice.roll(3) * 400);
    push(
        &mut text,
        format_args!(r#","retry":{{"attempts":{attempts},"delay":"{delay}ms","factor":1.5,"jitter":"20%"}}"#),
    );
    match dice.roll(6) {
        0 => text.push_str(r#","on_lost":"fail""#),
        1 => text.push_str(r#","on_lost":"hold""#),
        2 | 3 => text.push_str(r#","lock":"deploy""#),
        _ => {}
    }
    text + "}"
}

fn hosts(dice: &mut Dice, style: &Style, n: u64, text: &mut String) {
    push(text, format_args!(r#","hosts":"h[1-{n}]""#));
    if dice.chance(50) {
        push(text, format_args!(r#","success":"{}%""#, dice.roll(100) + 1));
    } else if dice.chance(30) {
        push(text, format_args!(r#","success":{}"#, dice.roll(n) + 1));
    }
    if dice.chance(60) {
        push(text, format_args!(r#","parallelism":"{}%""#, dice.roll(100) + 1));
    } else if dice.chance(40) {
        push(text, format_args!(r#","parallelism":[1,"{}%",{}]"#, dice.roll(100) + 1, dice.roll(4) + 1));
    }
    match dice.roll(5) {
        0 => text.push_str(r#","on_unreachable":"skip""#),
        1 => push(text, format_args!(r#","on_unreachable":"wait {}""#, style.patience)),
        _ => {}
    }
    text.push_str(if dice.chance(20) { r#","waves":true"# } else { "" });
}

/// How many targets these are shows when the run starts.
fn labels(dice: &mut Dice, text: &mut String) {
    let key = if dice.chance(50) { "select" } else { "all" };
    let role = dice.pick(&ROLES).copied().unwrap_or_default();
    push(text, format_args!(r#","{key}":{{"role":"{role}"}}"#));
    if dice.chance(50) {
        push(text, format_args!(r#","success":"{}%""#, dice.roll(100) + 1));
    }
    if dice.chance(50) {
        push(text, format_args!(r#","parallelism":"{}%""#, dice.roll(100) + 1));
    }
}

fn queue(dice: &mut Dice, text: &mut String) {
    text.push_str(match dice.roll(3) {
        0 => r#","queue":"q1""#,
        1 => r#","queue":"q2""#,
        _ => "",
    });
    text.push_str(match dice.roll(3) {
        0 => r#","priority":"high""#,
        1 => r#","priority":"low""#,
        _ => "",
    });
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(more);
}
