//! Changes to an input: those of bytes that every fuzzer has, and those of texts, in which a word means something.

use fastrand::Rng;

/// Words that mean something to one of the readers, and numbers at which something ends.
const WORDS: [&str; 62] = [
    "name",
    "slots",
    "jobs",
    "needs",
    "hosts",
    "queue",
    "run",
    "shell",
    "retry",
    "attempts",
    "delay",
    "factor",
    "max",
    "jitter",
    "success",
    "parallelism",
    "waves",
    "fail_fast",
    "timeout",
    "on_lost",
    "on_unreachable",
    "params",
    "signal",
    "select",
    "all",
    "lock",
    "env",
    "cwd",
    "priority",
    "job_flow",
    "default_retries",
    "null",
    "true",
    "[1-9]",
    "[01-99]",
    "[9-1]",
    "a[1-100000]",
    "[1-4294967295]",
    "{a,b}",
    "*",
    ">",
    "0",
    "-1",
    "1e999",
    "18446744073709551616",
    "100%",
    "0.001%",
    "1000000000h",
    "{{ host }}",
    "{{",
    "}}",
    "&a",
    "*a",
    "<<:",
    "!!binary",
    "---",
    "\u{feff}",
    "\u{0}",
    "\u{202e}",
    "\u{1f600}",
    "\"",
    "\\",
];
/// What opens something, and is repeated to nest it.
const OPENINGS: [&str; 8] = ["[", "{", "{\"a\":", "- ", "  ", "[1-", "{{ ", "\u{9f}"];
/// Bytes that CBOR reads as heads of long or nested values, and others that end texts.
const BYTES: [u8; 16] =
    [0x00, 0x0a, 0x20, 0x22, 0x5b, 0x7b, 0x5f, 0x7f, 0x9b, 0x9f, 0xbb, 0xbf, 0xdb, 0xf6, 0xfb, 0xff];
/// Changes of one input at most; the first ones do most of the damage.
const CHANGES_MAX: usize = 6;
/// Depth of what is nested by repetition: more than any reader allows.
const NESTED_MAX: usize = 2_000;

/// An input with some changes, and pieces of another one.
pub fn mutated(random: &mut Rng, input: &[u8], other: &[u8], bytes_max: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..=CHANGES_MAX) {
        change(random, &mut bytes, other);
        if random.bool() {
            break;
        }
    }
    bytes.truncate(bytes_max);
    bytes
}

fn change(random: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.usize(..=bytes.len());
    match random.u8(..12) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.u8(..8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = some(random, &BYTES).copied().unwrap_or_default();
            }
        }
        2 => put(bytes, at, &some(random, &BYTES).map_or([0], |byte| [*byte])),
        3 => drop(bytes.drain(piece(random, bytes.len()))),
        4 => {
            let piece = bytes.get(piece(random, bytes.len())).unwrap_or_default().to_vec();
            put(bytes, at, &piece);
        }
        5 => {
            let piece = bytes.get(piece(random, bytes.len())).unwrap_or_default().repeat(random.usize(1..200));
            put(bytes, at, &piece);
        }
        6 => put(bytes, at, other.get(piece(random, other.len())).unwrap_or_default()),
        7 => put(bytes, at, some(random, &WORDS).map_or("", |word| word).as_bytes()),
        8 => {
            let word = word(random, bytes);
            drop(bytes.splice(word, some(random, &WORDS).map_or("", |word| word).bytes()));
        }
        9 => {
            let (word, line) = (word(random, bytes), piece_of_lines(random, other));
            drop(bytes.splice(word, other.get(line).unwrap_or_default().iter().copied()));
        }
        10 => {
            let line = bytes.get(piece_of_lines(random, bytes)).unwrap_or_default().to_vec();
            put(bytes, at, &line);
        }
        _ => {
            let opening = some(random, &OPENINGS).map_or("", |opening| opening);
            put(bytes, at, opening.repeat(random.usize(1..NESTED_MAX)).as_bytes());
        }
    }
}

fn some<'a, T>(random: &mut Rng, all: &'a [T]) -> Option<&'a T> {
    all.get(random.usize(..all.len().max(1)))
}

fn put(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    drop(bytes.splice(at..at, piece.iter().copied()));
}

/// A short piece more often than a long one.
fn piece(random: &mut Rng, len: usize) -> std::ops::Range<usize> {
    let longest = if random.bool() { 8 } else { 512 };
    let from = random.usize(..=len);
    from..from.saturating_add(random.usize(..=longest)).min(len)
}

/// The word or the number at a random place.
fn word(random: &mut Rng, bytes: &[u8]) -> std::ops::Range<usize> {
    let at = random.usize(..=bytes.len());
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let (before, behind) = bytes.split_at(at);
    let from = at - before.iter().rev().take_while(|byte| is_word(byte)).count();
    from..at + behind.iter().take_while(|byte| is_word(byte)).count()
}

/// The line at a random place, with its end.
fn piece_of_lines(random: &mut Rng, bytes: &[u8]) -> std::ops::Range<usize> {
    let at = random.usize(..=bytes.len());
    let (before, behind) = bytes.split_at(at);
    let from = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    from..behind.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_and_none_is_too_long() {
        let made = |seed| {
            let mut random = Rng::with_seed(seed);
            (0..200).map(|_| mutated(&mut random, b"name: f\njobs: []\n", b"hosts: a[1-3]\n", 300)).collect::<Vec<_>>()
        };
        assert_eq!(made(7), made(7));
        assert_ne!(made(7), made(8));
        assert!(made(7).iter().all(|input| input.len() <= 300));
        let (mut random, mut bytes) = (Rng::with_seed(1), Vec::new());
        for _ in 0..10_000 {
            change(&mut random, &mut bytes, b"");
            bytes.truncate(64);
        }
    }
}
