//! The runs that `rr run` did on a private mesh: their history, output and final state, kept for a while.
//!
//! Invariants: each run has a directory of its own, locked while a process uses it; only the newest are kept, and none
//! that is in use is ever removed.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rr_schemas::{id::RunId, view::RunView};
use serde::{Deserialize, Serialize};

use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::local::{self, Occupied};

/// Private runs that are kept.
pub(crate) const KEPT_MAX: usize = 20;

const RUN_FILE: &str = "run.json";

/// The private runs of this user.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    runs: PathBuf,
}

/// What is kept of a run beside its store.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Header {
    /// Version of the `rr` that ran it.
    pub(crate) rr: String,
    /// When it was started.
    pub(crate) since: Timestamp,
    /// The run: at first as it was submitted, in the end whole.
    pub(crate) view: RunView,
}

/// A run in the archive.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// What is kept of it.
    pub(crate) header: Header,
    /// Whether a process works on it now.
    pub(crate) is_live: bool,
}

impl Archive {
    /// The archive below a state directory.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { runs: state_dir.join("runs") }
    }

    /// Makes the directory of a new run and takes it for this process.
    ///
    /// # Errors
    /// There is a run with this id (73), or the directory cannot be made (78).
    pub(crate) fn create(&self, run: &RunId) -> Result<Occupied, CliError> {
        let dir = self.dir(run);
        if dir.join(RUN_FILE).exists() {
            return Err(CliError::new(Exit::Taken, format_args!("there is a run \"{run}\" already"))
                .hint(format_args!("look at it with: rr show {run}")));
        }
        local::occupy(&dir)
    }

    /// The directory of a run.
    pub(crate) fn dir(&self, run: &RunId) -> PathBuf {
        self.runs.join(run.as_str())
    }

    /// The run with exactly this id.
    pub(crate) fn find(&self, run: &RunId) -> Option<Kept> {
        open(&self.dir(run)).filter(|kept| kept.header.view.run == *run)
    }

    /// Every run, the newest first. What is no run is passed over.
    pub(crate) fn list(&self) -> Vec<Kept> {
        let dirs = fs::read_dir(&self.runs).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut kept: Vec<Kept> = dirs.filter_map(|dir| open(&dir)).collect();
        kept.sort_by(|a, b| (b.header.since, &b.dir).cmp(&(a.header.since, &a.dir)));
        kept
    }

    /// Removes all but the newest `keep` runs and whatever else a start that failed left behind.
    pub(crate) fn prune(&self, keep: usize) {
        let dirs: Vec<PathBuf> =
            fs::read_dir(&self.runs).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        let newest: Vec<PathBuf> = self.list().into_iter().take(keep).map(|kept| kept.dir).collect();
        for dir in dirs.iter().filter(|dir| !newest.contains(dir)) {
            // Held while it is removed, so that nobody begins to read it meanwhile.
            if let Ok(held) = local::occupy(dir) {
                held.remove();
            }
        }
    }
}

/// Writes what is kept of a run.
///
/// # Errors
/// The file cannot be written (78).
pub(crate) fn keep(dir: &Path, header: &Header) -> Result<(), CliError> {
    let bytes = serde_json::to_vec_pretty(header).map_err(|error| CliError::bug(format!("write JSON: {error}")))?;
    files::write(&dir.join(RUN_FILE), &bytes)
}

fn open(dir: &Path) -> Option<Kept> {
    let header = serde_json::from_slice(&fs::read(dir.join(RUN_FILE)).ok()?).ok()?;
    Some(Kept { dir: dir.to_owned(), header, is_live: local::is_in_use(dir) && local::readable(dir).is_none() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rr_schemas::decision::RunStatus;

    fn header(run: &str, second: i64) -> Header {
        let view = RunView {
            run: run.parse().unwrap(),
            flow: None,
            status: RunStatus::Succeeded,
            started_at: None,
            ended_at: None,
            jobs: Vec::new(),
            problems: Vec::new(),
            retry_of: None,
        };
        Header { rr: "0".to_owned(), since: Timestamp::from_second(second).unwrap(), view }
    }

    fn ids(archive: &Archive) -> Vec<String> {
        archive.list().iter().map(|kept| kept.header.view.run.to_string()).collect()
    }

    #[test]
    fn the_newest_runs_are_kept_and_those_in_use() {
        let state = tempfile::tempdir().unwrap();
        let archive = Archive::new(state.path());
        let mut held = Vec::new();
        for (run, second) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            let occupied = archive.create(&run.parse().unwrap()).unwrap();
            keep(occupied.dir(), &header(run, second)).unwrap();
            held.extend((run == "a").then_some(occupied));
        }
        drop(archive.create(&"half-made".parse().unwrap()).unwrap());
        assert_eq!(ids(&archive), ["d", "c", "b", "a"]);
        archive.prune(2);
        assert_eq!(ids(&archive), ["d", "c", "a"]);
        assert!(!archive.dir(&"half-made".parse().unwrap()).exists());
        let live: Vec<bool> = archive.list().iter().map(|kept| kept.is_live).collect();
        assert_eq!(live, [false, false, true]);
    }

    #[test]
    fn an_id_is_used_once() {
        let state = tempfile::tempdir().unwrap();
        let archive = Archive::new(state.path());
        let run = "a".parse().unwrap();
        let occupied = archive.create(&run).unwrap();
        keep(occupied.dir(), &header("a", 1)).unwrap();
        drop(occupied);
        assert_eq!(archive.create(&run).unwrap_err().exit(), Exit::Taken);
    }
}
