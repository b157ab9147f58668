//! A flow as a JSON object that a program sends: everything that is wrong with it at once, by place.
//!
//! Files are read by the loader, which knows lines and short forms; a program sends the full form, and JSON pointers are
//! the places that it knows.

use serde_json::{Map, Value, json};

use crate::flow::{
    FILE_BYTES_MAX, Flow, Job, Slot,
    check::{PROBLEMS_MAX, Problem, did_you_mean},
};

/// Reads a flow from the text of a JSON object. What it says beyond its form is checked by [`super::check::check`].
///
/// # Errors
/// Everything that has no place in a flow, [`PROBLEMS_MAX`] problems at most.
pub fn read(text: &str) -> Result<Flow, Vec<Problem>> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the flow is {} bytes long, limit {FILE_BYTES_MAX}", text.len());
        return Err(vec![Problem::new("", message)]);
    }
    let error = match serde_json::from_str::<Flow>(text) {
        Ok(flow) => return Ok(flow),
        Err(error) => error,
    };
    let mut problems = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(flow)) => probe(&flow),
        Ok(_) => vec![Problem::new("", "a flow is an object")],
        // Nested deeper than anybody reads.
        Err(_) => Vec::new(),
    };
    problems.truncate(PROBLEMS_MAX);
    // A key that stands there twice is wrong only in the text.
    if problems.is_empty() { Err(vec![Problem::new("", without_place(&error))]) } else { Err(problems) }
}

/// Reads each field by itself, since serde stops at the first one that is wrong.
fn probe(flow: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in flow {
        let at = pointer("", key);
        match (key.as_str(), value) {
            ("slots", Value::Array(slots)) => {
                for (index, slot) in slots.iter().enumerate() {
                    probe_slot(&format!("{at}/{index}"), slot, &mut problems);
                }
            }
            ("jobs", Value::Array(jobs)) => probe_jobs(&at, jobs, &mut problems),
            _ => problems.extend(wrong::<Flow>(at, json!({"name": "x"}), key, value)),
        }
    }
    missing("", flow, "name", &mut problems);
    problems
}

fn probe_slot(at: &str, slot: &Value, problems: &mut Vec<Problem>) {
    let Value::Object(fields) = slot else {
        return problems.push(Problem::new(at, "a slot is an object with `jobs`"));
    };
    for (key, value) in fields {
        let at = pointer(at, key);
        match (key.as_str(), value) {
            ("jobs", Value::Array(jobs)) => probe_jobs(&at, jobs, problems),
            _ => problems.extend(wrong::<Slot>(at, json!({"jobs": []}), key, value)),
        }
    }
    missing(at, fields, "jobs", problems);
}

fn probe_jobs(at: &str, jobs: &[Value], problems: &mut Vec<Problem>) {
    for (index, job) in jobs.iter().enumerate() {
        if problems.len() >= PROBLEMS_MAX {
            return;
        }
        let at = format!("{at}/{index}");
        let Value::Object(fields) = job else {
            problems.push(Problem::new(at, "a job is an object"));
            continue;
        };
        for (key, value) in fields {
            problems.extend(wrong::<Job>(pointer(&at, key), json!({"name": "x"}), key, value));
        }
        missing(&at, fields, "name", problems);
    }
}

/// Why a value cannot stand under this key of a `T` that is else as in `base`.
fn wrong<T: serde::de::DeserializeOwned>(at: String, mut base: Value, key: &str, value: &Value) -> Option<Problem> {
    if let Value::Object(fields) = &mut base {
        fields.insert(key.to_owned(), value.clone());
    }
    let why = without_place(&serde_json::from_value::<T>(base).err()?);
    // The list of all keys that there are helps nobody; the nearest one may.
    let Some((unknown, known)) = why.split_once(", expected one of ").filter(|_| why.starts_with("unknown field"))
    else {
        return Some(Problem::new(at, why));
    };
    Some(Problem::new(at, unknown).with_help(did_you_mean(key, known.split('`'))))
}

fn missing(at: &str, fields: &Map<String, Value>, key: &str, problems: &mut Vec<Problem>) {
    if !fields.contains_key(key) {
        problems.push(Problem::new(at, format!("missing field `{key}`")));
    }
}

/// A JSON pointer to a field.
fn pointer(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The error without its line: the text was laid out by a program.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let problems = read(text).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_where() {
        let flow = r#"{"nmae": "f", "timeout": "soon", "slots": [{"jobs": [{"name": "a", "run": ["x"], "success": "200%x"},
            {"run": "x", "hosts": "db[1-"}]}, {"name": "s"}], "jobs": [5]}"#;
        let places: Vec<String> = read(flow).unwrap_err().into_iter().map(|problem| problem.at).collect();
        let mut expected =
            ["/nmae", "/timeout", "/slots/0/jobs/0/success", "/slots/0/jobs/1/run", "/slots/0/jobs/1/hosts"].to_vec();
        expected.extend(["/slots/0/jobs/1", "/slots/1", "/jobs/0", ""]);
        let sorted = |mut places: Vec<String>| {
            places.sort();
            places
        };
        assert_eq!(sorted(places), sorted(expected.into_iter().map(str::to_owned).collect()));
    }

    #[test]
    fn what_is_no_flow_at_all_is_told() {
        for (text, expected) in [
            ("5", "a flow is an object"),
            (r#""name: f""#, "a flow is an object"),
            (r#"{"name": "a b"}"#, "/name: name may hold A-Z a-z 0-9 _ -, 1 to 63 characters; got \"a b\""),
            (r#"{"name": "a", "name": "b"}"#, "duplicate field `name`"),
            (r#"{"name": "a", "text": "x"}"#, "/text: unknown field `text`"),
            (r#"{"name": "a", "job": []}"#, "/job: unknown field `job` (did you mean \"jobs\"?)"),
        ] {
            let told = told(text);
            assert!(told.len() == 1 && told[0].starts_with(expected), "{text}: {told:?}");
        }
        let large = format!(r#"{{"name": "a", "description": "{}"}}"#, "x".repeat(FILE_BYTES_MAX));
        assert_eq!(told(&large), [format!("the flow is {} bytes long, limit {FILE_BYTES_MAX}", large.len())]);
    }

    #[test]
    fn many_problems_are_cut() {
        let jobs: Vec<&str> = vec!["5"; 10_000];
        assert_eq!(told(&format!(r#"{{"name": "f", "jobs": [{}]}}"#, jobs.join(","))).len(), PROBLEMS_MAX);
    }

    #[test]
    fn a_good_flow_is_read() {
        let flow = read(r#"{"name": "f", "jobs": [{"name": "a", "run": ["x"], "hosts": "db[1-4]"}]}"#).unwrap();
        assert_eq!((flow.name.as_str(), flow.jobs.len()), ("f", 1));
    }
}
