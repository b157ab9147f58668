//! Where a history is: a run of a mesh or of this machine, or a file.

use std::path::Path;

use rr_schemas::id::RunId;

use super::file::STDIN;
use crate::error::CliError;
use crate::exit::Exit;

/// What was typed where a run or a file may stand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Whence {
    /// A run, by its id or the beginning of it.
    Run(String),
    /// An export.
    File(String),
}

/// What is meant: whatever can be an id is one, and a path that could be one is written with a directory (`./name`).
///
/// # Errors
/// Neither an id nor a file (66).
pub(crate) fn whence(typed: &str) -> Result<Whence, CliError> {
    if typed != STDIN && typed.parse::<RunId>().is_ok() {
        return Ok(Whence::Run(typed.to_owned()));
    }
    if typed == STDIN || Path::new(typed).exists() {
        return Ok(Whence::File(typed.to_owned()));
    }
    let text = format!("{typed:?} is neither the id of a run nor a file");
    Err(CliError::new(Exit::Unknown, text).hint("rr ls lists the runs; rr export RUN > FILE makes a file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_an_id_is_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        std::fs::write(&path, "").unwrap();
        let path = path.to_str().unwrap();
        for (typed, expected) in [
            ("4f7k", Ok(Whence::Run("4f7k".to_owned()))),
            ("-", Ok(Whence::File("-".to_owned()))),
            (path, Ok(Whence::File(path.to_owned()))),
            ("/nowhere/x.jsonl", Err(66)),
        ] {
            assert_eq!(whence(typed).map_err(|error| error.exit().code()), expected, "{typed}");
        }
    }
}
