//! `rr init --auth`: users with their keys and least rights, as files.
//!
//! Invariants: a seed is never printed, and its file is its owner's alone; a file that is there stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf, absolute};

use rr_core::run::WITHDRAWN_BY;
use rr_nats::rights::{Role, User, configuration, inbox_prefix, new_key};
use rr_nats::topology::Topology;
use rr_schemas::name::{Name, WorkerName};
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::files;
use crate::mesh::Place;

/// The file that a server includes.
const SERVER_FILE: &str = "rr-auth.conf";
/// Who there is when nobody says.
const DEFAULT_ROLES: [&str; 5] =
    ["admin=admin", "coordinator=coordinator", "worker=worker:default", "publisher=publisher", "watcher=watcher"];
/// Where the mesh is when nobody says.
const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

/// Writes the configuration of the server, and for each user a key and a configuration of `rr`.
pub(super) fn write(ctx: &Context, dir: &Path, given: &[String], topology: &Topology) -> Result<Exit, CliError> {
    let default = DEFAULT_ROLES.map(str::to_owned);
    let roles = parse(if given.is_empty() { &default } else { given })?;
    let server = Place::configured(ctx)?.map_or_else(|| DEFAULT_SERVER.to_owned(), |place| place.shown());
    let dir = absolute(dir).map_err(|error| files::failed("find the directory", dir, &error))?;
    let mut written: Vec<(PathBuf, String)> = Vec::new();
    let mut users = Vec::new();
    for (name, role) in roles {
        let (key, seed) = new_key().map_err(CliError::bug)?;
        let seed_file = dir.join(format!("{name}.nk"));
        written.push((dir.join(format!("{name}.yaml")), rr_file(&server, &name, &role)));
        written.push((seed_file, format!("{seed}\n")));
        users.push(User { name, role, key });
    }
    let users_file = dir.join(SERVER_FILE);
    written.push((users_file.clone(), server_file(&users, topology)));
    if let Some((path, _)) = written.iter().find(|(path, _)| path.exists()) {
        return Err(taken(path));
    }
    files::make_dir(&dir)?;
    for (path, text) in &written {
        // The server, which may be another user, reads its file; there is no secret in it.
        create(path, text, if *path == users_file { 0o644 } else { 0o600 })?;
    }
    for user in &users {
        ctx.printer.line(format_args!("{} {}", word(&user.role), dir.join(format!("{}.yaml", user.name)).display()))?;
    }
    ctx.printer.note(format_args!(
        "put {} beside the configuration of nats-server, and into that: include \"{SERVER_FILE}\" \
         (a path there is taken from the configuration's own directory); then: rr --config {} …",
        users_file.display(),
        dir.join("NAME.yaml").display()
    ));
    Ok(Exit::Succeeded)
}

/// Reads `ROLE=NAME` and `worker=NAME:QUEUE,QUEUE`; each name once.
fn parse(given: &[String]) -> Result<BTreeMap<WorkerName, Role>, CliError> {
    let bad = |text: String| CliError::new(Exit::BadInput, text);
    let mut roles = BTreeMap::new();
    for text in given {
        let (role, rest) = text.split_once('=').ok_or_else(|| bad(format!("expected ROLE=NAME, got {text:?}")))?;
        let (name, queues) = rest.split_once(':').map_or((rest, None), |(name, queues)| (name, Some(queues)));
        let name: WorkerName = name.parse().map_err(|error| bad(format!("{text:?}: {error}")))?;
        if name.as_str() == WITHDRAWN_BY {
            return Err(bad(format!("{text:?}: this name belongs to coordinators")));
        }
        let role = match (role, queues) {
            ("worker", queues) => {
                let queues = queues.into_iter().flat_map(|queues| queues.split(','));
                let queues: Result<BTreeSet<Name>, _> = queues.map(str::parse).collect();
                Role::Worker { queues: queues.map_err(|error| bad(format!("{text:?}: queue {error}")))? }
            }
            ("publisher", None) => Role::Publisher,
            ("watcher", None) => Role::Watcher,
            ("coordinator", None) => Role::Coordinator,
            ("admin", None) => Role::Admin,
            ("publisher" | "watcher" | "coordinator" | "admin", Some(_)) => {
                return Err(bad(format!("{text:?}: only a worker has queues")));
            }
            (other, _) => {
                return Err(bad(format!("{other:?} is no role"))
                    .hint("roles are worker, publisher, watcher, coordinator and admin"));
            }
        };
        if roles.insert(name.clone(), role).is_some() {
            return Err(bad(format!("the name {name} is given twice; a login has one role")));
        }
    }
    Ok(roles)
}

const fn word(role: &Role) -> &'static str {
    match role {
        Role::Worker { .. } => "worker",
        Role::Publisher => "publisher",
        Role::Watcher => "watcher",
        Role::Coordinator => "coordinator",
        Role::Admin => "admin",
    }
}

/// JSON is a subset of the server's own syntax, but for comments.
fn server_file(users: &[User], topology: &Topology) -> String {
    let mut text =
        "# Written by rr init --auth. To be included in the configuration of every nats-server of the mesh.\n\
         # What each role may do, and what is not guaranteed: docs/security.md. Users:\n"
            .to_owned();
    for User { key, role, name } in users {
        text.extend(["#   ", key, " ", word(role), " ", name.as_str(), "\n"]);
    }
    let all = format!("{:#}", configuration(users, topology));
    // What stands in braces would be a value, which cannot be included.
    text.push_str(all.strip_prefix('{').and_then(|all| all.strip_suffix('}')).unwrap_or(&all));
    text
}

/// JSON is a subset of YAML too.
/// It names the seed beside it, so that both can be moved to where the user is.
fn rr_file(server: &str, name: &WorkerName, role: &Role) -> String {
    let seed = format!("{name}.nk");
    let mut all = json!({ "server": server, "nkey": seed, "inbox-prefix": inbox_prefix(name) });
    if let (Role::Worker { queues }, Some(all)) = (role, all.as_object_mut()) {
        let mut worker = json!({ "name": name.as_str() });
        if let (false, Some(worker)) = (queues.is_empty(), worker.as_object_mut()) {
            let queues: Vec<&str> = queues.iter().map(Name::as_str).collect();
            worker.insert("queues".to_owned(), queues.join(":").into());
        }
        all.insert("worker".to_owned(), worker);
    }
    format!("# {} {name}\n{all:#}\n", word(role))
}

fn taken(path: &Path) -> CliError {
    CliError::new(Exit::Taken, format_args!("{} is there already; nothing was written", path.display()))
        .hint("give another directory, or other names")
}

/// Makes a file that is not there.
fn create(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists { taken(path) } else { files::failed("write", path, &error) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_role_and_a_name() {
        let given = ["worker=w1:a,b", "worker=w2", "admin=root"].map(str::to_owned);
        let roles = parse(&given).unwrap();
        let words: Vec<(&str, &str)> = roles.iter().map(|(name, role)| (name.as_str(), word(role))).collect();
        assert_eq!(words, [("root", "admin"), ("w1", "worker"), ("w2", "worker")]);
        for wrong in ["worker", "king=x", "worker=", "worker=a b", "worker=*", "worker=_rr", "worker=w:", "watcher=w:q"]
        {
            assert_eq!(parse(&[wrong.to_owned()]).unwrap_err().exit(), Exit::BadInput, "{wrong}");
        }
        let twice = ["worker=a", "publisher=a"].map(str::to_owned);
        assert!(parse(&twice).unwrap_err().to_string().contains("twice"));
        assert_eq!(parse(&DEFAULT_ROLES.map(str::to_owned)).unwrap().len(), 5);
    }
}
