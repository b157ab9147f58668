//! A flow as typed on the command line: read, checked, with everything that is wrong shown at once.

use std::path::Path;

use rr_core::Plan;
use rr_loader::{Diagnostic, Format, Level, ReadError, Source};
use rr_schemas::{
    flow::{Flow, check::Problem, params::ParamValues},
    name::Name,
};

use crate::cli::{FlowArgs, FlowFormat, SetArgs};
use crate::error::CliError;
use crate::exit::Exit;
use crate::printer::Printer;

/// What stands for stdin.
const STDIN: &str = "-";

/// A flow with its parameters, checked: it can be planned.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The flow.
    pub(crate) flow: Flow,
    /// Parameters as given.
    pub(crate) params: ParamValues,
    /// What it comes to.
    pub(crate) plan: Plan,
}

/// What reading a flow file came to.
#[derive(Debug)]
pub(crate) struct Read {
    /// The flow, when nothing is wrong with it.
    pub(crate) flow: Option<Flow>,
    /// What is wrong, and what may be.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Reads a flow and shows on stderr what is wrong with it.
///
/// # Errors
/// The file is missing (66) or too large (65).
pub(crate) fn read(printer: Printer, name: &str, format: FlowFormat) -> Result<Read, CliError> {
    let bytes = if name == STDIN {
        rr_loader::read_from(std::io::stdin().lock(), STDIN)
    } else {
        rr_loader::read_file(Path::new(name))
    };
    let bytes = bytes.map_err(|error| match &error {
        ReadError::Unreadable { .. } => CliError::new(Exit::Unknown, error),
        ReadError::TooLarge { .. } => CliError::new(Exit::BadInput, error),
    })?;
    let source = Source { name, bytes: &bytes };
    let loaded = rr_loader::load(&source, format.into());
    if !loaded.diagnostics.is_empty() {
        let text = rr_loader::render(&loaded.diagnostics, &source, true);
        printer.note(text.trim_end());
    }
    Ok(Read { flow: loaded.flow, diagnostics: loaded.diagnostics })
}

/// Reads a flow for somebody who still types: nothing is said of what is wrong, and stdin is not touched.
pub(crate) fn glance(name: &str, format: FlowFormat) -> Option<Flow> {
    let path = Path::new(name);
    let bytes = path.is_file().then(|| rr_loader::read_file(path).ok())??;
    rr_loader::load(&Source { name, bytes: &bytes }, format.into()).flow
}

impl From<FlowFormat> for Format {
    fn from(format: FlowFormat) -> Self {
        match format {
            FlowFormat::Auto => Self::Auto,
            FlowFormat::Yaml => Self::Yaml,
            FlowFormat::Json => Self::Json,
            FlowFormat::Toml => Self::Toml,
            FlowFormat::Roadrunner => Self::Roadrunner,
        }
    }
}

impl Read {
    /// How many errors there are.
    pub(crate) fn n_errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error).count()
    }
}

/// Reads a flow that is to be run or planned, with its parameters.
///
/// # Errors
/// The file is missing (66), or anything is wrong with flow or parameters (65).
pub(crate) fn checked(printer: Printer, flow: &FlowArgs, set: &SetArgs) -> Result<Checked, CliError> {
    let read = read(printer, &flow.flow, flow.format)?;
    let n_errors = read.n_errors();
    let Some(parsed) = read.flow else {
        let errors = if n_errors == 1 { "1 error".to_owned() } else { format!("{n_errors} errors") };
        return Err(CliError::new(
            Exit::BadInput,
            format_args!("{errors} in {}; nothing was started", shown(&flow.flow)),
        ));
    };
    with_params(parsed, set.set.clone()).map_err(|problems| {
        for problem in problems.iter().skip(1) {
            told(problem).show(printer);
        }
        problems.first().map_or_else(|| CliError::bug("a flow was refused without a reason"), told)
    })
}

fn told(problem: &Problem) -> CliError {
    CliError::new(Exit::BadInput, &problem.message).with_hint(problem.help.as_ref())
}

fn with_params(flow: Flow, set: Vec<(Name, String)>) -> Result<Checked, Vec<Problem>> {
    let params = ParamValues::from_texts(&flow, set)?;
    let plan = Plan::new(&flow, &params)?;
    Ok(Checked { flow, params, plan })
}

fn shown(name: &str) -> &str {
    if name == STDIN { "stdin" } else { name }
}
