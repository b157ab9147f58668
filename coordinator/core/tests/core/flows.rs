//! Flows for the tests: written ones, and ones drawn from a seed.

use rr_schemas::flow::Flow;

/// A small generator of its own, so that a seed means the same for ever.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % n
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

pub(crate) fn flow(json: &str) -> Flow {
    serde_json::from_str(json).expect("a flow of the tests")
}

/// One job `a` on `n` hosts with more fields.
pub(crate) fn one_job(n: u32, fields: &str) -> Flow {
    let comma = if fields.is_empty() { "" } else { "," };
    flow(&format!(r#"{{"name":"f","jobs":[{{"name":"a","run":["x"],"hosts":"h[1-{n}]"{comma}{fields}}}]}}"#))
}

/// Signals that gates of drawn flows wait for.
pub(crate) const SIGNALS: [&str; 3] = ["s0", "s1", "s2"];

fn gate(dice: &mut Dice, index: u64, needs: &str) -> String {
    let signal = SIGNALS[dice.roll(3) as usize];
    let timeout = if dice.chance(40) { r#","timeout":"3s""# } else { "" };
    format!(r#"{{"name":"j{index}","signal":"{signal}"{needs}{timeout}}}"#)
}

fn job(dice: &mut Dice, index: u64, needs: &str) -> String {
    if dice.chance(8) {
        return gate(dice, index, needs);
    }
    let n = dice.roll(9) + 1;
    let mut text = format!(r#"{{"name":"j{index}","run":["x"]{needs}"#);
    if dice.chance(80) {
        text.push_str(&format!(r#","hosts":"h[1-{n}]""#));
        if dice.chance(50) {
            text.push_str(&format!(r#","success":"{}%""#, dice.roll(100) + 1));
        } else if dice.chance(30) {
            text.push_str(&format!(r#","success":{}"#, dice.roll(n) + 1));
        }
        if dice.chance(60) {
            text.push_str(&format!(r#","parallelism":"{}%""#, dice.roll(100) + 1));
        } else if dice.chance(40) {
            text.push_str(&format!(r#","parallelism":[1,"{}%",{}]"#, dice.roll(100) + 1, dice.roll(4) + 1));
        }
        match dice.roll(5) {
            0 => text.push_str(r#","on_unreachable":"skip""#),
            1 => text.push_str(r#","on_unreachable":"wait 5m""#),
            _ => {}
        }
        text.push_str(if dice.chance(20) { r#","waves":true"# } else { "" });
    }
    text.push_str(if dice.chance(25) { r#","fail_fast":false"# } else { "" });
    let (attempts, delay) = (dice.roll(4) + 1, dice.roll(3) * 400);
    text.push_str(&format!(r#","retry":{{"attempts":{attempts},"delay":"{delay}ms","factor":1.5,"jitter":"20%"}}"#));
    match dice.roll(6) {
        0 => text.push_str(r#","on_lost":"fail""#),
        1 => text.push_str(r#","on_lost":"hold""#),
        2 => text.push_str(r#","lock":"deploy""#),
        _ => {}
    }
    text + "}"
}

/// A flow drawn from a seed: slots or a graph, every policy.
pub(crate) fn drawn(dice: &mut Dice) -> Flow {
    let timeout = if dice.chance(15) { r#""timeout":"2m","# } else { "" };
    if dice.chance(50) {
        let mut index = 0;
        let n_slots = dice.roll(4) + 1;
        let slots: Vec<String> = (0..n_slots)
            .map(|_| {
                let n_jobs = dice.roll(3) + 1;
                let jobs: Vec<String> = (0..n_jobs)
                    .map(|_| {
                        index += 1;
                        job(dice, index, "")
                    })
                    .collect();
                format!(r#"{{"jobs":[{}]}}"#, jobs.join(","))
            })
            .collect();
        flow(&format!(r#"{{"name":"f",{timeout}"slots":[{}]}}"#, slots.join(",")))
    } else {
        let n_jobs = dice.roll(7) + 1;
        let jobs: Vec<String> = (0..n_jobs)
            .map(|index| {
                let needs: Vec<String> =
                    (0..index).filter(|_| dice.chance(30)).map(|need| format!(r#""j{need}""#)).collect();
                job(dice, index, &format!(r#","needs":[{}]"#, needs.join(",")))
            })
            .collect();
        flow(&format!(r#"{{"name":"f",{timeout}"jobs":[{}]}}"#, jobs.join(",")))
    }
}
