//! Bash: its script, and words as they were typed.
//!
//! Bash splits a word at each `=` and `:` and completes what stands behind the last of them. So the words are put
//! together again before anybody looks at them, and of a candidate only what follows is said.

use std::ffi::OsString;
use std::io::{self, Write};

use clap_complete::engine;

use super::VARIABLE;
use crate::environment::Environment;

/// Which word the cursor is in, counted as bash does.
const INDEX: &str = "RR_COMPLETE_INDEX";
/// That word up to the cursor.
const WORD: &str = "RR_COMPLETE_WORD";

/// A command line as it was typed.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Joined {
    pub(super) words: Vec<OsString>,
    /// The word that is completed.
    index: usize,
    /// What bash keeps of it.
    kept: String,
}

/// Puts the words of bash together.
pub(super) fn join(words: &[OsString], environment: &Environment) -> Joined {
    let text = |name| environment.get(name).map(|text| text.to_string_lossy().into_owned());
    let index = text(INDEX).and_then(|index| index.parse().ok()).unwrap_or_else(|| words.len().saturating_sub(1));
    join_at(words, index, &text(WORD).unwrap_or_default())
}

fn join_at(words: &[OsString], index: usize, before_cursor: &str) -> Joined {
    let mut joined: Vec<String> = Vec::new();
    let (mut at, mut kept) = (0, String::new());
    let mut is_open = false;
    for (n, word) in words.iter().enumerate() {
        let word = word.to_string_lossy();
        let is_break = !word.is_empty() && word.chars().all(|char| char == '=' || char == ':');
        let word = if n == index && !is_break { before_cursor } else { &word };
        // `a= b` looks like `a=b` here; what begins like a flag is one.
        let continues = n > 1 && (is_break || (is_open && !word.is_empty() && !word.starts_with('-')));
        match joined.last_mut().filter(|_| continues) {
            Some(last) => last.push_str(word),
            None => joined.push(word.to_owned()),
        }
        if n == index {
            at = joined.len() - 1;
            let whole = joined.last().map_or("", String::as_str);
            let kept_of = if is_break { Some(whole) } else { whole.strip_suffix(word) };
            kept = String::from(kept_of.unwrap_or_default());
        }
        is_open = is_break;
    }
    Joined { words: joined.into_iter().map(OsString::from).collect(), index: at, kept }
}

/// Writes what fits, one candidate a line. Flags only where one is begun: else they would stand in the way of file names,
/// which bash knows by itself when there is nothing here.
pub(super) fn write(mut command: clap::Command, joined: Joined, out: &mut impl Write) -> io::Result<()> {
    let Joined { words, index, kept } = joined;
    let is_empty = words.get(index).is_none_or(|word| word.is_empty());
    for candidate in engine::complete(&mut command, words, index, std::env::current_dir().ok().as_deref())? {
        let value = candidate.get_value().to_string_lossy();
        if let Some(rest) = value.strip_prefix(&kept).filter(|rest| !(is_empty && rest.starts_with('-'))) {
            writeln!(out, "{rest}")?;
        }
    }
    Ok(())
}

/// Writes what bash has to read. Nothing but what bash 3.2 has, which macOS still comes with.
pub(super) fn write_script(program: &str, out: &mut impl Write) -> io::Result<()> {
    // Within single quotes only those themselves need care.
    let program = format!("'{}'", program.replace('\'', r"'\''"));
    write!(
        out,
        r#"_rr_complete() {{
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <({VARIABLE}=bash {INDEX}="$COMP_CWORD" {WORD}="$2" {program} -- "${{COMP_WORDS[@]}}" 2>/dev/null)
    if [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *[=/,] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}}
complete -o bashdefault -o default -o nosort -F _rr_complete rr 2>/dev/null ||
    complete -o bashdefault -o default -F _rr_complete rr
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_put_together_as_they_were_typed() {
        for (words, index, before_cursor, whole, at, kept) in [
            (&["rr", "show", ""][..], 2, "", &["rr", "show", ""][..], 2, ""),
            (&["rr", "show", "4f7kx"], 2, "4f", &["rr", "show", "4f"], 2, ""),
            (&["rr", "--context", "="], 2, "", &["rr", "--context="], 1, "--context="),
            (&["rr", "--context", "=", "pr"], 3, "pr", &["rr", "--context=pr"], 1, "--context="),
            (
                &["rr", "--server", "nats", ":", "//h", ":", "4222", "show", ""],
                8,
                "",
                &["rr", "--server", "nats://h:4222", "show", ""],
                4,
                "",
            ),
            (
                &["rr", "run", "f", "--set", "a", "=", "", "x"],
                6,
                "",
                &["rr", "run", "f", "--set", "a=", "", "x"],
                5,
                "",
            ),
            (
                &["rr", "run", "f", "--set", "a", "=", "--wait"],
                6,
                "--w",
                &["rr", "run", "f", "--set", "a=", "--w"],
                5,
                "",
            ),
            (
                &["rr", "logs", "r", "--host", "fe80", "::"],
                5,
                "",
                &["rr", "logs", "r", "--host", "fe80::"],
                4,
                "fe80::",
            ),
        ] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let whole = whole.iter().map(OsString::from).collect();
            assert_eq!(join_at(&words, index, before_cursor), Joined { words: whole, index: at, kept: kept.into() });
        }
    }

    #[test]
    fn a_program_is_quoted() {
        let mut out = Vec::new();
        write_script("/a b/it's/rr", &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains(r"'/a b/it'\''s/rr' --"));
    }
}
