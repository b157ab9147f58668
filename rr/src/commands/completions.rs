//! `rr completions`: what makes a shell ask rr.

use std::ffi::OsString;

use crate::cli::CompletionsArgs;
use crate::completion;
use crate::error::CliError;
use crate::exit::Exit;
use crate::printer::Printer;

/// Prints the script of a shell. `called` is how rr was called: the shell calls it in the same way.
pub(crate) fn completions(
    printer: Printer,
    args: &CompletionsArgs,
    called: Option<&OsString>,
) -> Result<Exit, CliError> {
    printer.bytes(&completion::script(args.shell, called)?)?;
    Ok(Exit::Succeeded)
}
