//! Files of the state directory: private to the user, replaced whole, locked while in use.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::CliError;
use crate::exit::Exit;

/// How often a lock is tried, see [`try_lock`].
const ASKERS_MAX: usize = 50;

/// Makes a directory that only the user may enter, with its parents.
///
/// # Errors
/// It cannot be made (78).
pub(crate) fn make_dir(path: &Path) -> Result<(), CliError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed("make the directory", path, &error))
}

/// Writes a file that only the user may read, whole or not at all.
///
/// # Errors
/// It cannot be written (78).
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&new, path));
    written.map_err(|error| failed("write", path, &error))
}

/// Something about a file of the state directory failed.
pub(crate) fn failed(what: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::new(Exit::Config, format_args!("cannot {what} {}: {error}", path.display()))
        .hint("the state directory can be set with RR_STATE_DIR")
}

/// A lock on a file; it ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

/// Takes the lock at `path` if nobody has it.
///
/// # Errors
/// The file cannot be opened (78).
pub(crate) fn try_lock(path: &Path) -> Result<Option<Lock>, CliError> {
    try_flock(path, FlockOperation::NonBlockingLockExclusive)
}

/// Takes the lock at `path` together with others who share it, if nobody has it alone.
///
/// # Errors
/// The file cannot be opened (78).
pub(crate) fn try_share(path: &Path) -> Result<Option<Lock>, CliError> {
    try_flock(path, FlockOperation::NonBlockingLockShared)
}

fn try_flock(path: &Path, operation: FlockOperation) -> Result<Option<Lock>, CliError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed("open", path, &error))?;
    // Who only asks whether it is locked holds it for a moment; a few tries outlast that.
    for _ in 0..ASKERS_MAX {
        match flock(&file, operation) {
            Ok(()) => return Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::yield_now(),
            Err(error) => return Err(failed("lock", path, &error.into())),
        }
    }
    Ok(None)
}

/// Whether somebody has the lock at `path`. Asking does not disturb who is about to take it for more than a moment.
pub(crate) fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn files_are_private_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        make_dir(&inner).unwrap();
        let path = inner.join("f");
        write(&path, b"one, long").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = try_lock(&path).unwrap();
        assert!(first.is_some() && try_lock(&path).unwrap().is_none());
        drop(first);
        assert!(try_lock(&path).unwrap().is_some());
    }

    #[test]
    fn those_who_share_a_lock_keep_others_off_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let both = (try_share(&path).unwrap(), try_share(&path).unwrap());
        assert!(both.0.is_some() && both.1.is_some() && try_lock(&path).unwrap().is_none());
        drop(both);
        let alone = try_lock(&path).unwrap();
        assert!(alone.is_some() && try_share(&path).unwrap().is_none());
    }
}
