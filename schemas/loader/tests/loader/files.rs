//! The files of the repository: every example loads, and the schema is the one that the code makes.

use std::{fs, path::Path};

use rr_loader::{Format, Source, load, render, schema};
use rr_schemas::flow::Flow;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn example(name: &str) -> Flow {
    let bytes = fs::read(root().join("examples").join(name)).unwrap();
    let source = Source { name, bytes: &bytes };
    let loaded = load(&source, Format::Auto);
    assert_eq!(loaded.diagnostics, [], "{}", render(&loaded.diagnostics, &source, false));
    loaded.flow.unwrap()
}

#[test]
fn every_example_loads_without_a_word() {
    let names: Vec<String> = fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| [".yaml", ".json"].iter().any(|end| name.ends_with(end)))
        .collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        example(&name);
    }
}

#[test]
fn the_rollout_is_two_slots_over_116_hosts() {
    let flow = example("rollout.yaml");
    let targets: Vec<(Option<usize>, &str, u32)> =
        flow.all_jobs().map(|(slot, job)| (slot, job.name.as_str(), job.targets())).collect();
    assert_eq!(targets, [(Some(0), "pkg1", 10), (Some(0), "pkg2", 6), (Some(1), "restart", 100)]);
    let restart = &flow.slots[1].jobs[0];
    assert_eq!(restart.parallelism.window(100), 50);
    assert_eq!(flow.slots[0].jobs[0].success.needed(10), 8);
}

#[test]
fn the_schema_in_the_repository_is_the_generated_one() {
    let path = root().join("schemas/json/flow.schema.json");
    if std::env::var_os("RR_BLESS").is_some() {
        fs::write(&path, schema()).unwrap();
    }
    // Compared as values: the order of keys is the JSON library's, and depends on how it was built.
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        parse(&committed) == parse(&schema()),
        "schemas/json/flow.schema.json is out of date; run: RR_BLESS=1 cargo test -p rr-loader --test loader schema"
    );
}
