//! Host expressions: every fault is told with its column, in a flow file with its place in the file.

use std::time::{Duration, Instant};

use rr_tests::Sandbox;

use super::{check, job, line, yaml};

/// Expression, and texts of the answer.
const WRONG: [(&str, &[&str]); 30] = [
    ("db[1-", &["unclosed [", "col 3"]),
    ("db[1-999999999]", &["expands to 999999999 hosts", "limit 100000"]),
    ("db[1-1000][1-1000][1-1000]", &["1000000000 hosts", "limit 100000"]),
    ("db[1-4294967295][1-4294967295][1-4294967295][1-4294967295]", &["limit 100000"]),
    ("db[3-1]", &["backwards", "[1-3]"]),
    ("db[]", &["col 3"]),
    ("db[,]", &["col"]),
    ("db[1,,2]", &["col"]),
    ("db]1[", &["col 3"]),
    ("a,,b", &["col"]),
    ("a,", &["col"]),
    (",a", &["col"]),
    ("db[1-010]", &["widths differ"]),
    ("db[-1-5]", &["col"]),
    ("db[1-5-9]", &["col"]),
    ("db[a-z]", &["col"]),
    ("db[1..5]", &["col", "1-5"]),
    ("db[99999999999999999999]", &["number too large"]),
    ("db[[1-2]]", &["col"]),
    ("db[١-٣]", &["col"]),
    ("db[１-３]", &["col"]),
    ("", &["host"]),
    ("  ", &["host"]),
    ("a b", &["col"]),
    ("a/b", &["col"]),
    ("a*", &["col"]),
    ("a>", &["col"]),
    ("-a", &["-"]),
    ("h\u{202e}x", &["col"]),
    ("$JS", &["col"]),
];

#[tokio::test]
async fn wrong_expressions_name_the_column() {
    let sandbox = Sandbox::new().await;
    let mut wrong = Vec::new();
    for (expression, says) in WRONG {
        let began = Instant::now();
        let output = sandbox.rr(["hosts", "expand", "--", expression]).run().await;
        let quick = began.elapsed() < Duration::from_secs(5);
        let missing: Vec<_> = says.iter().filter(|text| !output.stderr.contains(**text)).collect();
        if output.status.code() != Some(65) || !missing.is_empty() || output.stderr.contains('\u{202e}') || !quick {
            wrong.push(format!("{expression:?}: wanted {missing:?}\n{output}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test]
async fn right_expressions_are_expanded_in_order() {
    let sandbox = Sandbox::new().await;
    for (expression, hosts) in [
        ("db[01-03]", "db01\ndb02\ndb03\n"),
        ("a[1-3,7]", "a1\na2\na3\na7\n"),
        ("db[1-2][a]", ""),
        ("h[8-11]", "h8\nh9\nh10\nh11\n"),
        ("x.example.org,10.0.0.[1-2]", "x.example.org\n10.0.0.1\n10.0.0.2\n"),
        ("::1", "::1\n"),
        ("DB7", "db7\n"),
    ] {
        let output = sandbox.rr(["hosts", "expand", expression]).run().await;
        if hosts.is_empty() {
            let _wrong = output.exits(65);
        } else {
            assert_eq!(output.exits(0).stdout, hosts, "{expression}");
        }
    }
    let counted = sandbox.rr(["hosts", "expand", "--count", "db[1-100000]"]).run().await.exits(0);
    assert_eq!(counted.stdout.trim(), "100000");
}

#[tokio::test]
async fn in_a_file_they_have_their_place() {
    let hosts = |hosts: &str| job("").replace("h[1-10]", hosts);
    check(vec![
        yaml("backwards", &hosts("db[3-1]"), &["backwards", ":5:15:"]),
        yaml("unclosed", &hosts("\"db[1-\""), &["unclosed [", ":5:15:"]),
        yaml("too many", &hosts("db[1-999999999]"), &["limit 100000", ":5:12:"]),
        yaml("in a list", &hosts("[a1, \"b[2-1]\"]"), &["backwards", ":5:20:"]),
        yaml("none", &hosts("[]"), &["host", ":5:12:"]),
        yaml("a number", &hosts("5"), &["hosts: expected string", ":5:12:"]),
        yaml("a null", &hosts("~"), &["hosts", ":5:12:"]),
        super::Row {
            exit: 0,
            ..yaml("twice", &hosts("\"h[1-5],h[3-7]\""), &["warning", "3 of 10 hosts are named again", "7 remain"])
        },
        super::Row { exit: 0, ..line("wide", "parallelism: 20", &["warning", "10 will run at once"]) },
    ])
    .await;
}
