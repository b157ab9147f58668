//! `rr restore`: a mesh, made of what `rr backup` wrote.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use rr_nats::Topology;
use rr_nats::snapshot::{CHUNK_BYTES, PackHash, Packed};

use super::backup::{MANIFEST, Manifest, VERSION, failed, file_of, told};
use super::coordinator::PARTITIONS;
use super::verify;
use crate::cli::RestoreArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh::{self, Place};

/// Restores and verifies.
pub(crate) async fn restore(ctx: &Context, args: &RestoreArgs) -> Result<Exit, CliError> {
    let dir = &args.dir;
    let manifest = read(dir)?;
    for packed in &manifest.streams {
        check(&dir.join(file_of(&packed.name)), packed)?;
    }
    let link = Place::need(ctx)?.link("restore").await?;
    let there = link.streams_there().await.map_err(|error| mesh::told(&error))?;
    if !there.is_empty() {
        let text = format_args!("there is a mesh, or a part of one ({}); nothing was done", there.join(", "));
        return Err(CliError::new(Exit::Taken, text.to_string()).hint(
            "a mesh is restored on a server that has none; of one that has lost only its log, delete the rest first",
        ));
    }
    let replicas = args.replicas.map(usize::from);
    for packed in &manifest.streams {
        let path = dir.join(file_of(&packed.name));
        let mut file = File::open(&path).map_err(|error| failed(&path, &error))?;
        let source = || next_piece(&mut file);
        link.unpack_stream(packed, replicas, source).await.map_err(|error| told(&error, &path))?;
        ctx.printer.note(format_args!("restored {}", packed.name));
    }
    let topology =
        Topology { replicas: replicas.or_else(|| copies(&manifest)), ..ctx.config.mesh.topology(PARTITIONS) };
    let (mesh, _) = super::coordinator::make(&link, &topology).await?;
    ctx.printer.note(format_args!("the mesh as of {}; open runs go on when a coordinator is up", manifest.at));
    verify::all_of(ctx, &mesh, manifest.at).await
}

/// Copies of each stream that there were.
fn copies(manifest: &Manifest) -> Option<usize> {
    let packed = manifest.streams.first()?;
    packed.config.get("num_replicas")?.as_u64().and_then(|n| usize::try_from(n).ok())
}

fn read(dir: &Path) -> Result<Manifest, CliError> {
    let path = dir.join(MANIFEST);
    let text = fs::read(&path).map_err(|error| {
        CliError::new(Exit::Unknown, format_args!("{}: {error}", path.display()))
            .hint("rr backup writes this file last; without it a backup is not whole")
    })?;
    let bad = |what: String| CliError::new(Exit::BadInput, format_args!("{}: {what}", path.display()));
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if manifest.rr_backup > VERSION {
        return Err(bad(format!("version {} is newer than this rr understands ({VERSION})", manifest.rr_backup)));
    }
    Ok(manifest)
}

/// Whether a file is what was written.
fn check(path: &Path, packed: &Packed) -> Result<(), CliError> {
    let mut file =
        File::open(path).map_err(|error| CliError::new(Exit::Unknown, format_args!("{}: {error}", path.display())))?;
    let mut hash = PackHash::default();
    while let Some(piece) = next_piece(&mut file).map_err(|error| failed(path, &error))? {
        hash.update(&piece);
    }
    if hash.finish() == packed.sha256 {
        return Ok(());
    }
    Err(CliError::new(Exit::BadInput, format_args!("{}: not what rr backup wrote; nothing was done", path.display())))
}

fn next_piece(file: &mut File) -> std::io::Result<Option<Vec<u8>>> {
    let mut piece = Vec::with_capacity(CHUNK_BYTES);
    let limit = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
    file.by_ref().take(limit).read_to_end(&mut piece)?;
    Ok((!piece.is_empty()).then_some(piece))
}
