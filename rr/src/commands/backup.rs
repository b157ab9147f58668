//! `rr backup`: a mesh, written into a directory.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use jiff::Timestamp;
use rr_nats::snapshot::{KEPT, Packed, SnapshotError};
use serde::{Deserialize, Serialize};

use crate::cli::BackupArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh::{self, Place};

/// The file that says what the others are; it is written last, so a backup without it is none.
pub(super) const MANIFEST: &str = "backup.json";
/// The same while it is written.
const UNFINISHED: &str = "backup.json.part";
/// What others may do with a directory or a file.
const OTHERS: u32 = 0o077;
/// The version of the form that this build writes; it reads no later one.
pub(super) const VERSION: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Manifest {
    /// Version of the form.
    pub(super) rr_backup: u32,
    /// When it was begun, by the clock of the server.
    pub(super) at: Timestamp,
    /// The streams, in the order in which they were packed.
    pub(super) streams: Vec<Packed>,
}

/// The file of a stream.
pub(super) fn file_of(stream: &str) -> String {
    format!("{stream}.tar.s2")
}

/// Writes a backup.
pub(crate) async fn backup(ctx: &Context, args: &BackupArgs) -> Result<Exit, CliError> {
    let dir = &args.dir;
    let mesh = Place::need(ctx)?.connect("backup").await?;
    make_empty(dir)?;
    let at = mesh.server_time().await.map_err(|error| mesh::told(&error))?;
    let there = mesh.link().streams_there().await.map_err(|error| mesh::told(&error))?;
    let mut streams = Vec::new();
    for name in KEPT.into_iter().filter(|name| there.iter().any(|there| there == name)) {
        let path = dir.join(file_of(name));
        let held = mesh.link().stream_bytes(name).await.map_err(|error| mesh::told(&error))?;
        ctx.printer.note(format_args!("{name}: the server checks {held} bytes and packs them"));
        let mut file = BufWriter::new(create(&path)?);
        let packed = mesh.link().pack_stream(name, held, |bytes| file.write_all(bytes)).await;
        let packed = packed.map_err(|error| told(&error, &path))?;
        let synced = file.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        synced.map_err(|error| failed(&path, &error))?;
        if !ctx.printer.is_json() {
            ctx.printer.line(format_args!("{name}: {} messages, {} bytes", packed.messages(), packed.bytes))?;
        }
        streams.push(packed);
    }
    let manifest = Manifest { rr_backup: VERSION, at, streams };
    write(dir, &manifest)?;
    if ctx.printer.is_json() {
        ctx.printer.json_document(&manifest)?;
    }
    mesh.drain().await;
    Ok(Exit::Succeeded)
}

/// A directory with nothing in it that its owner alone may read, whoever has made it.
fn make_empty(dir: &Path) -> Result<(), CliError> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        let text = format_args!("{} is not empty; nothing was written", dir.display()).to_string();
        return Err(CliError::new(Exit::Taken, text).hint("give another directory"));
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| failed(dir, &error))?;
    let permissions = || fs::metadata(dir).map(|found| found.permissions().mode()).map_err(|error| failed(dir, &error));
    if permissions()? & OTHERS == 0 {
        return Ok(());
    }
    let changed = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    let left = permissions()?;
    if left & OTHERS == 0 {
        return Ok(());
    }
    let why = changed.err().map(|error| format!(" ({error})")).unwrap_or_default();
    let dir = dir.display();
    let text = format!(
        "others may enter {dir} (mode {:04o}), and that cannot be changed{why}; nothing was written",
        left & 0o7777
    );
    Err(CliError::new(Exit::Config, text).hint("a backup holds secrets: give a directory that is yours alone"))
}

/// Writes the manifest: it is there whole, and on the disk, or not at all.
fn write(dir: &Path, manifest: &Manifest) -> Result<(), CliError> {
    let text = serde_json::to_vec_pretty(manifest).map_err(|error| CliError::bug(format!("write JSON: {error}")))?;
    let (unfinished, path) = (dir.join(UNFINISHED), dir.join(MANIFEST));
    let mut file = create(&unfinished)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(|error| failed(&unfinished, &error))?;
    // The files of the streams are on the disk already; their names are, too, when the directory is.
    let sync = |dir: &Path| File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| failed(dir, &error));
    sync(dir)?;
    fs::rename(&unfinished, &path).map_err(|error| failed(&path, &error))?;
    sync(dir)
}

fn create(path: &Path) -> Result<File, CliError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| failed(path, &error))
}

/// A stream that was not packed or unpacked. What its server would need is the restore's to say.
pub(super) fn told(error: &SnapshotError, path: &Path) -> CliError {
    match error {
        SnapshotError::Mesh(error) => mesh::told(error),
        SnapshotError::File(error) => failed(path, error),
        SnapshotError::NoRoom { .. } => CliError::new(Exit::Config, error),
        SnapshotError::Taken(_) => CliError::new(Exit::Taken, error).hint(
            "a coordinator that was started meanwhile, rr init, or a restore before this one that the server has still to \
             finish: see that none of them is at work, and restore again, which says what is in the way",
        ),
    }
}

/// A file that cannot be written or read.
pub(super) fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(Exit::Config, format_args!("{}: {error}", path.display()))
}
