//! Values against declarations.

use super::*;
use serde_json::json;

fn flow() -> Flow {
    serde_json::from_value(json!({
        "name": "f",
        "params": {
            "date": { "type": "string" },
            "count": { "type": "int", "default": 2 },
            "force": { "type": "bool", "default": false },
            "tone": { "type": "string", "default": "plain", "choices": ["plain", "loud"] },
            "option": { "type": "string", "default": "-v", "allow_dash": true }
        },
        "jobs": [{ "name": "a", "run": ["x"] }]
    }))
    .unwrap()
}

/// The words said of a command line's `name=value`s; none when they are right.
fn said(sets: &[&str]) -> Vec<String> {
    let given = sets.iter().map(|set| parse_set(set).unwrap());
    let resolved = ParamValues::from_texts(&flow(), given).and_then(|values| resolve(&flow(), &values));
    resolved.err().unwrap_or_default().iter().map(Problem::to_string).collect()
}

#[test]
fn defaults_fill_what_is_not_given() {
    let given =
        ParamValues::from_texts(&flow(), [parse_set("date=2026-01-01").unwrap(), parse_set("count=7").unwrap()])
            .unwrap();
    let texts = resolve(&flow(), &given).unwrap();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(
        texts,
        [("count", "7"), ("date", "2026-01-01"), ("force", "false"), ("option", "-v"), ("tone", "plain")]
    );
}

#[test]
fn values_that_look_dangerous_are_texts() {
    for value in ["; rm -rf /", "$(id)", "`id`", "a\nb", "@/etc/passwd", "a=b", "", "{{ date }}"] {
        assert_eq!(said(&[&format!("date={value}")]), [""; 0], "{value}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let long = format!("date={}", "x".repeat(128 * 1024));
    for (sets, wanted) in [
        (["tone=plain"].as_slice(), "/params/date: missing parameter \"date\" (give it with --set date=...)"),
        (&["date=a", "dat=b"], "/params/dat: unknown parameter \"dat\" (did you mean \"date\"?)"),
        (&["date=a", "date=b"], "/params/date: parameter \"date\" is given twice"),
        (&["date=a", "count=many"], "/params/count: parameter \"count\": expected int, found \"many\""),
        (&["date=a", "count=9223372036854775808"], "/params/count: parameter \"count\": expected int"),
        (&["date=a", "force=yes"], "/params/force: parameter \"force\": expected bool, found \"yes\""),
        (&["date=a", "tone=shrill"], "\"shrill\" is not one of its choices: \"plain\", \"loud\""),
        (&["date=--config=/etc/x"], "begins with -, a command would take it for an option (if that is meant"),
        (&["date=a", "count=-1"], "\"-1\" begins with -"),
        (&["date=a\0b"], "a NUL byte cannot be part of a value"),
        (&[&long], "the value is 131072 bytes long, limit 130944"),
    ] {
        let said = said(sets);
        assert!(said.len() == 1 && said[0].contains(wanted), "{said:?} for {wanted}");
    }
}

#[test]
fn a_value_on_the_wire_has_the_declared_type() {
    let given: ParamValues = serde_json::from_value(json!({ "date": 5 })).unwrap();
    let problems = resolve(&flow(), &given).unwrap_err();
    assert_eq!(problems[0].message, "parameter \"date\": expected string, found int");
    for wrong in
        [json!({ "a": null }), json!({ "a": 1.5 }), json!({ "a": [] }), json!({ "a": u64::MAX }), json!({ "a.b": "x" })]
    {
        assert!(serde_json::from_value::<ParamValues>(wrong).is_err());
    }
    let twice = serde_json::from_str::<ParamValues>(r#"{"a": 1, "a": 2}"#).unwrap_err();
    assert!(twice.to_string().contains("duplicate key \"a\""));
}

#[test]
fn a_set_has_a_name_and_a_value() {
    assert_eq!(parse_set("a=b=c"), Ok(("a".parse().unwrap(), "b=c".to_owned())));
    assert_eq!(parse_set("a").unwrap_err().to_string(), "expected name=value, got \"a\"");
    assert!(parse_set("=b").unwrap_err().to_string().contains("name may hold"));
}

#[test]
fn a_parameter_has_one_name_in_the_environment() {
    assert_eq!(env_key(&"my-Version_2".parse().unwrap()), "RR_PARAM_MY_VERSION_2");
}

#[test]
fn values_survive_both_wire_formats() {
    use crate::codec::{Format, decode, encode};
    let values: ParamValues = serde_json::from_value(json!({ "a": "x", "b": -5, "c": true })).unwrap();
    for format in [Format::Json, Format::Cbor] {
        let bytes = encode(format, &values).unwrap();
        assert_eq!(decode::<ParamValues>(format, &bytes).unwrap(), values);
    }
    let flow = flow();
    for format in [Format::Json, Format::Cbor] {
        let bytes = encode(format, &flow).unwrap();
        assert_eq!(decode::<Flow>(format, &bytes).unwrap(), flow);
    }
}

#[test]
fn a_command_that_becomes_too_long_is_refused_before_it_starts() {
    let run = vec!["{{ a }}"; 5];
    let flow = json!({ "name": "f", "params": { "a": {} }, "jobs": [{ "name": "j", "run": run, "env": { "E": "{{ a }}{{ a }}" } }] });
    let flow: Flow = serde_json::from_value(flow).unwrap();
    let said = |bytes: usize| {
        let given = [("a".parse().unwrap(), ParamValue::String("x".repeat(bytes)))].into_iter().collect();
        let problems = resolve(&flow, &given).err().unwrap_or_default();
        problems.iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    assert_eq!(said(50_000), [""; 0]);
    assert_eq!(
        said(70_000),
        [
            "/jobs/0/run: arguments of 350005 bytes together, limit 262144",
            "/jobs/0/env/E: text of 140002 bytes, limit 131071"
        ]
    );
}
