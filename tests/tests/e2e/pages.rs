//! The examples of the pages for users of other clients: read with our types, or compared with what a real mesh answers.

use std::fs;
use std::time::Duration;

use async_nats::{Client, Message};
use jiff::Timestamp;
use rr_schemas::{
    codec::{Body, Envelope, Format, encode},
    decision::Decision,
    input::Input,
    lock::HeldLock,
    offer::Offer,
    presence::{CoordinatorPresence, WorkerPresence},
    view::StatusEntry,
};
use rr_tests::{TestMesh, Timing, eventually, program};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// A block of JSON on a page.
struct Example {
    /// What stands behind `json` at its beginning.
    what: String,
    text: String,
    value: Value,
}

/// Every block of JSON on a page; each says what it is.
fn examples(page: &str) -> Vec<Example> {
    let text = fs::read_to_string(program::root().join("docs").join(page)).unwrap();
    let blocks = text.split("\n```json").skip(1).map(|block| {
        let (what, rest) = block.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").unwrap();
        let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{page}: {error} in {text}"));
        Example { what: what.trim().to_owned(), text: text.to_owned(), value }
    });
    blocks.collect()
}

/// Reads an example and expects it to be written so too, with no key more or less.
fn check<T: Serialize + DeserializeOwned>(example: &Example) -> T {
    let read: T = serde_json::from_str(&example.text).unwrap_or_else(|error| panic!("{error} in {}", example.text));
    assert_eq!(serde_json::to_value(&read).unwrap(), example.value, "{}", example.text);
    read
}

fn check_sent<B: Body>(example: &Example) -> Envelope<B> {
    Envelope::<B>::read(None, example.text.as_bytes()).unwrap_or_else(|error| panic!("{error} in {}", example.text));
    check(example)
}

#[test]
fn the_messages_that_are_shown_are_messages_of_ours() {
    let page = fs::read_to_string(program::root().join("docs/inspect.md")).unwrap();
    let (mut inputs, mut n) = (std::collections::BTreeSet::new(), 0);
    for example in examples("inspect.md") {
        match example.what.as_str() {
            "rr.input" | "rr.input report" => {
                let envelope = check_sent::<Input>(&example);
                inputs.insert(example.value["body"].as_object().unwrap().keys().next().unwrap().clone());
                if example.what.ends_with("report") {
                    let sizes = [Format::Json, Format::Cbor].map(|format| encode(format, &envelope).unwrap().len());
                    let said = format!("takes {} bytes in JSON and {} in CBOR", sizes[0], sizes[1]);
                    assert!(page.contains(&said), "the page should say: {said}");
                }
            }
            "rr.decision" => drop(check_sent::<Decision>(&example)),
            "rr.offer" => drop(check_sent::<Offer>(&example)),
            "rr-runs" => drop(check::<StatusEntry>(&example)),
            "rr-locks attempt" | "rr-locks command" => drop(check::<HeldLock>(&example)),
            "rr-workers worker" => drop(check::<WorkerPresence>(&example)),
            "rr-workers coordinator" => drop(check::<CoordinatorPresence>(&example)),
            other => panic!("nobody knows what {other:?} is"),
        }
        n += 1;
    }
    assert_eq!(
        inputs.into_iter().collect::<Vec<_>>(),
        ["cancel", "claim", "report", "seen", "signal", "submit", "timer"]
    );
    assert!(n >= 11, "only {n} examples");
}

/// Times are never the same.
fn without_times(value: &mut Value) {
    match value {
        Value::String(text) if text.parse::<Timestamp>().is_ok() => "a time".clone_into(text),
        Value::Array(values) => values.iter_mut().for_each(without_times),
        Value::Object(fields) => fields.values_mut().for_each(without_times),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The answer with its code, none where it is no error.
fn read(message: &Message) -> (Value, Option<String>) {
    let headers = message.headers.as_ref().unwrap();
    let mut value = serde_json::from_slice(&message.payload).unwrap();
    without_times(&mut value);
    (value, headers.get("Nats-Service-Error-Code").map(ToString::to_string))
}

async fn ask(client: &Client, endpoint: &str, request: &Example) -> (Value, Option<String>) {
    let payload = request.text.clone().into_bytes().into();
    read(&client.request(format!("rr.api.{endpoint}"), payload).await.unwrap())
}

#[tokio::test]
async fn the_story_of_the_api_is_true() {
    let mesh = TestMesh::bare(Timing::Default).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let _worker = mesh.worker("w1", &["--hosts", "db[1-2]"]);
    mesh.has_workers(1).await;
    let server = mesh.address();
    let (user, password) = (server.user().to_owned(), server.password().to_owned());
    let options = async_nats::ConnectOptions::with_user_and_password(user, password);
    let client = options.connect(server.url()).await.unwrap();
    let story = examples("api.md");
    assert!(story.len() >= 24, "only {} examples", story.len());
    for pair in story.chunks(2) {
        let [request, answer] = pair else { panic!("a request without an answer: {}", pair[0].text) };
        let endpoint = request.what.strip_prefix("request ").unwrap_or_else(|| panic!("no request: {}", request.what));
        let code = answer.what.strip_prefix("answer").unwrap_or_else(|| panic!("no answer: {}", answer.what)).trim();
        if code == "69" {
            let deleted = async_nats::jetstream::new(client.clone()).delete_stream("RR_EVENTS").await;
            assert!(deleted.unwrap().success);
        }
        let mut value = answer.value.clone();
        without_times(&mut value);
        let expected = (value, (!code.is_empty()).then(|| code.to_owned()));
        if matches!(endpoint, "publish" | "cancel" | "signal") {
            assert_eq!(ask(&client, endpoint, request).await, expected, "{}", request.text);
            continue;
        }
        // What is told may take a moment to be true.
        eventually("such an answer", SOON, async || {
            let found = ask(&client, endpoint, request).await;
            if found == expected { Ok(()) } else { Err(format!("{found:#?}, expected {expected:#?}")) }
        })
        .await;
    }
}
