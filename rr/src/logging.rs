//! The log of `rr` itself, on stderr.

use tracing_subscriber::{EnvFilter, fmt};

use crate::cli::LogFormat;
use crate::config::Config;
use crate::error::CliError;
use crate::exit::Exit;
use crate::printer::Printer;

/// Which kind of verb logs: what it says when nobody asks for more or less.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verbosity {
    /// A verb of a user: what a person must see.
    User,
    /// A long-running role: one line for each change of state.
    Role,
}

/// Starts the log.
///
/// # Errors
/// A filter that cannot be understood (78).
pub(crate) fn start(config: &Config, printer: Printer, verbosity: Verbosity) -> Result<(), CliError> {
    let default = match verbosity {
        Verbosity::User => "warn,async_nats=off",
        Verbosity::Role => "info,async_nats=warn",
    };
    let text = config.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(text)
        .map_err(|error| CliError::new(Exit::Config, format_args!("wrong log filter {text:?}: {error}")))?;
    // A reader of stderr that has gone must not end what is at work: by default the log would panic about it.
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let started = match config.log_format {
        LogFormat::Text => builder.with_ansi(printer.colors_stderr()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| CliError::bug(format_args!("start the log: {error}")))
}
