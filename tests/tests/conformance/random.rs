//! Scripts by chance: what nobody has thought of.

use crate::script::{Script, step};

const SUBJECTS: [&str; 8] = ["@Q.a.1", "@Q.a.2", "@Q.b.1", "@Q.b.2", "@L.x.1", "@L.x.2", "@L.x.3", "@L.y.1"];
const CONSUMERS: [(&str, &str); 4] = [("Q", "a"), ("Q", "b"), ("L", "x"), ("L", "all")];
const FILTERS: [(&str, &str); 8] = [
    ("Q", "@Q.a.1"),
    ("Q", "@Q.a.>"),
    ("Q", "@Q.*.2"),
    ("Q", "@Q.b.*"),
    ("L", "@L.x.2"),
    ("L", "@L.*.1"),
    ("L", "@L.>"),
    ("L", "@L.x.*"),
];

/// How the names of these scripts begin.
pub(crate) const NAME: &str = "by chance";

/// A script of so many steps, behind those that make its streams.
pub(crate) fn script(seed: u64, n: usize) -> Script {
    let mut rng = fastrand::Rng::with_seed(seed);
    let begin = [
        r#"stream Q {"retention":"workqueue"}"#.to_owned(),
        r#"stream L {"max_msgs_per_subject":2}"#.to_owned(),
        r#"consumer Q a {"filter_subject":"@Q.a.>"}"#.to_owned(),
        r#"consumer Q b {"filter_subjects":["@Q.b.1","@Q.b.2"]}"#.to_owned(),
        r#"consumer L x {"filter_subject":"@L.x.>"}"#.to_owned(),
        "consumer L all".to_owned(),
    ];
    let lines = begin.into_iter().chain((0..n).map(|n| line(n, &mut rng)));
    let steps = lines.map(|line| step(&line).unwrap_or_else(|| panic!("not a step: {line}"))).collect();
    Script { name: format!("{NAME}: {seed}"), steps }
}

fn line(n: usize, rng: &mut fastrand::Rng) -> String {
    let subject = SUBJECTS[rng.usize(..SUBJECTS.len())];
    let (stream, consumer) = CONSUMERS[rng.usize(..CONSUMERS.len())];
    let (purged, filter) = FILTERS[rng.usize(..FILTERS.len())];
    match rng.u32(..100) {
        0..25 => format!("pub {subject} m{n}"),
        25..32 => format!("pub {subject} m{n} | Nats-Expected-Last-Subject-Sequence: {}", rng.u32(..12)),
        32..38 => format!("pub {subject} m{n} | Nats-Msg-Id: id{}", rng.u32(..4)),
        38..60 => format!("fetch {stream} {consumer} {}", rng.u32(1..4)),
        60..70 => format!("say {} +ACK", rng.u32(1..20)),
        70..76 => format!("say {} -NAK", rng.u32(1..20)),
        76..79 => format!("say {} +TERM", rng.u32(1..20)),
        79..83 => format!(r#"api STREAM.PURGE.@{purged} {{"filter":"{filter}"}}"#),
        83..86 => format!(r#"api STREAM.MSG.DELETE.@{stream} {{"seq":{},"no_erase":true}}"#, rng.u32(1..15)),
        86..89 => format!(r#"api STREAM.MSG.GET.@{stream} {{"last_by_subj":"{filter}"}}"#),
        89..95 => format!("counts {stream} {consumer}"),
        _ => format!("state {stream}"),
    }
}
