use crate::host::LABEL_CHARS_MAX;

use super::*;
use std::time::Duration;

fn set(text: &str) -> HostSet {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn hosts(text: &str) -> Vec<String> {
    set(text).iter().map(String::from).collect()
}

#[test]
fn expressions_name_hosts_in_written_order() {
    for (text, expanded) in [
        ("web1.example.org", "web1.example.org"),
        ("db[1-3]", "db1 db2 db3"),
        ("db[3,1-2]x", "db3x db1x db2x"),
        ("db[8-11]", "db8 db9 db10 db11"),
        ("db[01-03]", "db01 db02 db03"),
        ("db[098-101]", "db098 db099 db100 db101"),
        ("db[00,0]", "db00 db0"),
        ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
        ("[1-2][0-1]", "10 11 20 21"),
        ("a,b , c", "a b c"),
        (" a ", "a"),
        ("DB[1].Example", "db1.example"),
        ("10.0.0.[9-10]", "10.0.0.9 10.0.0.10"),
        ("FE80:0::1,db1", "fe80::1 db1"),
        ("a,a", "a a"),
        ("db[18446744073709551615]", "db18446744073709551615"),
    ] {
        assert_eq!(hosts(text).join(" "), expanded, "{text}");
        assert_eq!(set(text).len() as usize, hosts(text).len(), "{text}");
        assert_eq!(set(&set(text).to_string()), set(text), "{text}");
    }
    assert_eq!(hosts("db[01-10],api[1-100]").len(), 110);
}

/// Expression, marks under the span of its error, text of the error.
const FAULTS: &[(&str, &str, &str)] = &[
    ("db[1-", "  ^", "unclosed [ at col 3 (close it with ])"),
    ("db[1-3,web", "  ^", "unclosed [ at col 3 (close it with ])"),
    ("db[", "  ^", "unclosed [ at col 3 (close it with ])"),
    ("db[1-999999999]", "^^^^^^^^^^^^^^^", "expands to 999999999 hosts, limit 100000 at col 1"),
    (
        "a,db[1-1000][1-1000][1-1000]",
        "  ^^^^^^^^^^^^^^^^^^^^^^^^^^",
        "expands to 1000000000 hosts, limit 100000 at col 3",
    ),
    ("a[1-60000],b[1-60000]", "^^^^^^^^^^^^^^^^^^^^^", "expands to 120000 hosts, limit 100000 at col 1"),
    ("db[3-1]", "   ^^^", "range is backwards at col 4 (write [1-3])"),
    ("db[]", "  ^^", "empty [ ] at col 3 (write a range as [1-5] or [1-5,9])"),
    ("db[,]", "   ^", "empty item beside a comma at col 4"),
    ("db[1,,2]", "     ^", "empty item beside a comma at col 6"),
    ("db[1,]", "     ^", "empty item beside a comma at col 6"),
    ("db]1[", "  ^", "] without [ at col 3"),
    ("db[1]]", "     ^", "] without [ at col 6"),
    ("db[1-010]", "   ^^^^^", "widths differ at col 4 (write [001-010])"),
    ("db[01-100]", "   ^^^^^^", "widths differ at col 4 (write [001-100])"),
    ("db[-1-5]", "   ^^^^", "a range cannot begin with - at col 4 (write a range as [1-5] or [1-5,9])"),
    ("db[1-]", "   ^^", "a range needs an end at col 4 (write a range as [1-5] or [1-5,9])"),
    ("db[1-5-9]", "   ^^^^^", "a range has two ends at col 4 (write a range as [1-5] or [1-5,9])"),
    ("db[1--5]", "   ^^^^", "a range has two ends at col 4 (write a range as [1-5] or [1-5,9])"),
    ("db[a-z]", "   ^", "only digits 0-9 can stand in [ ], found \"a\" at col 4 (write a range as [1-5] or [1-5,9])"),
    (
        "db[1, 2]",
        "     ^",
        "only digits 0-9 can stand in [ ], found \" \" at col 6 (write a range as [1-5] or [1-5,9])",
    ),
    ("db[1..5]", "   ^^^^", "a range is written with - at col 4 (write [1-5])"),
    ("db[99999999999999999999]", "   ^^^^^^^^^^^^^^^^^^^^", "number too large at col 4"),
    ("db[1-99999999999999999999]", "   ^^^^^^^^^^^^^^^^^^^^^^", "number too large at col 4"),
    ("db[[1-2]]", "   ^", "nested [ at col 4 (write a range as [1-5] or [1-5,9])"),
    ("db[1-[2]", "     ^", "nested [ at col 6 (write a range as [1-5] or [1-5,9])"),
    (
        "db[١-٣]",
        "   ^^",
        "only digits 0-9 can stand in [ ], found \"\\u{661}\" at col 4 (write a range as [1-5] or [1-5,9])",
    ),
    ("", "", "targets no host at col 1"),
    ("  ", "^^", "targets no host at col 1"),
    (",a", "^", "empty item beside a comma at col 1"),
    ("a,,b", "  ^", "empty item beside a comma at col 3"),
    ("a,", " ^", "empty item beside a comma at col 2"),
    ("a,b[1,2]c, ", "         ^", "empty item beside a comma at col 10"),
    (
        "a b",
        " ^",
        "a host cannot hold \" \" at col 2 (separate hosts by commas; a host may hold A-Z a-z 0-9 . - _ (IPv6 also :))",
    ),
    (
        "*",
        "^",
        "a host cannot hold \"*\" at col 1 (separate hosts by commas; a host may hold A-Z a-z 0-9 . - _ (IPv6 also :))",
    ),
    ("[::1]", " ^", "only digits 0-9 can stand in [ ], found \":\" at col 2 (write a range as [1-5] or [1-5,9])"),
    ("a,fe80::[1-9]", "  ^^^^^^^^^^^", "an IPv6 address cannot have a range at col 3 (list the addresses one by one)"),
    ("a,-b[1-2]", "  ^^^^^^^", "host has a part that begins or ends with -; got \"-b2\" at col 3"),
    ("10.0.0.[1-256]", "^^^^^^^^^^^^^^", "host looks like an IPv4 address but is none; got \"10.0.0.256\" at col 1"),
    (
        "10.0.0.[0-1][0-9]",
        "^^^^^^^^^^^^^^^^^",
        "host looks like an IPv4 address but is none; got \"10.0.0.00\" at col 1",
    ),
];

#[test]
fn faults_are_named_with_their_place() {
    for &(text, marks, message) in FAULTS {
        let error = text.parse::<HostSet>().unwrap_err();
        let wanted = marks.len() - marks.trim_start().len()..marks.len();
        assert_eq!((error.to_string().as_str(), error.span.clone()), (message, wanted), "{text}");
        assert!(text.get(error.span).is_some());
    }
    let huge = "x[0-18446744073709551615][0-18446744073709551615]".parse::<HostSet>().unwrap_err();
    assert_eq!(huge.kind, ExprErrorKind::TooMany { hosts: u64::MAX });
}

#[test]
fn a_range_takes_no_time_however_large() {
    // A debug build on a busy machine; expanding would take seconds and gigabytes.
    let started = std::time::Instant::now();
    for _ in 0..100 {
        assert!("db[1-999999999]".parse::<HostSet>().is_err());
    }
    assert!(started.elapsed() < Duration::from_millis(100));
}

#[test]
fn the_largest_sets_are_handled_in_linear_time() {
    let odd: Vec<String> = (0..HOSTS_MAX).map(|at| (2 * at + 1).to_string()).collect();
    let separate: Vec<String> = (0..HOSTS_MAX).map(|at| format!("h{at}x")).rev().collect();
    let started = std::time::Instant::now();
    for text in [format!("db[{}]", odd.join(",")), separate.join(","), "a[1-50000],a[1-50000]".to_owned()] {
        let large = set(&text);
        assert_eq!((large.len(), large.to_string()), (HOSTS_MAX, text));
        let (merged, n_left_out) = large.merged();
        assert_eq!(merged.len() + n_left_out, HOSTS_MAX);
        assert_eq!(large.duplicates().len(), n_left_out as usize);
        let all: Vec<Host> = merged.iter().collect();
        assert_eq!(fold(&all).parse::<HostSet>().unwrap().len(), merged.len());
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn hosts_named_twice_are_found_and_merged() {
    for (text, duplicates, merged, n_left_out) in [
        ("db[1-10,15]", "", "db[1-10,15]", 0),
        ("db[1-2,3],x", "", "db[1-2,3],x", 0),
        ("db[1-5],db[3-7]", "db3 db4 db5", "db[1-7]", 3),
        ("b,a,B,b", "b", "b,a", 2),
        ("db[5-6],x,db[4-5]", "db5", "db[5-6],x,db4", 1),
        ("db[01-02],db[1-2]", "", "db[01-02],db[1-2]", 0),
        ("db[1,1,1]", "db1", "db1", 2),
    ] {
        let set = set(text);
        let found: Vec<String> = set.duplicates().iter().map(Host::to_string).collect();
        assert_eq!(found.join(" "), duplicates, "{text}");
        let (kept, n) = set.merged();
        assert_eq!((kept.to_string().as_str(), n), (merged, n_left_out), "{text}");
        assert!(kept.duplicates().is_empty());
    }
}

#[test]
fn folding_finds_the_short_form() {
    for (given, folded) in [
        ("db[3-7],db9", "db[3-7,9]"),
        ("db9,db3,db4,db9", "db[3-4,9]"),
        ("db1", "db1"),
        ("db1,web1", "db1,web1"),
        ("db[8-12]", "db[8-12]"),
        ("db[01-12]", "db[01-12]"),
        ("db[099-101]", "db[099-101]"),
        ("db[98-99],db0100", "db[98-99,0100]"),
        ("db[1-2],db[01-02]", "db[1-2,01-02]"),
        ("node[1-5].dc2", "node[1-5].dc2"),
        ("r[1-3]n[1-4]", "r[1-3]n[1-4]"),
        ("r1n[1-2],r2n[1-2],r3n1", "r[1-2]n[1-2],r3n1"),
        ("10.0.[0-1].[1-9]", "10.0.[0-1].[1-9]"),
        ("::1,::2", "::1,::2"),
        ("web,api", "api,web"),
        ("[1-3]", "[1-3]"),
        ("x99999999999999999999a1,x99999999999999999999a2", "x99999999999999999999a[1-2]"),
        ("a1b1c1d[1-2]", "a1b1c1d[1-2]"),
        ("a[1-2]b[1-2]c[1-2]d[1-2]", "a1b[1-2]c[1-2]d[1-2],a2b[1-2]c[1-2]d[1-2]"),
    ] {
        let given: Vec<Host> = set(given).iter().collect();
        assert_eq!(fold(&given), folded);
    }
    assert_eq!(fold(&[]), "");
}

#[test]
fn sets_are_joined_and_built_up_to_the_limit() {
    let joined = HostSet::concat([set("a,b"), set("a"), set("c[1-2]")]).unwrap();
    assert_eq!((joined.to_string().as_str(), joined.len()), ("a,b,a,c[1-2]", 5));
    assert_eq!(HostSet::concat([]).unwrap_err().kind, ExprErrorKind::NoHost);
    let error = HostSet::concat([set("a[1-99999]"), set("b[1-2]")]).unwrap_err();
    assert_eq!(error.kind, ExprErrorKind::TooMany { hosts: 100_001 });
    assert_eq!(HostSet::from(&"a".parse::<Host>().unwrap()), set("a"));
}

#[test]
fn serde_takes_a_string_only() {
    assert_eq!(serde_json::from_str::<HostSet>("\"db[1-3]\"").unwrap(), set("db[1-3]"));
    assert_eq!(serde_json::to_string(&set("db[1-3], a")).unwrap(), "\"db[1-3],a\"");
    for wrong in ["5", "[\"a\"]", "null", "\"db[\""] {
        assert!(serde_json::from_str::<HostSet>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_number_with_more_digits_than_a_host_has_room_for_is_too_large() {
    let zeros = "0".repeat(70_000);
    for wide in
        [format!("h[{zeros}1]"), format!("h[{zeros}1-2]"), format!("h[1-{zeros}2]"), format!("h[{zeros}1-{zeros}2]")]
    {
        let error = wide.parse::<HostSet>().unwrap_err();
        assert_eq!(error.to_string(), "number too large at col 3");
    }
    let most = "0".repeat(LABEL_CHARS_MAX - 1);
    assert_eq!(format!("[{most}1-{most}2]").parse::<HostSet>().unwrap().len(), 2);
}
