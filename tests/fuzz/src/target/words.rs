//! The small words of flow files and command lines. What is read says the same when it is written and read again.

use std::{fmt::Display, str::FromStr};

use rr_schemas::{
    flow::{params::parse_set, unreachable::OnUnreachable},
    host::Host,
    id::RunId,
    name::{EnvName, Name, WorkerName},
    quota::Quota,
    ranges::Ranges,
    span::Span,
};

use super::{Answer, demand, text};

pub(super) fn feed(input: &[u8]) -> Result<Vec<Answer>, String> {
    let text = text(input);
    let set = match parse_set(text) {
        Ok(_) => Answer::read("set"),
        Err(error) => Answer::refused("set", &error.to_string()),
    };
    Ok(vec![
        word::<Span>("span", text)?,
        word::<Quota>("quota", text)?,
        word::<Ranges>("ranges", text)?,
        word::<OnUnreachable>("on_unreachable", text)?,
        word::<Host>("host", text)?,
        word::<RunId>("run", text)?,
        word::<Name>("name", text)?,
        word::<WorkerName>("worker", text)?,
        word::<EnvName>("environment", text)?,
        set,
    ])
}

fn word<T>(what: &str, text: &str) -> Result<Answer, String>
where
    T: FromStr<Err: Display> + Display + PartialEq,
{
    let word: T = match text.parse() {
        Ok(word) => word,
        Err(error) => return Ok(Answer::refused(what, &T::Err::to_string(&error))),
    };
    let said = word.to_string();
    let again: T = said.parse().map_err(|error: T::Err| format!("{what} {said:?} is not read again: {error}"))?;
    demand(again == word, || format!("{what} {text:?} says {said:?}, which is another one"))?;
    Ok(Answer::read(what))
}
