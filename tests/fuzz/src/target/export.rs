//! Exports. What is read of one is written again as it was, is a stored message or is told to be none, and is of the run that
//! the export is of.

use rr_nats::{
    Chunk,
    copies::LogMessage,
    export::{self, Kind, Line, Reader},
};

use super::{Answer, demand};

pub(super) fn feed(input: &[u8]) -> Result<Vec<Answer>, String> {
    let mut reader = match Reader::new(std::io::Cursor::new(input.to_vec())) {
        Ok(reader) => reader,
        Err(error) => return Ok(vec![Answer::refused("export", &error.to_string())]),
    };
    let first = reader.first().clone();
    let mut again = Vec::new();
    export::put_first(&mut again, &first).map_err(|error| error.to_string())?;
    let (mut answers, mut lines) = (Vec::new(), Vec::new());
    loop {
        match reader.read() {
            Ok(Some(line)) => {
                export::put_line(&mut again, line.kind, &line.copied).map_err(|error| error.to_string())?;
                answers.push(message(&line, first.partitions));
                lines.push(line);
            }
            Ok(None) => break,
            Err(error) => {
                let n_lines = input.split(|byte| *byte == b'\n').count();
                let is_inside = error.line() >= 1 && error.line() <= u64::try_from(n_lines).unwrap_or(u64::MAX);
                demand(is_inside, || format!("line {} of {n_lines}", error.line()))?;
                answers.push(Answer::refused("line", &error.to_string()));
                return Ok(answers);
            }
        }
    }
    answers.push(Answer::read(if reader.is_whole() { "a whole export" } else { "a part of an export" }));
    let n_lines = u64::try_from(lines.len()).unwrap_or(u64::MAX);
    export::put_last(&mut again, n_lines).map_err(|error| error.to_string())?;
    same(&again, &lines)?;
    Ok(answers)
}

fn same(written: &[u8], lines: &[Line]) -> Result<(), String> {
    let mut reader = Reader::new(written).map_err(|error| format!("is not read again: {error}"))?;
    for line in lines {
        let again = reader.read().map_err(|error| format!("{line:?} is not read again: {error}"))?;
        demand(again.as_ref() == Some(line), || format!("{line:?} is read again as {again:?}"))?;
    }
    let end = reader.read().map_err(|error| format!("the end is not read again: {error}"))?;
    demand(end.is_none() && reader.is_whole(), || "its end is none".to_owned())
}

/// The message of a line, as whoever judges it takes it.
fn message(line: &Line, partitions: u16) -> Answer {
    let raw = match line.copied.raw() {
        Ok(raw) => raw,
        Err(wrong) => return Answer::refused("message", &wrong),
    };
    Answer::read(match line.kind {
        Kind::State => "a state",
        Kind::Bad => "something bad",
        Kind::Offer => "an offer",
        Kind::Output => match Chunk::read(raw) {
            Some(_) => "a chunk",
            None => "no chunk",
        },
        Kind::Event => match LogMessage::read(raw, partitions) {
            LogMessage::Decision(_, stored) if stored.is_unreadable() => "an unreadable decision",
            LogMessage::Decision(..) => "a decision",
            LogMessage::Foreign(_) => "something among decisions",
            LogMessage::Input(_) => "an input",
            LogMessage::Nobodys => "nobody's message",
        },
    })
}
