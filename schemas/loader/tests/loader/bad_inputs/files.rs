//! Files that are no tree, no text, or trees of another shape.

use super::{check, job, json, yaml};
use crate::helpers::lines;

#[test]
fn files_that_are_no_tree() {
    let mut long = "x".repeat(512 * 1024);
    long.push('x');
    check(vec![
        yaml("", &["error 1:1 flow is empty"]),
        yaml(" \n\t\n", &["error 1:1 flow is empty"]),
        yaml("# nothing but words\n", &["error 1:1 flow is empty"]),
        yaml("\u{feff}", &["error 1:1 flow is empty"]),
        yaml(long, &["error file is 524289 bytes, limit 524288"]),
        yaml("[".repeat(10_000), &["error 1:65 nesting deeper than 64"]),
        yaml("- ".repeat(10_000), &["nesting deeper than 64"]),
        json("[".repeat(100) + &"]".repeat(100), &["error 1:65 nesting deeper than 64"]),
        json("[".repeat(10_000), &["error 1:65 nesting deeper than 64"]),
        json(
            "{\"name\": \"f\", \"jobs\": [\n  ",
            &["error 2:2 not valid JSON: EOF while parsing a list [expected , or ]"],
        ),
        json("{\"name\": \"f\"", &["error 1:12 not valid JSON: EOF while parsing an object [expected , or }"]),
        json("{\"name\": \"f\"} {}", &["error 1:15 not valid JSON: trailing characters"]),
        json("{\"name\": \"f\",}", &["error 1:14 not valid JSON"]),
        json("{\"name\": \"f\" // no\n}", &["error 1:14 not valid JSON: expected `,` or `}`"]),
        json("{'name': 'f'}", &["error 1:2 not valid JSON"]),
        json("{\"name\": \"\\ud800\"}", &["error 1:10 not valid JSON"]),
        json("{\"name\": NaN}", &["error 1:10 not valid JSON"]),
        json("5", &["error 1:1 flow: expected map, found integer"]),
        yaml("just words", &["error 1:1 flow: expected map, found string"]),
        yaml("- a\n- b\n", &["error 1:1 flow: expected map, found list"]),
        yaml("name: f\njobs: [\n", &["error 2:7 not valid YAML: unclosed bracket '['"]),
        yaml(
            "name: f\njobs:\n\t- x\n",
            &["error 3:2 not valid YAML: tabs disallowed within this context (block indentation) [indent with spaces]"],
        ),
        yaml("name: \"f\n", &["not valid YAML"]),
        yaml("name: f\n---\nname: g\n", &["error 2:1 one document expected, found 2"]),
        yaml("%YAML 1.1\n---\nname: f\n", &["not valid YAML: YAML directives are disallowed"]),
        yaml("name: &n f\njobs: *n\n", &["error 1:10 YAML anchors are not allowed"]),
        yaml("name: *n\n", &["error 1:7 YAML aliases are not allowed"]),
        yaml("name: f\n<<: { a: 1 }\n", &["error 2:1 YAML merge keys are not allowed"]),
        yaml("name: !!python/object f\n", &["error 1:7 YAML tags are not allowed, found \"!!python/object\""]),
        yaml(
            "name: f\nrun: {{ x }}\n",
            &["error 2:7 a key must be a text [a text that begins with { or [ has to be quoted]"],
        ),
    ]);
}

#[test]
fn bytes_that_are_no_text() {
    for (bytes, says) in [
        (b"name: \xff".as_slice(), "error 1:7 not UTF-8 at byte 6 [save the file as UTF-8]"),
        (b"name: f\nx: \xc3(", "error 2:4 not UTF-8 at byte 11 [save the file as UTF-8]"),
        (b"\xff\xfen\0", "error 1:1 not UTF-8 at byte 0: this is UTF-16 [save the file as UTF-8]"),
        (b"\xfe\xff\0n", "error 1:1 not UTF-8 at byte 0: this is UTF-16 [save the file as UTF-8]"),
    ] {
        let source = rr_loader::Source { name: "flow.yaml", bytes };
        let loaded = rr_loader::load(&source, rr_loader::Format::Auto);
        assert_eq!(lines(&loaded), [says]);
        assert!(rr_loader::render(&loaded.diagnostics, &source, false).contains("flow.yaml"));
    }
}

#[test]
fn fields_of_the_wrong_shape() {
    check(vec![
        yaml("name: f\nname: g\njobs: [{ name: a, run: [x] }]\n", &["error 2:1 duplicate key \"name\""]),
        json(
            "{\"name\": \"f\", \"jobs\": [], \"jobs\": []}",
            &["error 1:1 flow has no jobs", "error 1:27 duplicate key \"jobs\""],
        ),
        job("parallelsim: 3", &["error 5:5 unknown field \"parallelsim\" [did you mean \"parallelism\"?]"]),
        job("zebra: 3", &["error 5:5 unknown field \"zebra\""]),
        yaml("name: f\njobs: 5\n", &["error 2:7 jobs: expected list, found integer"]),
        yaml(
            "name: f\njob:\n  - { name: a, run: [x] }\n",
            &["error 2:1 unknown field \"job\" [did you mean \"jobs\"?]"],
        ),
        yaml("name: f\n", &["error 1:1 flow has no jobs [give it slots: or jobs:]"]),
        yaml("name: f\nslots: []\n", &["flow has no jobs"]),
        yaml("name: f\nslots:\n  - [{ name: a, run: [x] }]\n  - []\n", &["error 4:5 slot 2 is empty"]),
        yaml(
            "name: f\nslots:\n  - [{ name: a, run: [x] }]\n  - name: s\n    jobs: []\n",
            &["error 4:5 slot 2 is empty"],
        ),
        yaml("name: f\nslots: [x]\n", &["error 2:9 slot: expected list of jobs, found string"]),
        yaml("name: f\nslots:\n  - name: s\n", &["error 3:5 missing field \"jobs\""]),
        yaml(
            "name: f\nslots:\n  - [{ name: a, run: [x] }]\njobs:\n  - { name: b, run: [x] }\n",
            &["error 5:3 slots and jobs exclude each other"],
        ),
        yaml("name: f\njobs:\n  - run: [x]\n", &["error 3:5 missing field \"name\""]),
        yaml(
            "name: f\njobs:\n  - nmae: a\n    run: [x]\n",
            &["error 3:5 unknown field \"nmae\" [did you mean \"name\"?]"],
        ),
        yaml("jobs: [{ name: a, run: [x] }]\n", &["error 1:1 missing field \"name\""]),
        yaml(
            "name: f\ndescription: 5\njobs: [{ name: a, run: [x] }]\n",
            &["error 2:14 description: expected string, found integer (quote it)"],
        ),
        job("waves: yes", &["error 5:12 waves: expected true or false, found \"yes\""]),
        job("fail_fast: [1]", &["error 5:16 fail_fast: expected true or false, found list"]),
        job("env:", &["error 5:5 env: expected map, found nothing"]),
        job("lock: no", &["error 5:11 lock: expected string, found boolean (quote it)"]),
        job(
            "lock: 'db {{ x }}'",
            &["error 5:11 lock: name may hold A-Z a-z 0-9 _ -, 1 to 63 characters; got \"db {{ x }}\""],
        ),
        job(
            "on_lost: retri",
            &["error 5:14 on_lost: expected retry or fail or hold, found \"retri\" [did you mean \"retry\"?]"],
        ),
    ]);
}
