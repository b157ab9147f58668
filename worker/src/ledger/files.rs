//! The files of a ledger: their lock, their names.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::LedgerError;

/// Takes the lock of a ledger's directory; whoever holds it writes there since when.
pub(super) fn lock(dir: &Path) -> Result<File, LedgerError> {
    let io = |action| move |source| LedgerError::Io { action, dir: dir.to_owned(), source };
    let mut options = OpenOptions::new();
    let mut file =
        options.create(true).read(true).write(true).truncate(false).open(dir.join("lock")).map_err(io("lock"))?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).and_then(|()| write!(file, "{}", Timestamp::now())).map_err(io("lock"))?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut since = String::new();
            file.read_to_string(&mut since).map_err(io("lock"))?;
            Err(LedgerError::Locked { dir: dir.to_owned(), since })
        }
        Err(TryLockError::Error(source)) => Err(io("lock")(source)),
    }
}

/// Numbers of the files, ascending.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix("ledger-")).and_then(|number| number.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where the file with that number lies.
pub(super) fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("ledger-{segment:08}"))
}
