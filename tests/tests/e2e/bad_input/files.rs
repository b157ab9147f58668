//! Files that are no flow at all.

use super::{Row, check, json, yaml};

const GOOD: &str = "name: f\njobs:\n  - name: a\n    run: [touch, started]\n";

fn bytes(what: &'static str, content: &[u8], says: &'static [&'static str]) -> Row {
    Row { content: content.to_vec(), ..yaml(what, "", says) }
}

#[tokio::test]
async fn what_is_no_text() {
    check(vec![
        yaml("nothing", "", &["flow is empty"]),
        yaml("blanks", "  \n\n", &["flow is empty"]),
        yaml("a comment", "# nothing\n", &["flow is empty"]),
        json("no JSON", "", &["flow is empty"]),
        bytes("bytes", b"name: f\xff\n", &["not UTF-8 at byte 7"]),
        bytes("UTF-16", b"\xff\xfen\0a\0", &["not UTF-8 at byte 0", "UTF-16"]),
        bytes("NUL", b"name: f\0\n", &[":1:"]),
        Row { exit: 0, ..bytes("a byte order mark", format!("\u{feff}{GOOD}").as_bytes(), &[]) },
    ])
    .await;
}

#[tokio::test]
async fn what_is_no_json() {
    check(vec![
        json("truncated", "{\"name\": \"f\",\n \"jobs\": [{\"name\": \"a\"", &["expected", ":2:22:"]),
        json("a key twice", "{\"name\": \"f\",\n \"name\": \"g\", \"jobs\": []}", &["duplicate key \"name\"", ":2:2:"]),
        json("more behind it", "{\"name\": \"f\", \"jobs\": []} x", &["trailing characters", ":1:27:"]),
        json("depth", &"[".repeat(10_000), &["nesting deeper than 64"]),
        json("deep maps", &"{\"a\":".repeat(10_000), &["nesting deeper than 64"]),
        json("a list", "[]", &["expected", "list"]),
        json("not a number", "{\"name\": NaN}", &[":1:10:"]),
    ])
    .await;
}

#[tokio::test]
async fn what_is_no_plain_yaml() {
    let mut laughs = "a0: &a0 [x, x]\n".to_owned();
    for n in 1..10 {
        laughs.push_str(&format!("a{n}: &a{n} [*a{m}, *a{m}]\n", m = n - 1));
    }
    check(vec![
        yaml("laughs", &laughs, &["not allowed", ":1:"]),
        yaml("an alias", &format!("{GOOD}    hosts: *x\n"), &["aliases are not allowed", ":5:12:"]),
        yaml("an anchor", &format!("{GOOD}    hosts: &x a\n"), &["not allowed", ":5:15:"]),
        yaml("a merge key", &format!("{GOOD}    <<: {{ queue: q }}\n"), &["merge keys are not allowed", ":5:5:"]),
        yaml("a tag", "name: !!python/object f\n", &["tag", ":1:7:"]),
        yaml("two documents", &format!("{GOOD}---\n{GOOD}"), &["one document expected, found 2", ":5:1:"]),
        yaml("depth", &format!("name: {}", "[".repeat(10_000)), &["nesting deeper than 64"]),
        yaml("a key twice", "name: f\nname: g\njobs: []\n", &["duplicate key \"name\"", ":2:1:"]),
        yaml("a tab", "name: f\njobs:\n\t- name: a\n", &[":3:"]),
        yaml("no end", "name: \"f\n", &[":1:"]),
        yaml("a text", "hello\n", &["expected", "string"]),
    ])
    .await;
}

#[tokio::test]
async fn what_a_flow_does_not_have() {
    let slots = |second: &str| format!("name: f\nslots:\n  - [{{ name: a, run: [touch, started] }}]\n  - {second}\n");
    check(vec![
        yaml("no name", "jobs: [{ name: a, run: [x] }]\n", &["name", ":1:1:"]),
        yaml("no jobs", "name: f\n", &["flow has no jobs"]),
        yaml("jobs are a number", "name: f\njobs: 5\n", &["jobs: expected list, found integer", ":2:7:"]),
        yaml("a job is a text", "name: f\njobs: [a]\n", &["expected map", ":2:8:"]),
        yaml("an empty slot", &slots("[]"), &["slot 2 is empty", ":4:5:"]),
        yaml("an empty slot of a map", &slots("{ name: s, jobs: [] }"), &["slot 2 is empty"]),
        yaml("a wrong slot", &slots("{ jbos: [] }"), &["jbos", "did you mean \"jobs\"?", ":4:7:"]),
        yaml("both forms", &format!("{GOOD}slots:\n  - [{{ name: b, run: [x] }}]\n"), &["exclude each other"]),
        yaml("an unknown key", &format!("{GOOD}paramz: 5\n"), &["unknown field", "did you mean \"params\"?", ":5:1:"]),
        yaml("the same name", &format!("{GOOD}  - name: a\n    run: [x]\n"), &["duplicate job name \"a\"", ":5:11:"]),
        yaml("but for case", &format!("{GOOD}  - name: A\n    run: [x]\n"), &["differs only in case", ":5:11:"]),
        yaml(
            "a circle",
            "name: f\njobs:\n  - { name: a, run: [x], needs: [b] }\n  - { name: b, run: [x], needs: [a] }\n",
            &["a -> b -> a"],
        ),
        yaml("itself", &format!("{GOOD}    needs: [a]\n"), &["depends on itself", ":5:13:"]),
        yaml(
            "unknown need",
            &format!("{GOOD}  - {{ name: build, run: [x] }}\n  - {{ name: b, run: [x], needs: [buidl] }}\n"),
            &["depends on unknown \"buidl\"", "did you mean \"build\"?", ":6:34:"],
        ),
        yaml("needs in slots", &slots("[{ name: b, run: [x], needs: [a] }]"), &["needs is not possible in slots"]),
        yaml("no limit", &format!("timeout: 0s\n{GOOD}"), &["longer than 0s", "none", ":1:10:"]),
    ])
    .await;
}

#[tokio::test]
async fn what_is_too_much() {
    let jobs = |n: u32| (0..n).map(|n| format!("- {{name: j{n}, run: [x]}}\n")).collect::<String>();
    let hosts =
        |n: u32| (0..n).map(|n| format!("- {{name: j{n}, run: [x], hosts: \"h[1-50001]\"}}\n")).collect::<String>();
    let many = "- { name: a, run: [x], hosts: \"h[1-2000]\", retry: 1000 }\n";
    check(vec![
        yaml("jobs", &format!("name: f\njobs:\n{}", jobs(10_001)), &["10001 jobs, limit 10000"]),
        yaml("tasks", &format!("name: f\njobs:\n{}", hosts(2)), &["100002 tasks, limit 100000"]),
        yaml("attempts", &format!("name: f\njobs:\n{many}"), &["2000000 attempts", "limit 1000000"]),
        yaml("bytes", &format!("{GOOD}#{}\n", "x".repeat(600_000)), &["limit 524288"]),
    ])
    .await;
}
