//! What the simulator listens for is what the product says: words that nobody says any more are listened for in vain.

use std::{fs, path::Path};

use crate::{
    branches::{NAMED, RARE, WITH_ERROR},
    chaos::MOMENTS,
    world::ALARMS,
};

/// Where those are whose words are listened for: the product, and the machines that it runs on here.
const SOURCES: [&str; 5] =
    ["coordinator", "worker/src", "nats/src", "tests/sim/src/machine.rs", "tests/sim/src/user.rs"];

fn read(path: &Path, sources: &mut String) {
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            read(&entry, sources);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        sources.push_str(&fs::read_to_string(path).unwrap());
    }
}

#[test]
fn everything_that_is_listened_for_is_said_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = String::new();
    for place in SOURCES {
        read(&root.join(place), &mut sources);
    }
    // Of some lines the error is listened for, too, which may say more.
    let is_said = |words: &&str| match words.split_once(": ") {
        Some((line, error)) => sources.contains(&format!("\"{line}\"")) && sources.contains(&format!("\"{error}")),
        None => sources.contains(&format!("\"{words}\"")),
    };
    let named = NAMED.iter().map(|(_, words)| *words);
    let words = named.chain(ALARMS).chain(MOMENTS).chain(RARE).chain(WITH_ERROR);
    let missing: Vec<&str> = words.filter(|words| !is_said(words)).collect();
    assert!(missing.is_empty(), "nobody says {missing:?}");
}
