//! Text for people: styled lines that fit a width, times, bytes of unknown origin made harmless.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use rr_schemas::{
    decision::{JobStatus, RunStatus},
    report::Outcome,
};

use crate::printer::{BAD, BUSY, DIM, GOOD, WARN};

/// A line of pieces, each in its style. The pieces are ASCII or escaped, so a character is a column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Vec<(Style, String)>);

impl Line {
    /// A line without anything.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The same with a piece of plain text at its end.
    #[must_use]
    pub(crate) fn plain(self, text: impl Into<String>) -> Self {
        self.styled(Style::new(), text)
    }

    /// The same with a styled piece at its end.
    #[must_use]
    pub(crate) fn styled(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// The line with its styles, cut to `width` columns; what is cut shows as `~`.
    pub(crate) fn fit(&self, width: usize) -> String {
        let total: usize = self.0.iter().map(|(_, text)| text.chars().count()).sum();
        let mut room = if total > width { width.saturating_sub(1) } else { width };
        let mut out = String::new();
        for (style, text) in &self.0 {
            let part: String = text.chars().take(room).collect();
            room -= part.chars().count();
            if !part.is_empty() {
                // Writing into a String cannot fail.
                let _ = write!(out, "{style}{part}{style:#}");
            }
        }
        if total > width && width > 0 {
            out.push('~');
        }
        out
    }

    /// The whole line with its styles.
    pub(crate) fn whole(&self) -> String {
        self.fit(usize::MAX)
    }
}

/// The style of a run's state.
pub(crate) const fn run_style(status: RunStatus) -> Style {
    match status {
        RunStatus::Queued => DIM,
        RunStatus::Running => BUSY,
        RunStatus::Succeeded => GOOD,
        RunStatus::Failed | RunStatus::TimedOut | RunStatus::Rejected => BAD,
        RunStatus::Cancelled => WARN,
    }
}

/// The style of a job's state.
pub(crate) const fn job_style(status: JobStatus) -> Style {
    match status {
        JobStatus::Waiting | JobStatus::Skipped => DIM,
        JobStatus::Running => BUSY,
        JobStatus::Succeeded => GOOD,
        JobStatus::Failed => BAD,
        JobStatus::Cancelled => WARN,
    }
}

/// How an attempt ended, in a few words: `exit 1`, `signal 9`, `timeout`, `failed: no such program`.
pub(crate) fn outcome_words(
    outcome: Outcome,
    exit_code: Option<i32>,
    signal: Option<i32>,
    reason: Option<&str>,
) -> String {
    let mut words = match (outcome, exit_code, signal) {
        (Outcome::Failed, Some(code), _) => format!("exit {code}"),
        (Outcome::Failed, None, Some(signal)) => format!("signal {signal}"),
        (Outcome::Failed, None, None)
        | (
            Outcome::Ok
            | Outcome::Timeout
            | Outcome::Lost
            | Outcome::Unreachable
            | Outcome::Refused
            | Outcome::Cancelled,
            _,
            _,
        ) => outcome.word().to_owned(),
    };
    if let Some(reason) = reason {
        let _ = write!(words, ": {}", escape(reason.as_bytes()));
    }
    words
}

/// Bytes of unknown origin as text that cannot move a cursor or fake a line: what is not UTF-8 shows as `\xff`, control
/// and direction characters as `\u{1b}`. Tabs stay.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            if char == '\t' || !(char.is_control() || is_invisible(char)) {
                out.push(char);
            } else {
                out.extend(char.escape_default());
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Characters that turn the direction of text around or take no room.
const fn is_invisible(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The first ten of some things, and how many there are besides.
pub(crate) fn first_few(mut things: Vec<String>) -> String {
    const SHOWN: usize = 10;
    let rest = things.len().saturating_sub(SHOWN);
    things.truncate(SHOWN);
    let more = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{more}", things.join(", "))
}

/// Bytes in the unit that fits: `1.5 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1_024 {
        return format!("{n} B");
    }
    let mut tenths = n.saturating_mul(10) / 1_024;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A length of time in two units at most: `350ms`, `12.3s`, `4m05s`, `2h10m`, `3d4h`.
pub(crate) fn duration_words(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0 => format!("{}ms", duration.as_millis()),
        1..=59 => format!("{secs}.{}s", duration.subsec_millis() / 100),
        60..=3_599 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600..=86_399 => format!("{}h{:02}m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{}d{}h", secs / 86_400, secs % 86_400 / 3_600),
    }
}

/// Time from one instant to another, none where it would be negative.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// How long ago something was: `now`, `5m ago`.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let secs = between(then, now).as_secs();
    match secs {
        0..=1 => "now".to_owned(),
        2..=59 => format!("{secs}s ago"),
        60..=3_599 => format!("{}m ago", secs / 60),
        3_600..=86_399 => format!("{}h ago", secs / 3_600),
        _ => format!("{}d ago", secs / 86_400),
    }
}

/// Rows below their headings, each column as wide as its widest cell; the last one is not filled up.
pub(crate) fn table(headings: &[&str], rows: &[Vec<(Style, String)>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|(_, text)| text.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let head: Vec<(Style, String)> = headings.iter().map(|heading| (DIM, (*heading).to_owned())).collect();
    let line = |row: &Vec<(Style, String)>| {
        let last = row.len().saturating_sub(1);
        let mut line = Line::new();
        for (column, (style, text)) in row.iter().enumerate() {
            let fill = widths.get(column).map_or(0, |width| width.saturating_sub(text.chars().count()));
            line = line.styled(*style, text.clone());
            if column < last {
                line = line.plain(" ".repeat(fill + 2));
            }
        }
        line.whole()
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_a_unit_that_fits() {
        for (n, text) in
            [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (u64::MAX, "1638.3 PiB")]
        {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn bytes_of_unknown_origin_are_harmless() {
        for (bytes, text) in [
            (&b"plain\ttext"[..], "plain\ttext"),
            (b"\x1b[31mred", "\\u{1b}[31mred"),
            (b"a\rb\0", "a\\rb\\u{0}"),
            (b"\xff\xfe ok \xc3", "\\xff\\xfe ok \\xc3"),
            ("grün \u{202e}x".as_bytes(), "grün \\u{202e}x"),
        ] {
            assert_eq!(escape(bytes), text);
        }
    }

    #[test]
    fn lines_are_cut_to_the_width() {
        let line = Line::new().plain("abc").plain("def");
        for (width, text) in [(0, ""), (1, "~"), (4, "abc~"), (6, "abcdef"), (9, "abcdef")] {
            assert_eq!(line.fit(width), text);
        }
    }

    #[test]
    fn times_have_two_units_at_most() {
        for (millis, words) in [
            (0, "0ms"),
            (350, "350ms"),
            (12_345, "12.3s"),
            (245_000, "4m05s"),
            (7_800_000, "2h10m"),
            (273_600_000, "3d4h"),
        ] {
            assert_eq!(duration_words(Duration::from_millis(millis)), words);
        }
    }

    #[test]
    fn outcomes_say_what_happened() {
        for (outcome, code, signal, reason, words) in [
            (Outcome::Failed, Some(7), None, None, "exit 7"),
            (Outcome::Failed, None, Some(9), None, "signal 9"),
            (Outcome::Failed, None, None, Some("no such program"), "failed: no such program"),
            (Outcome::Timeout, None, Some(15), None, "timeout"),
            (Outcome::Unreachable, None, None, None, "unreachable"),
        ] {
            assert_eq!(outcome_words(outcome, code, signal, reason), words);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec![(Style::new(), "a".to_owned()), (Style::new(), "b".to_owned())]];
        let plain: Vec<String> = table(&["RUN", "STATUS"], &rows)
            .iter()
            .map(|line| anstream::adapter::strip_str(line).to_string())
            .collect();
        assert_eq!(plain, ["RUN  STATUS", "a    b"]);
    }
}
