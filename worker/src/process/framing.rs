//! Finds in the output of a process what its wrapper on another machine says of the command in it.
//!
//! The wrapper writes lines that begin with a token which nobody else knows: `begin` on both streams, then, on standard
//! error, `end CODE` or `refused REASON`. What comes before `begin` is no output of the command: the noise of a login, or what
//! ssh says when it gets no connection. It is kept for a reason, and taken away, as the lines themselves are.

use tokio::sync::{mpsc, watch};

use super::capture::Stream;

/// What of the noise before the begin is kept: its end, enough for some lines.
const BEFORE_BYTES_MAX: usize = 4 * 1024;

/// Longest line of a wrapper. What is longer was not written by one.
const LINE_BYTES_MAX: usize = 512;

/// What a token begins with: a byte that programs hardly ever write, so that nothing has to be held back.
pub(super) const TOKEN_BYTE: char = '\u{1e}';

/// The conversation with a wrapper through the standard streams of a process.
#[derive(Debug)]
pub struct Talk {
    /// What every line of the wrapper begins with.
    pub token: Token,
    /// Written to standard input first.
    pub script: String,
    /// Written to standard input afterwards, one line each. Standard input ends with the process.
    pub words: mpsc::Receiver<&'static str>,
    /// Hears what the wrapper says.
    pub told: watch::Sender<Told>,
}

/// A text that nobody else writes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token(String);

impl Token {
    /// A new one.
    pub fn random() -> Self {
        Self(format!("rr{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)))
    }

    /// Its printable part, which follows an ASCII record separator.
    pub fn printable(&self) -> &str {
        &self.0
    }
}

/// What a wrapper has said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// How far it is.
    pub stage: Stage,
    /// The end of what came on standard error before it said anything.
    pub before: String,
}

/// How far a wrapper is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Stage {
    /// Nothing was heard of it.
    #[default]
    Silent,
    /// It waits to be told to start the command, or has started it.
    Begun,
    /// It will not start the command.
    Refused(String),
    /// The command ended with this code, in the words of a shell.
    Ended(i32),
}

/// Takes the lines of a wrapper out of two streams.
#[derive(Debug)]
pub(super) struct Framing {
    token: Vec<u8>,
    stdout: Part,
    stderr: Part,
    told: watch::Sender<Told>,
}

/// One stream.
#[derive(Debug, Default)]
struct Part {
    phase: Phase,
    /// Bytes that may turn out to be the wrapper's.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    #[default]
    Before,
    Command,
    After,
}

impl Framing {
    pub(super) fn new(token: &Token, told: watch::Sender<Told>) -> Self {
        let token = format!("{TOKEN_BYTE}{}", token.0).into_bytes();
        Self { token, stdout: Part::default(), stderr: Part::default(), told }
    }

    /// Takes what was read, and returns what of it, and of what was held back, the command wrote.
    pub(super) fn pass(&mut self, stream: Stream, bytes: &[u8]) -> Vec<u8> {
        let Self { token, stdout, stderr, told } = self;
        let part = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        part.held.extend_from_slice(bytes);
        if part.phase == Phase::Before {
            part.look_for_begin(token, stream, told);
        }
        match (part.phase, stream) {
            (Phase::Before, _) => Vec::new(),
            (Phase::Command, Stream::Stdout) => std::mem::take(&mut part.held),
            (Phase::Command, Stream::Stderr) => part.pass_command(token, told),
            // Whoever still writes was left behind.
            (Phase::After, _) => {
                part.held.clear();
                Vec::new()
            }
        }
    }

    /// The stream has ended: returns what was held back and is the command's.
    pub(super) fn rest(&mut self, stream: Stream) -> Vec<u8> {
        let part = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        match part.phase {
            Phase::Before | Phase::After => Vec::new(),
            Phase::Command => std::mem::take(&mut part.held),
        }
    }
}

impl Part {
    fn look_for_begin(&mut self, token: &[u8], stream: Stream, told: &watch::Sender<Told>) {
        if let Some((start, text, end)) = line(&self.held, token) {
            let stage = stage(&text);
            self.phase = match stage {
                Some(Stage::Begun) => Phase::Command,
                Some(Stage::Silent | Stage::Refused(_) | Stage::Ended(_)) | None => Phase::After,
            };
            let before = String::from_utf8_lossy(self.held.get(..start).unwrap_or_default()).into_owned();
            self.held.drain(..end);
            if stream == Stream::Stderr {
                told.send_modify(|told| *told = Told { stage: stage.unwrap_or_default(), before });
            }
            return;
        }
        let excess = self.held.len().saturating_sub(BEFORE_BYTES_MAX);
        self.held.drain(..excess);
        if stream == Stream::Stderr {
            let before = String::from_utf8_lossy(&self.held).into_owned();
            told.send_modify(|told| told.before = before);
        }
    }

    fn pass_command(&mut self, token: &[u8], told: &watch::Sender<Told>) -> Vec<u8> {
        if let Some((start, text, _)) = line(&self.held, token) {
            self.held.truncate(start);
            self.phase = Phase::After;
            told.send_modify(|told| told.stage = stage(&text).unwrap_or(Stage::Begun));
            return std::mem::take(&mut self.held);
        }
        let keep = match find(&self.held, token) {
            Some(start) if self.held.len() - start <= LINE_BYTES_MAX => self.held.len() - start,
            Some(_) => 0,
            None => begun(&self.held, token),
        };
        let kept = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, kept)
    }
}

/// The first whole line of a wrapper: where it starts, what follows the token, and where it ends.
fn line(bytes: &[u8], token: &[u8]) -> Option<(usize, String, usize)> {
    let start = find(bytes, token)?;
    let text = bytes.get(start + token.len()..)?;
    let length = text.iter().position(|byte| *byte == b'\n')?;
    let said = String::from_utf8_lossy(text.get(..length)?).trim().to_owned();
    Some((start, said, start + token.len() + length + 1))
}

fn find(bytes: &[u8], token: &[u8]) -> Option<usize> {
    bytes.windows(token.len()).position(|window| window == token)
}

/// How many bytes at the end may be the begin of a token.
fn begun(bytes: &[u8], token: &[u8]) -> usize {
    let longest = bytes.len().min(token.len().saturating_sub(1));
    (1..=longest).rev().find(|n| token.get(..*n).is_some_and(|begin| bytes.ends_with(begin))).unwrap_or(0)
}

fn stage(text: &str) -> Option<Stage> {
    match text.split_once(' ') {
        None if text == "begin" => Some(Stage::Begun),
        Some(("end", code)) => code.parse().ok().map(Stage::Ended),
        Some(("refused", reason)) => Some(Stage::Refused(reason.to_owned())),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is passed of both streams, and what is told, when it comes in pieces of `size` bytes.
    fn heard(size: usize, stdout: &[u8], stderr: &[u8]) -> (Vec<u8>, Vec<u8>, Told) {
        let (told, hear) = watch::channel(Told::default());
        let mut framing = Framing::new(&Token("rrT".into()), told);
        let mut all = |stream, bytes: &[u8]| {
            let mut passed: Vec<u8> = bytes.chunks(size).flat_map(|piece| framing.pass(stream, piece)).collect();
            passed.extend(framing.rest(stream));
            passed
        };
        let (out, err) = (all(Stream::Stdout, stdout), all(Stream::Stderr, stderr));
        (out, err, hear.borrow().clone())
    }

    #[test]
    fn only_the_command_is_passed_however_the_bytes_come() {
        let stdout = b"motd\n\x1errT begin\nout\x1e\x1er";
        let stderr = b"hello\n\x1errT begin\nerr \x1e \x1errX no end\x1errT end 7\nlate";
        for size in 1..=stderr.len() {
            let (out, err, told) = heard(size, stdout, stderr);
            assert_eq!(out, b"out\x1e\x1er", "{size}");
            assert_eq!(err, b"err \x1e \x1errX no end", "{size}");
            assert_eq!(told, Told { stage: Stage::Ended(7), before: "hello\n".into() }, "{size}");
        }
    }

    #[test]
    fn without_a_begin_everything_is_a_reason() {
        let (out, err, told) = heard(5, b"banner", b"ssh: no route to host\n");
        assert_eq!((out, err), (Vec::new(), Vec::new()));
        assert_eq!(told, Told { stage: Stage::Silent, before: "ssh: no route to host\n".into() });
        let long = [b'x'; 3 * BEFORE_BYTES_MAX];
        assert_eq!(heard(1000, b"", &long).2.before.len(), BEFORE_BYTES_MAX);
    }

    #[test]
    fn an_end_that_was_cut_off_is_none() {
        for cut in ["", "\x1errT end 7", "\x1errT end x\n"] {
            let stderr = format!("\x1errT begin\nerr{cut}");
            assert_eq!(heard(100, b"", stderr.as_bytes()).2.stage, Stage::Begun, "{cut:?}");
        }
        let (_, _, told) = heard(3, b"", b"\x1errT refused no such directory\n");
        assert_eq!(told.stage, Stage::Refused("no such directory".into()));
    }
}
