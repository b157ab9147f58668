//! `rr restore`: a mesh, made of what `rr backup` wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rr_nats::checkup::Account;
use rr_nats::snapshot::{CHUNK_BYTES, KEPT, PackHash, Packed, RESTORED, SnapshotError, Unpacked};
use rr_nats::topology::{Topology, fitting_copies};
use rr_nats::{Link, subject};
use tokio::time::sleep;

use super::backup::{MANIFEST, Manifest, VERSION, failed, file_of, told};
use super::coordinator::PARTITIONS;
use super::verify;
use crate::cli::RestoreArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::mesh::{self, Place};
use crate::text::bytes;

/// What to do where a restore has broken off.
const AGAIN: &str = "restore again: what is there of this backup already is left, and the rest follows";
/// What to do where only the last words were not heard: all is there by then.
const WHOLE: &str = "the mesh is restored, and whole: look at it with rr verify --all, and start the coordinators; do not restore again";
/// How long a stream is tried again, counted from where its first try broke off. A cluster that has lost a leader has another
/// one within 10 s, and then holds what broke off until no piece of it has come for 5 s.
const TRIED_AGAIN: Duration = Duration::from_mins(1);
/// How long after one try the next one begins.
const PAUSE: Duration = Duration::from_secs(2);

/// Restores and verifies.
pub(crate) async fn restore(ctx: &Context, args: &RestoreArgs) -> Result<Exit, CliError> {
    let dir = &args.dir;
    let manifest = read(dir)?;
    for packed in &manifest.streams {
        check(&dir.join(file_of(&packed.name)), packed)?;
    }
    let link = Place::need(ctx)?.link("restore").await?;
    let there = until_answered(ctx, async || there(&link, &manifest).await).await?;
    let topology = ctx.config.mesh.topology(PARTITIONS);
    let copies = args.replicas.map(usize::from).or(topology.replicas).unwrap_or_else(|| fitting_copies(&link));
    let ordered = RESTORED.into_iter().filter_map(|name| manifest.streams.iter().find(|packed| packed.name == name));
    for packed in ordered {
        if there.contains(packed.name.as_str()) {
            ctx.printer.note(format_args!("{}: there already, of this backup", packed.name));
            continue;
        }
        if u64::try_from(copies).is_ok_and(|copies| copies != packed.copies()) {
            let (name, had) = (&packed.name, packed.copies());
            ctx.printer.note(format_args!("copies of {name}: {copies}, where there were {had}; --replicas N keeps N"));
        }
        let path = dir.join(file_of(&packed.name));
        ctx.printer.note(format_args!("{}: {} bytes to send, which the server unpacks", packed.name, packed.bytes));
        if let Err(error) = unpack(ctx, &link, packed, copies, &path).await {
            return Err(match &error {
                SnapshotError::NoRoom { text, .. } => no_room(&link, &manifest, packed, text).await,
                SnapshotError::Mesh(_) | SnapshotError::File(_) | SnapshotError::Taken(_) => {
                    told(&error, &path).with_hint(may_pass(&link, &error).then_some(AGAIN))
                }
            });
        }
        ctx.printer.note(format_args!("restored {}", packed.name));
    }
    until_answered(ctx, async || is_there(&link, &manifest).await).await?;
    let topology = Topology { replicas: Some(copies), ..topology };
    let (mesh, _) = super::coordinator::make(&link, &topology).await.map_err(|error| unheard(error, AGAIN))?;
    // What went meanwhile was made anew, without a mark.
    until_answered(ctx, async || is_there(&link, &manifest).await).await?;
    for packed in &manifest.streams {
        let forget = async || link.forget_pack(&packed.name).await.map_err(|error| mesh::told(&error));
        until_answered(ctx, forget).await.map_err(|error| unheard(error, WHOLE))?;
    }
    ctx.printer.note(format_args!("the mesh as of {}; open runs go on when a coordinator is up", manifest.at));
    verify::all_of(ctx, &mesh, manifest.at).await.map_err(|error| unheard(error, WHOLE))
}

/// Unpacks a stream, from its beginning again where a try was left without an answer.
async fn unpack(ctx: &Context, link: &Link, packed: &Packed, copies: usize, path: &Path) -> Result<(), SnapshotError> {
    let mut broke_off = None;
    loop {
        let Err(error) = unpack_once(link, packed, copies, path).await else { return Ok(()) };
        // What is there by now, or has taken the room, may be of the try that broke off, and is taken away then.
        let is_left = broke_off.is_some() && matches!(error, SnapshotError::Taken(_) | SnapshotError::NoRoom { .. });
        if !(is_left || may_pass(link, &error)) || broke_off.get_or_insert_with(Instant::now).elapsed() > TRIED_AGAIN {
            return Err(error);
        }
        ctx.printer.note(format_args!("{}: {error}; it is tried again", packed.name));
        sleep(PAUSE).await;
    }
}

async fn unpack_once(link: &Link, packed: &Packed, copies: usize, path: &Path) -> Result<(), SnapshotError> {
    match link.unpacked(packed).await? {
        // Only the answer to an earlier try was lost.
        Unpacked::Whole => return Ok(()),
        Unpacked::Shell => link.remove_shell(packed).await?,
        Unpacked::Nothing | Unpacked::Used | Unpacked::Another => {}
    }
    let mut file = File::open(path)?;
    link.unpack_stream(packed, copies, || next_piece(&mut file)).await
}

/// Does what may be done twice, again where it was left without an answer.
async fn until_answered<T>(ctx: &Context, mut done: impl AsyncFnMut() -> Result<T, CliError>) -> Result<T, CliError> {
    let begun = Instant::now();
    loop {
        match done().await {
            Err(error) if error.exit() == Exit::Unreachable && begun.elapsed() < TRIED_AGAIN => {
                ctx.printer.note(format_args!("{error}; it is tried again"));
                sleep(PAUSE).await;
            }
            answered => return answered.map_err(|error| unheard(error, AGAIN)),
        }
    }
}

/// An error with what to do where it is only that nobody answers.
fn unheard(error: CliError, hint: &str) -> CliError {
    if error.exit() == Exit::Unreachable { error.hint(hint) } else { error }
}

/// Looks whether all of the backup is still there: what is missing would be made anew, and empty.
async fn is_there(link: &Link, manifest: &Manifest) -> Result<(), CliError> {
    for packed in &manifest.streams {
        let found = link.unpacked(packed).await.map_err(|error| mesh::told(&error))?;
        // Workers that are up may have sent output by now.
        let is_right = match found {
            Unpacked::Whole => true,
            Unpacked::Shell | Unpacked::Used => packed.is_empty(),
            Unpacked::Nothing | Unpacked::Another => false,
        };
        if !is_right {
            let gone = format_args!("{} was restored, and is not there any more as it was", packed.name);
            return Err(CliError::new(Exit::Unknown, gone)
                .hint("is somebody else at work on this mesh? restore again, which says what is in the way"));
        }
    }
    Ok(())
}

/// A stream for which the server has no room: what it needs, what is allowed as far as anybody says, and what to do.
async fn no_room(link: &Link, manifest: &Manifest, packed: &Packed, text: &str) -> CliError {
    let (name, needed, held) = (&packed.name, bytes(packed.room()), bytes(packed.bytes));
    let is_limited = packed.room() > packed.bytes;
    let aside = if is_limited { ", which are set aside at once" } else { "" };
    let all: u64 = manifest.streams.iter().map(Packed::room).fold(0, u64::saturating_add);
    let allowed = match link.account().await {
        Ok(Account { bytes: held, max_bytes: Some(max) }) => {
            format!("its account may store {}, and has stored {}", bytes(max), bytes(held))
        }
        Ok(Account { max_bytes: None, .. }) | Err(_) => "how much the server has it does not tell".to_owned(),
    };
    CliError::new(
        Exit::Config,
        format_args!(
            "the server has no room for stream {name}: it needs {needed} in files{aside} ({held} are in the backup), \
             and {allowed} ({text})"
        ),
    )
    .hint(format_args!(
        "give the mesh {} for each copy, and what its log is to grow (max_file_store of the server, or max_file of the account), or another \
         server, and restore again: what is there of this backup already is left",
        bytes(all)
    ))
}

/// Whether the same request may be answered otherwise in a while: a cluster finds no servers for all copies while it has
/// not noticed yet that one is back, or up.
fn may_pass(link: &Link, error: &SnapshotError) -> bool {
    match error {
        SnapshotError::Mesh(rr_nats::Error::Replicas { .. }) => link.is_clustered(),
        SnapshotError::Mesh(error) => error.is_retryable(),
        SnapshotError::File(_) | SnapshotError::NoRoom { .. } | SnapshotError::Taken(_) => false,
    }
}

/// The streams of this backup that an earlier restore has made, which did not come to its end.
///
/// # Errors
/// Whatever else there is of a mesh is in the way.
async fn there<'a>(link: &Link, manifest: &'a Manifest) -> Result<BTreeSet<&'a str>, CliError> {
    let all = link.streams_there().await.map_err(|error| mesh::told(&error))?;
    let mut of_this_pack = BTreeMap::new();
    for packed in manifest.streams.iter().filter(|packed| all.contains(&packed.name)) {
        let found = link.unpacked(packed).await.map_err(|error| mesh::told(&error))?;
        if matches!(found, Unpacked::Whole | Unpacked::Shell | Unpacked::Used) {
            let _before = of_this_pack.insert(packed.name.as_str(), (found, packed.is_empty()));
        }
    }
    // The log is restored last: an empty stream before it is not half-made then, and what is not of the backup was made
    // behind it.
    let has_log = of_this_pack.get(subject::EVENTS).is_some_and(|(found, _)| *found == Unpacked::Whole);
    let is_others = |name: &String| {
        let is_packed = manifest.streams.iter().any(|packed| packed.name == *name);
        match of_this_pack.get(name.as_str()) {
            Some((found, is_empty)) => *found == Unpacked::Used && !(has_log && *is_empty),
            None => is_packed || !has_log,
        }
    };
    let in_the_way: Vec<&str> = all.iter().filter(|name| is_others(name)).map(String::as_str).collect();
    if in_the_way.is_empty() {
        of_this_pack.retain(|_, (found, is_empty)| *found == Unpacked::Whole || has_log && *is_empty);
        return Ok(of_this_pack.into_keys().collect());
    }
    let text = format!("there is a mesh, or a part of one ({}); nothing was done", in_the_way.join(", "));
    let removals: Vec<String> = in_the_way.iter().map(|name| format!("nats stream rm -f {name}")).collect();
    Err(CliError::new(Exit::Taken, text).hint(format_args!(
        "a mesh is restored where there is none. If this one is lost (its log is gone, or an earlier restore broke off), stop the \
         coordinators, delete exactly these ({}), restore, and start the coordinators",
        removals.join("; ")
    )))
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
    match fault(&manifest) {
        Some(what) => Err(bad(format!("{what}; this is not what rr backup wrote, and nothing was done"))),
        None => Ok(manifest),
    }
}

/// What is wrong with the streams of a manifest: their names become names of files and of streams.
fn fault(manifest: &Manifest) -> Option<String> {
    let mut names = BTreeSet::new();
    for Packed { name, config, .. } in &manifest.streams {
        if !KEPT.contains(&name.as_str()) {
            return Some(format!("{name:?} is no stream of a backup ({} are)", KEPT.join(", ")));
        }
        if !names.insert(name) {
            return Some(format!("{name} is there twice"));
        }
        if config.get("name").and_then(serde_json::Value::as_str) != Some(name) {
            return Some(format!("the configuration of {name} is that of another stream"));
        }
    }
    let has_log = manifest.streams.iter().any(|packed| packed.name == subject::EVENTS);
    (!has_log).then(|| format!("the log, {}, is missing", subject::EVENTS))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_rr_backup_writes_is_believed() {
        let manifest = |names: &[&str]| {
            let packed = |name: &&str| {
                let config = json!({ "name": name });
                Packed { name: (*name).to_owned(), config, state: json!({}), bytes: 0, sha256: String::new() }
            };
            let streams = names.iter().map(packed).collect();
            Manifest { rr_backup: VERSION, at: jiff::Timestamp::UNIX_EPOCH, streams }
        };
        for (names, expected) in [
            (&["KV_rr-runs", "RR_EVENTS"][..], None),
            (&["RR_EVENTS", "../x"][..], Some("\"../x\" is no stream of a backup")),
            (&["RR_EVENTS", "RR_WORK"][..], Some("\"RR_WORK\" is no stream")),
            (&["RR_EVENTS", "RR_EVENTS"][..], Some("RR_EVENTS is there twice")),
            (&["KV_rr-runs"][..], Some("the log, RR_EVENTS, is missing")),
            (&[][..], Some("the log, RR_EVENTS, is missing")),
        ] {
            match (fault(&manifest(names)), expected) {
                (None, None) => {}
                (Some(what), Some(expected)) => assert!(what.contains(expected), "{what}"),
                (what, expected) => panic!("{names:?}: {what:?}, not {expected:?}"),
            }
        }
        let mut other = manifest(&["RR_EVENTS"]);
        other.streams[0].config = json!({ "name": "ORDERS" });
        assert!(fault(&other).is_some_and(|what| what.contains("another stream")));
    }
}
