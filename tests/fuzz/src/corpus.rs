//! The inputs from which others are made. Each was written by hand, taken from an example, or found by the search because
//! it is answered in a way of its own; what once broke something stays among them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::target::Target;

/// Where the corpus is.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// An input of the corpus.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its file.
    pub file: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The inputs of a target, by name.
///
/// # Errors
/// They cannot be read.
pub fn entries(target: Target) -> io::Result<Vec<Entry>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir().join(target.name()))? {
        files.push(entry?.path());
    }
    files.sort();
    files.into_iter().map(|file| fs::read(&file).map(|bytes| Entry { file, bytes })).collect()
}

/// Adds an input, under a name that its content gives it, and says where it is.
///
/// # Errors
/// It cannot be written.
pub fn add(target: Target, what: &str, input: &[u8]) -> io::Result<PathBuf> {
    let file = dir().join(target.name()).join(format!("{what}-{:016x}", hash(input)));
    fs::write(&file, input)?;
    Ok(file)
}

/// FNV-1a.
fn hash(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
