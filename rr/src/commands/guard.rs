//! `rr __guard`: waits for the death of the rr that started it, and ends what that was running.

use std::os::fd::AsFd as _;

use crate::error::CliError;
use crate::exit::Exit;

/// Runs until stdin ends.
pub(crate) async fn guard() -> Result<Exit, CliError> {
    let failed = |error: std::io::Error| CliError::bug(format_args!("guard attempts: {error}"));
    let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    rr_worker::process::guard_main(input).await.map_err(failed)?;
    Ok(Exit::Succeeded)
}
