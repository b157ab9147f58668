//! `rr check`: everything that is wrong with flow files.

use rr_loader::{Diagnostic, Level};
use serde::Serialize;

use crate::cli::CheckArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::flowfile;

/// One file, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    flow: Option<String>,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Problem {
    level: &'static str,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    help: Option<String>,
}

impl From<&Diagnostic> for Problem {
    fn from(diagnostic: &Diagnostic) -> Self {
        Self {
            level: match diagnostic.level {
                Level::Error => "error",
                Level::Warning => "warning",
            },
            line: diagnostic.position.map(|position| position.line),
            column: diagnostic.position.map(|position| position.column),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        }
    }
}

/// Checks every file; the worst of them decides the exit code.
pub(crate) fn check(ctx: &Context, args: &CheckArgs) -> Result<Exit, CliError> {
    let mut files = Vec::new();
    let mut exit = Exit::Succeeded;
    for name in &args.flows {
        match flowfile::read(ctx.printer, name, args.format) {
            Ok(read) => {
                if read.flow.is_none() {
                    exit = Exit::BadInput;
                }
                let flow = read.flow.as_ref().map(|flow| flow.name.to_string());
                if let Some(flow) = read.flow.as_ref().filter(|_| !ctx.printer.is_json()) {
                    ctx.printer.line(format_args!(
                        "{name}: ok, flow {}, {} jobs",
                        flow.name,
                        flow.all_jobs().count()
                    ))?;
                }
                files.push(Checked {
                    file: name.clone(),
                    flow,
                    problems: read.diagnostics.iter().map(Into::into).collect(),
                });
            }
            Err(error) => {
                error.show(ctx.printer);
                // A file that is not there is worse than one that is wrong: nobody has looked at it.
                if exit != Exit::Unknown {
                    exit = error.exit();
                }
            }
        }
    }
    if ctx.printer.is_json() {
        ctx.printer.json_document(&files)?;
    }
    Ok(exit)
}
