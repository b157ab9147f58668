//! What holds of every file: nothing panics, every place lies in the file, and what is written out reads back.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use rr_loader::{Format, Source, load, render};
use rr_schemas::{
    flow::{FILE_BYTES_MAX, Flow},
    name::Name,
};
use serde_json::{Value, json};

/// Loads under every format; whatever comes of it, its places lie in the file and it can be shown.
fn survives(bytes: &[u8]) {
    for format in [Format::Auto, Format::Yaml, Format::Json, Format::Roadrunner] {
        let source = Source { name: "flow", bytes };
        let loaded = load(&source, format);
        let text = String::from_utf8_lossy(bytes);
        for diagnostic in &loaded.diagnostics {
            let span = diagnostic.span.clone().unwrap_or(0..0);
            assert!(span.start <= span.end && span.end <= text.len(), "{diagnostic:?} in {text:?}");
            let also = diagnostic.also.clone().unwrap_or(0..0);
            assert!(also.start <= also.end && also.end <= text.len(), "{diagnostic:?} in {text:?}");
        }
        assert_eq!(loaded.flow.is_none(), loaded.errors() > 0, "{text:?}");
        assert_eq!(render(&loaded.diagnostics, &source, true).is_empty(), loaded.diagnostics.is_empty());
    }
}

/// Fragments of flow files, good and bad, to be put together at random.
fn fragments() -> impl Strategy<Value = String> {
    let words = [
        "name: ",
        "jobs:",
        "slots:",
        "- ",
        "  ",
        "\n",
        "run: ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "hosts: ",
        "db[1-3]",
        "{{ a }}",
        "{{",
        "}}",
        "&a ",
        "*a",
        "!t ",
        "<<: ",
        "|\n",
        ">\n",
        "params: ",
        "a: ",
        "1",
        "no",
        "80%",
        "retry: ",
        "shell: ",
        "env: ",
        "# c\n",
        "---\n",
        "\t",
        "é",
        "\u{0}",
        "\u{202e}",
        "\r\n",
        "job_flow",
        ":",
        "needs: ",
        "\\",
        "\u{feff}",
        "? ",
        "timeout: ",
    ];
    vec(select(words.to_vec()), 0..40).prop_map(|words| words.concat())
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,3}"
}

/// One job in its full form without what depends on other jobs.
fn job() -> impl Strategy<Value = Value> {
    let command = prop_oneof![
        vec("[a-z][a-zé \"'\\\\:#\n-]{0,6}", 1..4).prop_map(|run| json!({ "run": run })),
        "[a-z][a-z \n\"$]{0,12}".prop_map(|script| json!({ "shell": { "script": script, "shell": ["bash", "-c"] } })),
        name().prop_map(|handler| json!({ "handler": handler })),
    ];
    let target = prop_oneof![
        Just(json!({})),
        name().prop_map(|queue| json!({ "queue": queue })),
        (1..50_u32).prop_map(|last| json!({ "hosts": format!("db[1-{last}],web") })),
    ];
    let share = || {
        prop_oneof![
            (100..=10_000_u32).prop_map(|hundredths| json!(format!("{}%", f64::from(hundredths) / 100.0))),
            Just(json!(1))
        ]
    };
    let retry = (1..20_u32, 0..5_000_u64, 100..300_u32, option::of(share()), vec(1..255_i32, 0..3)).prop_map(
        |(attempts, delay, factor, jitter, on)| {
            let jitter = jitter.filter(Value::is_string).unwrap_or_else(|| json!("5%"));
            json!({ "attempts": attempts, "delay": format!("{delay}ms"), "factor": f64::from(factor) / 100.0, "max": "10s", "jitter": jitter, "on": on })
        },
    );
    let rest = (share(), share(), any::<bool>(), any::<bool>(), option::of(retry), select(vec!["retry", "fail", "hold"]))
        .prop_map(|(success, parallelism, waves, fail_fast, retry, on_lost)| {
            let mut rest = json!({ "success": success, "parallelism": parallelism, "waves": waves, "fail_fast": fail_fast, "on_lost": on_lost, "timeout": "90s", "grace": "0s", "cwd": "a/b", "lock": "l" });
            if let Some(retry) = retry {
                rest["retry"] = retry;
            }
            rest
        });
    let env =
        btree_map("[A-C]", "[a-zé\n %]{0,8}", 0..3).prop_map(|env| json!({ "env": env, "inherit_env": ["HOME"] }));
    (command, target, rest, env).prop_map(|(command, target, rest, env)| {
        let mut job = serde_json::Map::new();
        for part in [command, target, rest, env] {
            job.extend(part.as_object().unwrap().clone());
        }
        Value::Object(job)
    })
}

/// A flow in either form: unique names, needs that only look back.
fn flow() -> impl Strategy<Value = Flow> {
    let params = btree_map(name(), option::of("[a-zé ]{0,6}"), 0..3).prop_map(|params| {
        let declare = |default: Option<String>| match default {
            Some(default) => json!({ "type": "string", "default": default, "description": "x" }),
            None => json!({ "type": "int" }),
        };
        params.into_iter().filter(|(name, _)| name != "host").map(|(name, default)| (name, declare(default))).collect()
    });
    let params = params.prop_map(|params: BTreeMap<String, Value>| params);
    (name(), params, vec((job(), any::<prop::sample::Index>()), 1..6), any::<bool>()).prop_map(
        |(name, params, jobs, is_graph)| {
            let names: Vec<String> = (0..jobs.len()).map(|index| format!("job{index}")).collect();
            let jobs = jobs.into_iter().enumerate().map(|(index, (mut job, need))| {
                job["name"] = json!(names[index]);
                if is_graph && index > 0 {
                    job["needs"] = json!([names[need.index(index)]]);
                }
                job
            });
            let jobs: Vec<Value> = jobs.collect();
            let flow = if is_graph {
                json!({ "name": name, "params": params, "env": { "E": "\\{{ x" }, "timeout": "1h", "jobs": jobs })
            } else {
                json!({ "name": name, "params": params, "slots": [{ "name": "first", "jobs": jobs }] })
            };
            serde_json::from_value(flow).unwrap()
        },
    )
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        survives(&bytes);
    }

    #[test]
    fn no_fragments_panic(text in fragments()) {
        survives(text.as_bytes());
    }

    #[test]
    fn a_flow_with_one_byte_broken_survives(flow in flow(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&flow).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        survives(&bytes);
    }

    #[test]
    fn a_flow_that_is_written_out_reads_back_in_both_formats(flow in flow()) {
        let bytes = serde_json::to_vec_pretty(&flow).unwrap();
        for format in [Format::Json, Format::Yaml] {
            let source = Source { name: "flow", bytes: &bytes };
            let loaded = load(&source, format);
            prop_assert!(loaded.flow.as_ref() == Some(&flow), "{}", render(&loaded.diagnostics, &source, false));
        }
    }
}

#[test]
fn no_file_of_the_largest_size_takes_long() {
    let units = [
        "[",
        "{a: ",
        "- ",
        "? ",
        "a: &a\n",
        "\"",
        "!",
        " ",
        "a",
        "a: b\n",
        "- a\n",
        "#\n",
        "|\n",
        "'a' ",
        "{},",
        "---\n",
        "\t",
        "[[],",
        "{\"a\":1},",
        "- {name: a, run: [x]}\n",
        "é",
        "*a ",
        ":",
        ", ",
        "{{ a }} ",
        "\u{feff}",
    ];
    for (unit, prefix) in
        units.iter().flat_map(|unit| ["", "name: f\njobs:\n", "name: f\njobs: ["].map(|prefix| (unit, prefix)))
    {
        let text = format!("{prefix}{}", unit.repeat((FILE_BYTES_MAX - prefix.len()) / unit.len()));
        for name in ["flow.yaml", "flow.json"] {
            let source = Source { name, bytes: text.as_bytes() };
            let start = Instant::now();
            let loaded = load(&source, Format::Auto);
            let shown = render(&loaded.diagnostics, &source, false);
            // Far above what is needed, also by a debug build on a busy machine; squares of this size take minutes.
            assert!(start.elapsed() < Duration::from_secs(20), "{unit:?} after {prefix:?}: {:?}", start.elapsed());
            assert!(shown.len() < 64 * 1024, "{unit:?} after {prefix:?}: {} bytes", shown.len());
        }
    }
}

#[test]
fn ten_thousand_jobs_in_a_chain_or_a_circle_are_checked_quickly() {
    for closes in [false, true] {
        let job = |index: usize| {
            let need = if index > 0 {
                format!(",\"needs\":[\"j{}\"]", index - 1)
            } else if closes {
                ",\"needs\":[\"j9999\"]".to_owned()
            } else {
                String::new()
            };
            format!("{{\"name\":\"j{index}\",\"run\":[\"x\"]{need}}}")
        };
        let jobs: Vec<String> = (0..10_000).map(job).collect();
        let text = format!("{{\"name\":\"f\",\"jobs\":[{}]}}", jobs.join(","));
        let text = if text.len() > FILE_BYTES_MAX { panic!("{}", text.len()) } else { text };
        let start = Instant::now();
        let loaded = load(&Source { name: "f.json", bytes: text.as_bytes() }, Format::Auto);
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        let messages: Vec<&str> = loaded.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        if closes {
            assert!(
                messages.len() == 1
                    && messages[0].contains("j0 -> j9999 -> j9998")
                    && messages[0].ends_with("... -> j0 (10000 jobs)"),
                "{messages:?}"
            );
        } else {
            assert!(messages.is_empty());
            assert_eq!(loaded.flow.unwrap().jobs.last().unwrap().name, "j9999".parse::<Name>().unwrap());
        }
    }
}
