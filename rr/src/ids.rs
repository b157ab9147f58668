//! Ids as people type them: whole, or any beginning that only one run has.

use rr_schemas::id::RunId;

use crate::error::CliError;
use crate::exit::Exit;

/// Runs that are listed when a beginning fits several.
const LISTED_MAX: usize = 10;

/// A beginning of an id as typed.
///
/// # Errors
/// Empty, or nothing that an id could begin with (65).
pub(crate) fn parse(typed: &str) -> Result<RunId, CliError> {
    if typed.is_empty() {
        return Err(CliError::new(Exit::BadInput, "run id is empty").hint("rr ls lists the runs"));
    }
    typed.parse().map_err(|error| CliError::new(Exit::BadInput, error))
}

/// The one run among `known` that begins with `typed`; a run whose whole id it is wins over longer ones.
///
/// # Errors
/// None (66), or several (65).
pub(crate) fn choose(typed: &RunId, known: impl IntoIterator<Item = RunId>) -> Result<RunId, CliError> {
    let mut found: Vec<RunId> = known.into_iter().filter(|run| run.as_str().starts_with(typed.as_str())).collect();
    if let Some(exact) = found.iter().find(|run| *run == typed) {
        return Ok(exact.clone());
    }
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [] => Err(unknown(typed)),
        [one] => Ok(one.clone()),
        several => {
            let listed: Vec<&str> = several.iter().take(LISTED_MAX).map(RunId::as_str).collect();
            let more = if several.len() > LISTED_MAX { ", …" } else { "" };
            let text = format!("ambiguous: {} runs start with \"{typed}\": {}{more}", several.len(), listed.join(", "));
            Err(CliError::new(Exit::BadInput, text))
        }
    }
}

/// There is no such run.
pub(crate) fn unknown(typed: &RunId) -> CliError {
    CliError::new(Exit::Unknown, format_args!("no run \"{typed}\"")).hint("rr ls lists the runs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_names_a_run_when_only_one_has_it() {
        let known = ["a1", "a1b", "a2cc", "b7"];
        for (typed, expected) in [
            ("b", Ok("b7")),
            ("b7", Ok("b7")),
            ("a1", Ok("a1")),
            ("a1b", Ok("a1b")),
            ("a2", Ok("a2cc")),
            ("a", Err((65, "ambiguous: 3 runs start with \"a\": a1, a1b, a2cc"))),
            ("c", Err((66, "no run \"c\""))),
            ("A", Err((66, "no run \"A\""))),
        ] {
            let found = choose(&parse(typed).unwrap(), known.map(|id| id.parse().unwrap()));
            let found = found.map(|run| run.to_string()).map_err(|error| (error.exit().code(), error.to_string()));
            assert_eq!(found, expected.map(str::to_owned).map_err(|(code, text)| (code, text.to_owned())), "{typed}");
        }
    }

    #[test]
    fn what_no_id_begins_with_is_bad_input() {
        for typed in ["", "-x", "a.b", "a b", "*", "ü"] {
            assert_eq!(parse(typed).unwrap_err().exit(), Exit::BadInput, "{typed}");
        }
    }
}
