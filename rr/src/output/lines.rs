//! Chunks become lines: whole ones, and the last few of an attempt.

use std::collections::{BTreeMap, VecDeque};

use rr_nats::OutStream;

use crate::text::escape;

/// A longer line is printed in parts.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Lines that are kept of a task that failed.
const TAIL_LINES_MAX: usize = 10;
/// Characters that are kept of each of them.
const TAIL_CHARS_MAX: usize = 400;

/// Cuts chunks of one stream of one attempt into lines.
#[derive(Debug, Default)]
pub(crate) struct LineCutter {
    rest: Vec<u8>,
}

impl LineCutter {
    /// The lines that are complete with this chunk, escaped.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                lines.extend(self.finish());
            }
            while self.rest.len() > LINE_BYTES_MAX {
                let rest = self.rest.split_off(LINE_BYTES_MAX);
                lines.push(escape(&self.rest));
                self.rest = rest;
            }
        }
        lines
    }

    /// What remains as a line without end, if anything.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.rest);
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!bytes.is_empty()).then(|| escape(line))
    }
}

/// The last lines of one attempt, both streams as they came.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    cutters: BTreeMap<OutStream, LineCutter>,
    lines: VecDeque<String>,
}

impl Tail {
    /// Takes a chunk of one of the streams.
    pub(crate) fn push(&mut self, stream: OutStream, chunk: &[u8]) {
        for line in self.cutters.entry(stream).or_default().push(chunk) {
            self.keep(line);
        }
    }

    /// The lines, the oldest first.
    pub(crate) fn finish(mut self) -> Vec<String> {
        for line in std::mem::take(&mut self.cutters).values_mut().filter_map(LineCutter::finish) {
            self.keep(line);
        }
        self.lines.into()
    }

    fn keep(&mut self, line: String) {
        if self.lines.len() == TAIL_LINES_MAX {
            self.lines.pop_front();
        }
        let is_long = line.chars().nth(TAIL_CHARS_MAX).is_some();
        self.lines.push_back(if is_long {
            line.chars().take(TAIL_CHARS_MAX).chain("…".chars()).collect()
        } else {
            line
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, LineCutter, OutStream, TAIL_LINES_MAX, Tail};

    #[test]
    fn lines_do_not_depend_on_how_they_were_chunked() {
        let text = b"one\r\ntwo\n\nthree \xff\nrest";
        for size in 1..=text.len() {
            let mut cutter = LineCutter::default();
            let mut lines: Vec<String> = text.chunks(size).flat_map(|chunk| cutter.push(chunk)).collect();
            lines.extend(cutter.finish());
            assert_eq!(lines, ["one", "two", "", "three \\xff", "rest"], "{size}");
            assert_eq!(cutter.finish(), None);
        }
    }

    #[test]
    fn a_line_without_end_comes_in_parts() {
        let mut cutter = LineCutter::default();
        let lines = cutter.push(&vec![b'x'; 5 * LINE_BYTES_MAX]);
        assert!(lines.len() >= 4 && lines.iter().all(|line| line.len() == LINE_BYTES_MAX));
        assert!(cutter.rest.len() <= LINE_BYTES_MAX);
    }

    #[test]
    fn a_tail_keeps_the_last_lines() {
        let mut tail = Tail::default();
        for n in 0..100 {
            tail.push(OutStream::Stdout, format!("line {n}\n").as_bytes());
        }
        tail.push(OutStream::Stderr, b"no end");
        let lines = tail.finish();
        assert_eq!(lines.len(), TAIL_LINES_MAX);
        assert_eq!(lines.last().map(String::as_str), Some("no end"));
        assert_eq!(lines.first().map(String::as_str), Some("line 91"));
    }
}
