//! Output as it is printed.

use std::collections::BTreeMap;

use rr_nats::{Chunk, OutStream};

use super::lines::LineCutter;
use super::sequence::Sequence;
use crate::error::CliError;
use crate::printer::{DIM, Printer, paint};
use crate::progress::Story;

/// Which output is printed, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// `job host | line` on stdout.
    Lines,
    /// The same on stderr, because stdout holds a document.
    Aside,
    /// A JSON object for each line on stdout.
    Json,
    /// The bytes on stdout.
    Raw,
}

/// One line of output, as `--json` prints it.
#[derive(Debug, serde::Serialize)]
struct LineView<'a> {
    job: &'a str,
    place: &'a str,
    attempt: u32,
    stream: &'static str,
    line: &'a str,
}

/// Prints output as it comes.
#[derive(Debug)]
pub(crate) struct Printed {
    printer: Printer,
    form: Form,
    attempt: Option<u32>,
    sequences: BTreeMap<(u32, u32), Sequence>,
    cutters: BTreeMap<(u32, u32, OutStream), LineCutter>,
}

impl Printed {
    /// Prints every attempt, or one of each task.
    pub(crate) const fn new(printer: Printer, form: Form, attempt: Option<u32>) -> Self {
        Self { printer, form, attempt, sequences: BTreeMap::new(), cutters: BTreeMap::new() }
    }

    /// Prints what a chunk completes.
    ///
    /// # Errors
    /// Stdout is closed.
    pub(crate) fn push(&mut self, story: &Story, chunk: Chunk) -> Result<(), CliError> {
        if self.attempt.is_some_and(|attempt| attempt != chunk.id.attempt) {
            return Ok(());
        }
        let ready = self.sequences.entry((chunk.id.task, chunk.id.attempt)).or_default().push(chunk);
        ready.iter().try_for_each(|chunk| self.print(story, chunk))
    }

    /// Prints what has no end of line.
    ///
    /// # Errors
    /// Stdout is closed.
    pub(crate) fn finish(mut self, story: &Story) -> Result<(), CliError> {
        let rest: Vec<Chunk> = self.sequences.values_mut().flat_map(Sequence::finish).collect();
        rest.iter().try_for_each(|chunk| self.print(story, chunk))?;
        for ((task, attempt, stream), mut cutter) in std::mem::take(&mut self.cutters) {
            if let Some(line) = cutter.finish() {
                self.print_line(story, (task, attempt, stream), &line)?;
            }
        }
        Ok(())
    }

    fn print(&mut self, story: &Story, chunk: &Chunk) -> Result<(), CliError> {
        if self.form == Form::Raw {
            return self.printer.bytes(&chunk.bytes);
        }
        let of = (chunk.id.task, chunk.id.attempt, chunk.id.stream);
        let lines = self.cutters.entry(of).or_default().push(&chunk.bytes);
        lines.iter().try_for_each(|line| self.print_line(story, of, line))
    }

    fn print_line(&self, story: &Story, of: (u32, u32, OutStream), line: &str) -> Result<(), CliError> {
        let (task, attempt, stream) = of;
        let place = story.place(task);
        let job = story.job_name(task).unwrap_or("?");
        let text = || format!("{} {line}", paint(DIM, format_args!("{job} {place} |")));
        match self.form {
            Form::Lines => self.printer.line(text()),
            Form::Aside => {
                self.printer.note(text());
                Ok(())
            }
            Form::Json => {
                let stream = match stream {
                    OutStream::Stdout => "stdout",
                    OutStream::Stderr => "stderr",
                    OutStream::Note => "note",
                };
                self.printer.json_line(&LineView { job, place: &place, attempt, stream, line })
            }
            Form::Raw => Ok(()),
        }
    }
}
