//! The server's configuration file: the only place where its password is written, readable by its owner only.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Config, Durability};

/// The system's source of randomness.
pub(super) const RANDOM: &str = "/dev/urandom";

/// The largest message: the default of NATS, which clients know; larger values go into the object store.
const PAYLOAD_MAX: u32 = 1 << 20;

/// The user and password of one server, made anew for each.
pub(super) struct Credentials {
    /// The user.
    pub(super) user: String,
    /// 32 hex characters.
    pub(super) password: String,
}

impl Credentials {
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0_u8; 16];
        File::open(RANDOM)?.read_exact(&mut bytes)?;
        Ok(Self { user: "rr".to_owned(), password: format!("{:032x}", u128::from_ne_bytes(bytes)) })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Writes the configuration for a server on `port`; gives back where.
pub(super) fn write(config: &Config, credentials: &Credentials, port: u16, ports_dir: &Path) -> io::Result<PathBuf> {
    let path = config.run_dir.join("nats-server.conf");
    // Made anew each time, as the mode counts only when a file is made.
    remove_file(&path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let text = format!("{:#}\n", settings(config, credentials, port, ports_dir)?);
    file.write_all(text.as_bytes())?;
    Ok(path)
}

/// JSON is a subset of the server's own syntax, and its strings take any path.
fn settings(config: &Config, credentials: &Credentials, port: u16, ports_dir: &Path) -> io::Result<Value> {
    let mut jetstream = json!({ "store_dir": text(&config.store_dir)?, "max_file_store": config.file_store_max });
    match config.durability {
        Durability::Periodic => {}
        Durability::EveryWrite => set(&mut jetstream, "sync_interval", "always"),
    }
    let mut all = json!({
        "host": "127.0.0.1",
        "port": port,
        "ports_file_dir": text(ports_dir)?,
        "max_payload": PAYLOAD_MAX,
        "authorization": { "user": credentials.user, "password": credentials.password },
        "jetstream": jetstream,
    });
    if let Some(name) = &config.name {
        set(&mut all, "server_name", name);
    }
    Ok(all)
}

fn set(object: &mut Value, key: &str, value: &str) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value.into());
    }
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"))
}

/// Makes a directory, and those above it, for its owner only; one that is there stays as it is.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes a file that may be missing.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
