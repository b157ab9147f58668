//! The directories that attempts run in, and their removal, whatever the attempts have made of them.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::spawn::SpawnError;
use super::spec::Cwd;

/// What the names of fresh directories begin with.
const PREFIX: &str = "attempt-";

/// What the owner needs to empty a directory.
const OWNER_ALL: u32 = 0o700;

/// Removes the directories of attempts that an earlier life of the worker left. What cannot be removed is told, and stays:
/// a new directory never bears the name of an old one.
pub fn clear(parent: &Path) {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) => return tracing::warn!(path = %parent.display(), %error, "old directories of attempts not found"),
    };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && let Err(error) = remove(&entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "directory of an earlier attempt not removed");
        }
    }
}

/// Removes a tree. Directories that their attempt has closed to us are opened, once.
fn remove(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_dir() {
        return fs::remove_file(path);
    }
    fs::remove_dir_all(path).or_else(|_| {
        unlock(path);
        fs::remove_dir_all(path)
    })
}

/// Lets us into every directory of a tree. What fails, the removal says.
fn unlock(dir: &Path) {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        if let Ok(found) = fs::symlink_metadata(&dir) {
            let mode = found.permissions().mode() | OWNER_ALL;
            fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap_or_default();
        }
        // A link to a directory is none.
        let entries = fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok);
        dirs.extend(entries.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir())).map(|it| it.path()));
    }
}

/// The directory of one attempt.
#[derive(Debug)]
pub(super) enum Dir<'a> {
    Given(&'a Path),
    Fresh(Fresh),
}

impl<'a> Dir<'a> {
    /// Makes a fresh directory where one is wanted.
    pub(super) fn make(cwd: &'a Cwd) -> Result<Self, SpawnError> {
        match cwd {
            Cwd::Given(path) => Ok(Self::Given(path)),
            Cwd::Fresh(parent) => {
                let path = parent.join(format!("{PREFIX}{:016x}", fastrand::u64(..)));
                let made = DirBuilder::new().mode(0o700).create(&path);
                made.map_err(|error| SpawnError::BadCwd(path.clone(), error))?;
                Ok(Self::Fresh(Fresh(Some(path))))
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Fresh(fresh) => fresh.0.as_deref().unwrap_or_else(|| Path::new("/")),
        }
    }

    /// Removes it if it was made for the attempt. What cannot be removed is told, and stays.
    pub(super) async fn remove(self) {
        match self {
            Self::Given(_) => {}
            Self::Fresh(mut fresh) => {
                let Some(path) = fresh.0.take() else { return };
                let removed = tokio::task::spawn_blocking(move || (remove(&path), path)).await;
                if let Ok((Err(error), path)) = removed {
                    tracing::warn!(path = %path.display(), %error, "directory of an attempt not removed");
                }
            }
        }
    }
}

/// A directory that is removed, at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct Fresh(Option<PathBuf>);

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The attempt was dropped half-way; what cannot be removed now, the worker removes when it starts again.
            remove(path).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::{clear, unlock};

    #[test]
    fn whatever_earlier_attempts_left_goes_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        fs::create_dir_all(at("attempt-1/closed/inner")).unwrap();
        fs::write(at("attempt-1/closed/inner/file"), "").unwrap();
        fs::create_dir_all(at("other/kept")).unwrap();
        fs::write(at("attempt-2"), "no directory").unwrap();
        symlink(at("other"), at("attempt-3")).unwrap();
        symlink(at("other"), at("attempt-1/link")).unwrap();
        for closed in ["attempt-1/closed/inner", "attempt-1/closed", "attempt-1"] {
            fs::set_permissions(at(closed), fs::Permissions::from_mode(0o555)).unwrap();
        }
        clear(parent.path());
        let left: Vec<_> = fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["other"]);
        assert!(at("other/kept").is_dir(), "no link is followed");
        clear(&at("absent"));
    }

    #[test]
    fn a_closed_tree_is_opened_without_following_links() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        fs::create_dir_all(at("tree/inner")).unwrap();
        fs::create_dir(at("other")).unwrap();
        symlink(at("other"), at("tree/link")).unwrap();
        for closed in ["tree/inner", "tree", "other"] {
            fs::set_permissions(at(closed), fs::Permissions::from_mode(0o055)).unwrap();
        }
        unlock(&at("tree"));
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode("tree"), mode("tree/inner"), mode("other")], [0o755, 0o755, 0o055]);
    }
}
