//! Scripts: what is done to a server, step by step, in words that a person can check against its documentation.
//!
//! A file holds several scripts, each under a line `== name`. `@` stands for a name that each script has of its own, so that
//! many run on one server at once. A step that begins with `~` is one where a cluster answers otherwise than a single server.

use serde_json::{Map, Value};

/// A script.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// A step of a script.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// As it stands there, for people.
    pub(crate) text: String,
    /// Whether a cluster answers otherwise.
    pub(crate) differs: bool,
    pub(crate) act: Act,
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// `stream S {...}`: makes a stream `@S` that takes `@S.>`; with three copies where there are three servers.
    Stream(String, Map<String, Value>),
    /// `consumer S a {...}`: makes a durable with explicit acknowledgements.
    Consumer(String, String, Map<String, Value>),
    /// `api OPERATION {...}`: asks the API.
    Api(String, String),
    /// `ask SUBJECT body`: any request.
    Ask(String, String),
    /// `pub SUBJECT body | Header: value`: publishes and waits for the acknowledgement.
    Publish(String, String, Vec<(String, String)>),
    /// `race n SUBJECT | Header: value`: publishes so many at once, all alike.
    Race(usize, String, Vec<(String, String)>),
    /// `clash n SUBJECT | Header: value`: the same, and tells whether any of them was refused because of another one that was under way.
    Clash(usize, String, Vec<(String, String)>),
    /// `pull S a {...}`: asks a consumer for messages.
    Pull(String, String, String),
    /// `fetch S a n`: asks for up to `n` messages that are there, and takes them.
    Fetch(String, String, usize),
    /// `take n`: what comes next of what was asked for.
    Take(usize),
    /// `none`: nothing comes for a moment.
    None,
    /// `say n word`: says something of the n-th delivery, and waits for the answer. Numbers begin anew behind the last one.
    Say(usize, String),
    /// `direct S {...}`: reads messages from any copy.
    Direct(String, String),
    /// `info S a`: the numbers of a consumer.
    Info(String, String),
    /// `counts S a`: the same without sequences, which are not the same in a cluster.
    Counts(String, String),
    /// `state S`: the numbers of a stream.
    State(String),
    /// `stepdown S a`: the leader of a consumer, or `stepdown S`: that of a stream, makes way for another one, and there is one.
    StepDown(String, String),
    /// `wait ms`.
    Wait(u64),
    /// `restart`: the server is killed, and started again.
    Restart,
}

/// Reads the scripts of a file.
pub(crate) fn read(file: &str, text: &str) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            scripts.push(Script { name: format!("{file}: {name}"), steps: Vec::new() });
            continue;
        }
        let script = scripts.last_mut().unwrap_or_else(|| panic!("{file}:{}: a step before any script", n + 1));
        script.steps.push(step(line).unwrap_or_else(|| panic!("{file}:{}: not a step: {line}", n + 1)));
    }
    scripts
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<(String, String)>> {
    lines.map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// A word, and what stands behind it.
fn two(text: &str) -> (String, String) {
    let (one, other) = text.split_once(' ').unwrap_or((text, ""));
    (one.to_owned(), other.trim().to_owned())
}

/// Two words, and what stands behind them.
fn three(text: &str) -> (String, String, String) {
    let (one, rest) = two(text);
    let (other, rest) = two(&rest);
    (one, other, rest)
}

/// Reads a step.
pub(crate) fn step(line: &str) -> Option<Step> {
    let (differs, text) = line.strip_prefix('~').map_or((false, line), |text| (true, text.trim()));
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let fields = |text: &str| if text.is_empty() { Some(Map::new()) } else { serde_json::from_str(text).ok() };
    let act = match verb {
        "stream" => {
            let (stream, more) = two(rest);
            Act::Stream(stream, fields(&more)?)
        }
        "consumer" => {
            let (stream, consumer, more) = three(rest);
            Act::Consumer(stream, consumer, fields(&more)?)
        }
        "api" => {
            let (operation, body) = two(rest);
            Act::Api(operation, body)
        }
        "ask" => {
            let (subject, body) = two(rest);
            Act::Ask(subject, body)
        }
        "pub" => {
            let mut parts = rest.split(" | ");
            let (subject, body) = two(parts.next()?);
            Act::Publish(subject, body, headers(parts)?)
        }
        "race" | "clash" => {
            let mut parts = rest.split(" | ");
            let (n, subject) = two(parts.next()?);
            let (n, headers) = (n.parse().ok()?, headers(parts)?);
            if verb == "race" { Act::Race(n, subject, headers) } else { Act::Clash(n, subject, headers) }
        }
        "pull" => {
            let (stream, consumer, body) = three(rest);
            Act::Pull(stream, consumer, body)
        }
        "fetch" => {
            let (stream, consumer, n) = three(rest);
            Act::Fetch(stream, consumer, n.parse().ok()?)
        }
        "take" => Act::Take(rest.parse().ok()?),
        "none" => Act::None,
        "say" => {
            let (n, word) = two(rest);
            Act::Say(n.parse().ok()?, word)
        }
        "direct" => {
            let (stream, body) = two(rest);
            Act::Direct(stream, body)
        }
        "info" => {
            let (stream, consumer) = two(rest);
            Act::Info(stream, consumer)
        }
        "counts" => {
            let (stream, consumer) = two(rest);
            Act::Counts(stream, consumer)
        }
        "state" => Act::State(rest.to_owned()),
        "stepdown" => {
            let (stream, consumer) = two(rest);
            Act::StepDown(stream, consumer)
        }
        "restart" => Act::Restart,
        "wait" => Act::Wait(rest.parse().ok()?),
        _ => return None,
    };
    Some(Step { text: text.to_owned(), differs, act })
}
