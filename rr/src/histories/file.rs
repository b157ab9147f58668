//! Exports in files and on stdout. The form is that of [`rr_nats::export`]; here it gets names of files and exit codes.

use std::fs::File;
use std::io::{BufRead, BufReader, Stdin};
use std::path::Path;

use rr_nats::Copied;
use rr_nats::export::{self, ExportError};
pub(crate) use rr_nats::export::{First, Kind, Line};

use crate::error::CliError;
use crate::exit::Exit;
use crate::printer::Printer;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;
/// What stands for stdin.
pub(crate) const STDIN: &str = "-";

/// Writes an export to stdout.
#[derive(Debug)]
pub(crate) struct Writer {
    printer: Printer,
    bytes: Vec<u8>,
    lines: u64,
}

impl Writer {
    /// Begins with the first line.
    ///
    /// # Errors
    /// Those of stdout.
    pub(crate) fn new(printer: Printer, first: &First) -> Result<Self, CliError> {
        let mut bytes = Vec::with_capacity(2 * WRITE_BYTES);
        export::put_first(&mut bytes, first).map_err(|error| unwritten(&error))?;
        Ok(Self { printer, bytes, lines: 0 })
    }

    /// Writes a message.
    ///
    /// # Errors
    /// Those of stdout.
    pub(crate) fn write(&mut self, kind: Kind, copied: &Copied) -> Result<(), CliError> {
        self.lines += 1;
        export::put_line(&mut self.bytes, kind, copied).map_err(|error| unwritten(&error))?;
        if self.bytes.len() >= WRITE_BYTES {
            self.printer.bytes(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    /// Ends with the last line.
    ///
    /// # Errors
    /// Those of stdout.
    pub(crate) fn finish(mut self) -> Result<u64, CliError> {
        export::put_last(&mut self.bytes, self.lines).map_err(|error| unwritten(&error))?;
        self.printer.bytes(&self.bytes)?;
        Ok(self.lines)
    }
}

fn unwritten(error: &serde_json::Error) -> CliError {
    CliError::bug(format!("write JSON: {error}"))
}

/// Reads an export.
#[derive(Debug)]
pub(crate) struct Reader {
    name: String,
    reader: export::Reader<Box<dyn BufRead>>,
}

impl Reader {
    /// Opens a file, `-` for stdin, and reads its first line.
    ///
    /// # Errors
    /// There is none (66), or it is no export that this build can read (65).
    pub(crate) fn open(name: &str) -> Result<Self, CliError> {
        let input: Box<dyn BufRead> = if name == STDIN {
            Box::new(BufReader::<Stdin>::new(std::io::stdin()))
        } else {
            let file = File::open(Path::new(name));
            let file = file.map_err(|error| CliError::new(Exit::Unknown, format_args!("{name}: {error}")))?;
            Box::new(BufReader::new(file))
        };
        let reader = export::Reader::new(input).map_err(|error| bad(name, &error))?;
        Ok(Self { name: name.to_owned(), reader })
    }

    /// What the first line says.
    pub(crate) const fn first(&self) -> &First {
        self.reader.first()
    }

    /// Whether the end of the export was read: one that was cut off has none.
    pub(crate) const fn is_whole(&self) -> bool {
        self.reader.is_whole()
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    /// A line that is none of an export, with its number (65).
    pub(crate) fn next(&mut self) -> Result<Option<Line>, CliError> {
        self.reader.read().map_err(|error| bad(&self.name, &error))
    }

    /// Something is wrong with the line that was read last.
    pub(crate) fn wrong(&self, what: impl std::fmt::Display) -> CliError {
        CliError::new(Exit::BadInput, format_args!("{}:{}: {what}", self.name, self.reader.line()))
    }
}

/// A line that is none.
fn bad(name: &str, error: &ExportError) -> CliError {
    CliError::new(Exit::BadInput, format_args!("{name}:{}: {error}", error.line()))
}

#[cfg(test)]
mod tests;
