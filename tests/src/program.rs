//! The programs under test: `rr`, built once for the whole run of the tests, and the machine's nats-server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rr_nats::server::{Binary, Search, default_cache_dir, obtain};
use tokio::sync::OnceCell;

/// The `rr` of this workspace, in the profile and target directory of the test itself.
///
/// # Panics
/// It cannot be built.
pub fn rr() -> &'static Path {
    static RR: OnceLock<PathBuf> = OnceLock::new();
    RR.get_or_init(build)
}

#[expect(clippy::disallowed_methods, reason = "the one place that calls cargo")]
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    // target/<profile>/deps/e2e-…, or target/<profile>/takeover, for which somebody waits who wants to know why.
    let is_test = test.parent().is_some_and(|dir| dir.ends_with("deps"));
    let dir = test.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).expect("a directory of a profile");
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let target = dir.parent().expect("a target directory");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "rr", "--bin", "rr", "--profile", profile, "--target-dir"]);
    command.arg(target).current_dir(root());
    // What cargo tells the program that it runs is not for another cargo: build scripts that look at it would run again
    // each time, and with them whatever rests on what they build.
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
        command.env_remove(name);
    }
    if !is_test {
        command.stderr(Stdio::inherit());
    }
    let built = command.output().expect("cargo");
    assert!(built.status.success(), "failed to build rr: {}", String::from_utf8_lossy(&built.stderr));
    dir.join(format!("rr{}", std::env::consts::EXE_SUFFIX))
}

/// What is tested, as git names it; with `-dirty` where it differs from that. None where git does not know.
#[expect(clippy::disallowed_methods, reason = "the one place that calls git")]
pub fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    let told = git.current_dir(root()).stderr(Stdio::null()).output().ok().filter(|told| told.status.success())?;
    Some(String::from_utf8_lossy(&told.stdout).trim().to_owned())
}

/// The root of the repository.
///
/// # Panics
/// The package does not lie where it belongs.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the root of the repository").to_owned()
}

/// The nats-server that `rr` itself would use, fetched where there is none.
///
/// # Panics
/// There is none and none can be fetched.
pub async fn nats_server() -> Binary {
    static BINARY: OnceCell<Binary> = OnceCell::const_new();
    let search = Search {
        explicit: std::env::var_os("RR_NATS_SERVER").map(Into::into),
        path: std::env::var_os("PATH"),
        cache_dir: cache_dir(),
    };
    let binary = BINARY.get_or_init(|| async { obtain(&search, &|_line| {}).await.expect("a nats-server") });
    binary.await.clone()
}

/// Where the caches of all programs lie.
///
/// # Panics
/// Nobody says where.
pub fn caches() -> PathBuf {
    cache_dir().parent().expect("a directory of caches").to_owned()
}

fn cache_dir() -> PathBuf {
    let (cache, home) = (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"));
    default_cache_dir(cache.as_deref(), home.as_deref()).expect("a cache directory")
}
