//! Where a nats-server may lie: named explicitly, on `PATH`, in rr's cache, in this order.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::binary::{Binary, Unusable};
use super::fetch::PINNED;

/// The program's file name.
pub(super) const PROGRAM: &str = "nats-server";

/// Where to look, with the values of the environment passed in.
#[derive(Debug, Clone)]
pub struct Search {
    /// The program that the user named (`RR_NATS_SERVER`); an empty path counts as none.
    pub explicit: Option<PathBuf>,
    /// The value of `PATH`; relative entries are not looked into.
    pub path: Option<OsString>,
    /// rr's cache directory, see [`default_cache_dir`].
    pub cache_dir: PathBuf,
}

/// Looks for a usable nats-server; `None` means that there is none and none was named.
///
/// What cannot be used on `PATH` or in the cache is warned of and passed over.
///
/// # Errors
/// [`Unusable`], only of the program that the user named: to take another one in silence would hide the mistake.
pub async fn find(search: &Search) -> Result<Option<Binary>, Unusable> {
    if let Some(named) = search.explicit.as_deref().filter(|path| !path.as_os_str().is_empty()) {
        let absolute =
            std::path::absolute(named).map_err(|source| Unusable::Start { path: named.to_owned(), source })?;
        return Binary::probe(&absolute).await.map(Some);
    }
    for path in on_path(search.path.as_deref(), PROGRAM) {
        if let Some(binary) = usable(&path).await {
            return Ok(Some(binary));
        }
    }
    Ok(cached(&search.cache_dir).await)
}

/// The cached program, when it is there and can be used.
pub(super) async fn cached(cache_dir: &Path) -> Option<Binary> {
    let path = std::path::absolute(cached_path(cache_dir)).ok()?;
    if is_executable(&path) { usable(&path).await } else { None }
}

/// Where the fetched program lies; the version is in the path, so that another rr with another pin has its own.
pub(super) fn cached_path(cache_dir: &Path) -> PathBuf {
    cache_dir.join(format!("{PROGRAM}-{PINNED}")).join(PROGRAM)
}

/// The executable files called `program` in the absolute directories of a `PATH`, in its order.
pub(super) fn on_path(path: Option<&OsStr>, program: &str) -> Vec<PathBuf> {
    path.into_iter()
        .flat_map(std::env::split_paths)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(program))
        .filter(|file| is_executable(file))
        .collect()
}

async fn usable(path: &Path) -> Option<Binary> {
    match Binary::probe(path).await {
        Ok(binary) => Some(binary),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "nats-server passed over");
            None
        }
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// rr's cache directory from the values of `XDG_CACHE_HOME` and `HOME`; `None` when neither says where.
///
/// A relative `XDG_CACHE_HOME` is ignored, as its specification demands. Without it the cache lies where the
/// system's caches lie: `~/Library/Caches` on macOS, `~/.cache` elsewhere.
pub fn default_cache_dir(xdg: Option<&OsStr>, home: Option<&OsStr>) -> Option<PathBuf> {
    let absolute = |value: Option<&OsStr>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    let in_home = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    let caches = absolute(xdg).or_else(|| Some(absolute(home)?.join(in_home)))?;
    Some(caches.join("rr"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use super::default_cache_dir;

    #[test]
    fn the_cache_lies_where_the_environment_says() {
        let home = if cfg!(target_os = "macos") { "/h/Library/Caches/rr" } else { "/h/.cache/rr" };
        for (xdg, env_home, dir) in [
            (Some("/x"), Some("/h"), Some("/x/rr")),
            (Some("/x"), None, Some("/x/rr")),
            (None, Some("/h"), Some(home)),
            (Some(""), Some("/h"), Some(home)),
            (Some("relative"), Some("/h"), Some(home)),
            (None, Some(""), None),
            (None, Some("relative"), None),
            (None, None, None),
        ] {
            let found = default_cache_dir(xdg.map(OsStr::new), env_home.map(OsStr::new));
            assert_eq!(found.as_deref(), dir.map(Path::new), "XDG_CACHE_HOME={xdg:?} HOME={env_home:?}");
        }
    }
}
