//! Messages on the wire. Whoever publishes may send anything, so each body is tried with each input, in both formats.

use rr_schemas::{
    codec::{Body, CBOR, Envelope, Format, JSON, decode, encode, kind},
    decision::Decision,
    input::Input,
    lock::HeldLock,
    offer::Offer,
    presence::{Control, CoordinatorPresence, Join, JoinAnswer, WorkerPresence},
    view::StatusEntry,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Answer, demand};

pub(super) fn feed(input: &[u8]) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    for content_type in [JSON, CBOR] {
        let kind = kind(Some(content_type), input);
        answers.push(Answer::refused(content_type, if kind.is_some() { "a kind" } else { "no kind" }));
        answers.push(enveloped::<Input>(content_type, input)?);
        answers.push(enveloped::<Decision>(content_type, input)?);
        answers.push(enveloped::<Offer>(content_type, input)?);
    }
    for format in [Format::Json, Format::Cbor] {
        answers.push(plain::<WorkerPresence>("worker", format, input)?);
        answers.push(plain::<CoordinatorPresence>("coordinator", format, input)?);
        answers.push(plain::<Join>("join", format, input)?);
        answers.push(plain::<JoinAnswer>("join answer", format, input)?);
        answers.push(plain::<Control>("control", format, input)?);
        answers.push(plain::<HeldLock>("lock", format, input)?);
        answers.push(plain::<StatusEntry>("status", format, input)?);
    }
    Ok(answers)
}

/// An envelope that is read is written in either format, and read again as it was.
fn enveloped<B: Body + PartialEq>(content_type: &str, input: &[u8]) -> Result<Answer, String> {
    let what = format!("{content_type} {}", B::KIND);
    let envelope = match Envelope::<B>::read(Some(content_type), input) {
        Ok(envelope) => envelope,
        Err(error) => return Ok(Answer::refused(&what, &error.to_string())),
    };
    for format in [Format::Json, Format::Cbor] {
        let written = encode(format, &envelope).map_err(|error| error.to_string())?;
        let again = Envelope::<B>::read(Some(format.content_type()), &written)
            .map_err(|error| format!("{what} in {format:?} is not read again: {error}"))?;
        demand(again == envelope, || format!("{what} in {format:?} is another one"))?;
    }
    Ok(Answer::read(&what))
}

fn plain<T: Serialize + DeserializeOwned + PartialEq>(
    what: &str,
    format: Format,
    input: &[u8],
) -> Result<Answer, String> {
    let what = format!("{format:?} {what}");
    let value: T = match decode(format, input) {
        Ok(value) => value,
        Err(error) => return Ok(Answer::refused(&what, &error.to_string())),
    };
    let written = encode(format, &value).map_err(|error| error.to_string())?;
    let again: T = decode(format, &written).map_err(|error| format!("{what} is not read again: {error}"))?;
    demand(again == value, || format!("{what} is another one"))?;
    Ok(Answer::read(&what))
}
