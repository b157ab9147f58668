//! What comes out is what went in, and nonsense is told.

use super::*;

fn opened(text: &str) -> Result<Vec<Line>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, text).unwrap();
    let name = path.to_str().unwrap();
    let shown = |error: CliError| error.to_string().replace(name, "x");
    let mut reader = Reader::open(name).map_err(shown)?;
    let mut lines = Vec::new();
    while let Some(line) = reader.next().map_err(shown)? {
        lines.push(line);
    }
    if reader.is_whole() { Ok(lines) } else { Err("cut off".to_owned()) }
}

const FIRST: &str = r#"{"rr-export":1,"at":"2026-01-01T00:00:00Z","partitions":8}"#;

const OUTPUT: &str = r#"{"stream":"RR_OUTPUT","seq":1,"subject":"rr.out.w1.r2.0","base64":""}"#;

#[test]
fn nonsense_is_told_with_its_line() {
    let good = r#"{"stream":"RR_EVENTS","seq":1,"subject":"a","base64":""}"#;
    for (text, told) in [
        (String::new(), "x:1: the file is empty"),
        ("hello\n".to_owned(), "x:1: no beginning of an export"),
        (FIRST.replace(":1,", ":9,"), "x:1: version 9 is newer"),
        (format!("{FIRST}\n{good}\nnonsense\n"), "x:3: no message"),
        (format!("{FIRST}\n{}\n", good.replace("RR_EVENTS", "ELSE")), "x:2: no message"),
        (format!("{FIRST}\n{}\n", good.replace(r#""base64":"""#, r#""base64":"?""#)), "x:2: base64"),
        (format!("{FIRST}\n{}\n", good.replace('}', r#","json":1}"#)), "x:2: a body that is said twice"),
        (format!("{FIRST}\n{}\n", good.replace('}', r#","x":1}"#)), "x:2: no message"),
        (format!("{FIRST}\n{{\"end\":true,\"lines\":7}}\n"), "x:2: says that there are 7 messages"),
        (format!("{FIRST}\n{{\"end\":true,\"lines\":0}}\n{good}\n"), "x:3: something follows the end"),
        (format!("{FIRST}\n{good}\n"), "cut off"),
        (format!("{FIRST}\n{good}"), "cut off"),
        (format!("{FIRST}\n{good}\n{}", &good[..good.len() - 1]), "cut off"),
        (format!("{FIRST}\n{good}\n{{\"end\":tr"), "cut off"),
        (format!("{FIRST}\n{}\n", good.replace("RR_EVENTS", "RR_OUTPUT")), "x:2: output in an export that is of no"),
        (
            format!("{}\n{}\n", FIRST.replace('}', r#","run":"r1"}"#), good.replace(r#""a""#, r#""rr.ev.0.r2""#)),
            "x:2: a message of run r2 in an export of run r1",
        ),
        (
            format!("{}\n{}\n", FIRST.replace('}', r#","run":"r1"}"#), OUTPUT),
            "x:2: a message of run r2 in an export of run r1",
        ),
    ] {
        let found = opened(&text).unwrap_err();
        assert!(found.starts_with(told), "{text:?}: {found}");
    }
}
