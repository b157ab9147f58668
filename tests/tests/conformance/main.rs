//! The model of the server answers as the server does: each script is played to a real server, to a real cluster of three, and to
//! the model of either, and what comes back is compared step by step.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod player;
mod random;
mod script;
mod sides;
mod told;

use crate::{
    script::{Script, Step},
    sides::{on_cluster, on_model, on_mortal_server, on_server},
};
use rr_model::Servers;

/// Every script, by file.
const FILES: [(&str, &str); 8] = [
    ("publish", include_str!("scripts/publish.txt")),
    ("streams", include_str!("scripts/streams.txt")),
    ("consumers", include_str!("scripts/consumers.txt")),
    ("pulls", include_str!("scripts/pulls.txt")),
    ("purge", include_str!("scripts/purge.txt")),
    ("pins", include_str!("scripts/pins.txt")),
    ("timers", include_str!("scripts/timers.txt")),
    ("leaders", include_str!("scripts/leaders.txt")),
];
/// Scripts by chance, and steps of each.
const RANDOM: (u64, usize) = (8, 60);

/// Those by chance are the same ones each time, unless `RR_TEST_SEED` has them begin with another seed.
fn all() -> Vec<Script> {
    let first = std::env::var_os("RR_TEST_SEED").map_or(0, |seed| seed.to_str().unwrap().parse().unwrap());
    let written = FILES.iter().flat_map(|(file, text)| script::read(file, text));
    written.chain((first..first + RANDOM.0).map(|seed| random::script(seed, RANDOM.1))).collect()
}

/// What two sides say otherwise: of each script the first step. Of a script by chance all that was done before is told.
fn differences(
    scripts: &[Script],
    (one_name, one): (&str, &[Vec<String>]),
    (other_name, other): (&str, &[Vec<String>]),
    expected: impl Fn(&Step) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for ((script, one), other) in scripts.iter().zip(one).zip(other) {
        let answers = script.steps.iter().zip(one).zip(other);
        let Some(n) = answers.clone().position(|((step, one), other)| (one != other) != expected(step)) else {
            continue;
        };
        let mut told = format!("{}, step {}", script.name, n + 1);
        for (step, answer) in script.steps.iter().zip(other).take(n).filter(|_| script.name.starts_with(random::NAME)) {
            told = format!("{told}\n    {}: {}", step.text, answer.replace('\n', " / "));
        }
        let (step, one, other) = (&script.steps[n].text, &one[n], &other[n]);
        found.push(format!("{told}\n  {step}\n    {one_name}: {one}\n    {other_name}: {other}"));
    }
    found
}

#[tokio::test]
async fn the_model_answers_as_one_server_does_and_as_three_do() {
    let scripts = all();
    assert!(scripts.len() >= 20 && scripts.iter().map(|script| script.steps.len()).sum::<usize>() >= 60);
    for (file, text) in FILES {
        assert!(!script::read(file, text).is_empty(), "{file} has scripts");
    }
    assert!(scripts.iter().all(|script| !script.steps.is_empty()), "each script says something");
    let models = [Servers::One, Servers::Three].map(|servers| on_model(scripts.clone(), servers));
    let (one, three) = tokio::join!(on_server(&scripts), on_cluster(&scripts));
    let [model_one, model_three] = models.map(|model| model.join().unwrap());
    let mut found = differences(&scripts, ("model", &model_one), ("server", &one), |_| false);
    found.extend(differences(&scripts, ("model of three", &model_three), ("three servers", &three), |_| false));
    // A script says where the two differ, and they do.
    found.extend(differences(&scripts, ("one server", &one), ("three servers", &three), |step| step.differs));
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}

/// What a server knows after it was killed, and what it has forgotten.
#[tokio::test]
async fn the_model_comes_back_as_the_server_does() {
    let scripts = script::read("restart", include_str!("scripts/restart.txt"));
    let model = on_model(scripts.clone(), Servers::One);
    let real = on_mortal_server(&scripts).await;
    let found = differences(&scripts, ("model", &model.join().unwrap()), ("server", &real), |_| false);
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}

/// The same seed and the same steps lead to the same history.
#[test]
fn the_model_repeats_itself() {
    let scripts = all();
    let histories = [(); 2].map(|()| on_model(scripts.clone(), Servers::Three).join().unwrap());
    assert_eq!(histories[0], histories[1]);
}
