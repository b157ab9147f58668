//! The bytes of a flow file, never more than a flow file may have.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rr_schemas::flow::FILE_BYTES_MAX;

/// Why a flow file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not there, or not to be read: look at the path. Exit code 66.
    #[error("cannot read '{name}': {reason}")]
    Unreadable {
        /// What it was called.
        name: String,
        /// Why, in the system's words.
        reason: String,
    },
    /// It is there, and no flow file: look at the content. Exit code 65.
    #[error("'{name}': file is {size}, limit {FILE_BYTES_MAX}")]
    TooLarge {
        /// What it was called.
        name: String,
        /// How large, as far as that is known.
        size: String,
    },
}

/// Reads a flow file.
///
/// # Errors
/// It cannot be read, or is too large; of an endless one (a device, a pipe) no more than the limit is read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    let name = path.display().to_string();
    let unreadable = |reason: String| ReadError::Unreadable { name: name.clone(), reason };
    let file = File::open(path).map_err(|error| unreadable(reason(&error)))?;
    let metadata = file.metadata().map_err(|error| unreadable(reason(&error)))?;
    if metadata.is_dir() {
        return Err(unreadable("is a directory".to_owned()));
    }
    if metadata.is_file() && metadata.len() > FILE_BYTES_MAX as u64 {
        return Err(ReadError::TooLarge { name, size: format!("{} bytes", metadata.len()) });
    }
    read_from(file, &name)
}

/// Reads a flow from a pipe, say; `name` is what people call it.
///
/// # Errors
/// As [`read_file`].
pub fn read_from(reader: impl Read, name: &str) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    if let Err(error) = reader.take(limit).read_to_end(&mut bytes) {
        return Err(ReadError::Unreadable { name: name.to_owned(), reason: reason(&error) });
    }
    if bytes.len() > FILE_BYTES_MAX {
        let size = format!("more than {FILE_BYTES_MAX} bytes");
        return Err(ReadError::TooLarge { name: name.to_owned(), size });
    }
    Ok(bytes)
}

fn reason(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::NotFound, "no such file"),
        (io::ErrorKind::IsADirectory, "is a directory"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
    ];
    let words = known.iter().find(|(kind, _)| *kind == error.kind()).map(|(_, words)| *words);
    words.map_or_else(|| error.to_string(), str::to_owned)
}
