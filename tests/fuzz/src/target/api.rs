//! `rr.api`: what any client of the server may ask, and what it is answered. Always JSON.

use rr_schemas::{
    api::{Cancel, Cancelled, List, Listed, Publish, Published, Refusal, Signal, Signalled, Status},
    flow::object,
    view::RunView,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Answer, demand};

pub(super) fn feed(input: &[u8]) -> Result<Vec<Answer>, String> {
    Ok(vec![
        publish(input)?,
        body::<Published>("published", input)?,
        body::<Cancel>("cancel", input)?,
        body::<Cancelled>("cancelled", input)?,
        body::<Signal>("signal", input)?,
        body::<Signalled>("signalled", input)?,
        body::<Status>("status", input)?,
        body::<RunView>("run", input)?,
        body::<List>("list", input)?,
        body::<Listed>("listed", input)?,
        body::<Refusal>("refusal", input)?,
    ])
}

fn body<T: Serialize + DeserializeOwned + PartialEq>(what: &str, input: &[u8]) -> Result<Answer, String> {
    let value: T = match serde_json::from_slice(input) {
        Ok(value) => value,
        Err(error) => return Ok(Answer::refused(what, &error.to_string())),
    };
    let written = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
    let again: T = serde_json::from_slice(&written).map_err(|error| format!("{what} is not read again: {error}"))?;
    demand(again == value, || format!("{what} is another one"))?;
    Ok(Answer::read(what))
}

/// The flow inside is text, byte for byte, until somebody reads it.
fn publish(input: &[u8]) -> Result<Answer, String> {
    let asked: Publish = match serde_json::from_slice(input) {
        Ok(asked) => asked,
        Err(error) => return Ok(Answer::refused("publish", &error.to_string())),
    };
    let written = serde_json::to_vec(&asked).map_err(|error| error.to_string())?;
    let again: Publish =
        serde_json::from_slice(&written).map_err(|error| format!("publish is not read again: {error}"))?;
    let is_same = again.flow.get() == asked.flow.get()
        && (&again.params, &again.id, &again.by) == (&asked.params, &asked.id, &asked.by);
    demand(is_same, || "publish is another one".to_owned())?;
    Ok(match object::read(asked.flow.get()) {
        Ok(_) => Answer::read("publish"),
        Err(problems) => {
            let first = problems.first().ok_or("a flow is refused for no reason")?;
            Answer::refused("publish of a flow", &first.message)
        }
    })
}
