//! A private mesh of this user that runs now: how other calls of `rr` find it.
//!
//! Invariant: a directory is in use as long as its lock is held, and the lock ends with its process, however that ends;
//! what a dead process left behind is not believed.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::exit::Exit;
use crate::files::{self, Lock};

const LOCK_FILE: &str = "lock";
const ADDRESS_FILE: &str = "up.json";
const READ_FILE: &str = "read.json";
const READERS_FILE: &str = "readers";

/// Where a private mesh listens. Whoever can read this may do anything in it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Address {
    /// URL without credentials.
    pub(crate) url: String,
    /// Its only user.
    pub(crate) user: String,
    /// The user's password.
    pub(crate) password: String,
    /// The process that keeps it running.
    pub(crate) pid: u32,
    /// Since when.
    pub(crate) since: Timestamp,
}

/// A directory of a private mesh that this process uses.
#[derive(Debug)]
pub(crate) struct Occupied {
    dir: PathBuf,
    _lock: Lock,
}

/// Where `rr up` keeps its mesh.
pub(crate) fn up_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("up")
}

/// Takes a directory for this process.
///
/// # Errors
/// Another process has it (73, with its pid), or it cannot be made (78).
pub(crate) fn occupy(dir: &Path) -> Result<Occupied, CliError> {
    files::make_dir(dir)?;
    let Some(lock) = files::try_lock(&dir.join(LOCK_FILE))? else {
        let who = read(dir, ADDRESS_FILE).map_or_else(String::new, |address| format!(" by process {}", address.pid));
        return Err(CliError::new(Exit::Taken, format_args!("{} is in use{who}", dir.display()))
            .hint("stop that process, or give another directory in RR_STATE_DIR"));
    };
    // What is there was left by a process that died.
    forget(dir);
    Ok(Occupied { dir: dir.to_owned(), _lock: lock })
}

impl Occupied {
    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Tells others where the mesh listens.
    ///
    /// # Errors
    /// The file cannot be written (78).
    pub(crate) fn announce(&self, address: &Address) -> Result<(), CliError> {
        self.write(ADDRESS_FILE, address)
    }

    /// Tells others where they can read what is kept here; nobody works on it.
    ///
    /// # Errors
    /// The file cannot be written (78).
    pub(crate) fn announce_for_reading(&self, address: &Address) -> Result<(), CliError> {
        self.write(READ_FILE, address)
    }

    /// Takes that back, and says whether somebody still reads.
    ///
    /// # Errors
    /// The lock of the readers cannot be opened (78).
    pub(crate) fn is_read(&self) -> Result<bool, CliError> {
        drop(fs::remove_file(self.dir.join(READ_FILE)));
        Ok(files::try_lock(&self.dir.join(READERS_FILE))?.is_none())
    }

    fn write(&self, file: &str, address: &Address) -> Result<(), CliError> {
        let bytes =
            serde_json::to_vec_pretty(address).map_err(|error| CliError::bug(format!("write JSON: {error}")))?;
        files::write(&self.dir.join(file), &bytes)
    }

    /// Removes the directory with all that is in it.
    pub(crate) fn remove(self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "directory not removed");
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        forget(&self.dir);
    }
}

fn forget(dir: &Path) {
    for file in [ADDRESS_FILE, READ_FILE] {
        drop(fs::remove_file(dir.join(file)));
    }
}

/// The mesh that runs in this directory now, if one does.
pub(crate) fn running(dir: &Path) -> Option<Address> {
    let address = read(dir, ADDRESS_FILE)?;
    if is_in_use(dir) {
        return Some(address);
    }
    drop(fs::remove_file(dir.join(ADDRESS_FILE)));
    None
}

/// Where a living process lets others read what is kept in this directory.
pub(crate) fn readable(dir: &Path) -> Option<Address> {
    read(dir, READ_FILE).filter(|_| is_in_use(dir))
}

/// The same for whoever is about to read there: it is served as long as the lock is held, within reason.
///
/// # Errors
/// The lock of the readers cannot be opened (78).
pub(crate) fn read_along(dir: &Path) -> Result<Option<(Address, Lock)>, CliError> {
    if readable(dir).is_none() {
        return Ok(None);
    }
    let lock = files::try_share(&dir.join(READERS_FILE))?;
    // Only what is still there with the lock in hand is waited for.
    Ok(readable(dir).zip(lock))
}

/// Whether a living process has this directory.
pub(crate) fn is_in_use(dir: &Path) -> bool {
    files::is_locked(&dir.join(LOCK_FILE))
}

fn read(dir: &Path, file: &str) -> Option<Address> {
    serde_json::from_slice(&fs::read(dir.join(file)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn address() -> Address {
        let (url, user, password) = ("nats://127.0.0.1:1".to_owned(), "rr".to_owned(), "secret".to_owned());
        Address { url, user, password, pid: 4_711, since: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_running_mesh_is_found_by_others_and_only_while_it_runs() {
        let state = tempfile::tempdir().unwrap();
        let dir = up_dir(state.path());
        assert_eq!(running(&dir), None);
        let mine = occupy(&dir).unwrap();
        assert_eq!(running(&dir), None);
        mine.announce(&address()).unwrap();
        assert_eq!(running(&dir), Some(address()));
        let mode = fs::metadata(dir.join(ADDRESS_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(mine);
        assert_eq!(running(&dir), None);
    }

    #[test]
    fn what_is_only_read_does_not_run() {
        let state = tempfile::tempdir().unwrap();
        let mine = occupy(state.path()).unwrap();
        assert_eq!(readable(state.path()), None);
        mine.announce_for_reading(&address()).unwrap();
        assert_eq!((running(state.path()), readable(state.path())), (None, Some(address())));
        let reader = read_along(state.path()).unwrap();
        assert!(reader.is_some() && mine.is_read().unwrap());
        assert!(read_along(state.path()).unwrap().is_none());
        drop(reader);
        assert!(!mine.is_read().unwrap());
    }

    #[test]
    fn a_directory_can_be_removed_while_it_is_held() {
        let state = tempfile::tempdir().unwrap();
        let dir = up_dir(state.path());
        occupy(&dir).unwrap().remove();
        assert!(!dir.exists());
    }

    #[test]
    fn a_second_one_is_refused_and_told_by_whom() {
        let state = tempfile::tempdir().unwrap();
        let first = occupy(state.path()).unwrap();
        first.announce(&address()).unwrap();
        let refused = occupy(state.path()).unwrap_err();
        assert_eq!(refused.exit(), Exit::Taken);
        assert!(refused.to_string().contains("by process 4711"), "{refused}");
    }

    #[test]
    fn what_a_dead_process_left_is_not_believed() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(ADDRESS_FILE), serde_json::to_vec(&address()).unwrap()).unwrap();
        assert_eq!(running(state.path()), None);
        assert!(!state.path().join(ADDRESS_FILE).exists());
    }
}
