//! Who may do what: the least subjects of each role, as a configuration of nats-server.
//!
//! Coordinators and the streams are in one account, workers and people in two others that import single subjects of it.
//! The border between accounts is what holds: the server sends answers of `JetStream` and of services to whatever reply
//! subject a request names, without asking whether the requester may publish there. In one account a worker that may
//! do nothing but pull its own offers can so delete every stream (`CONSUMER.MSG.NEXT`, answered by an empty status to
//! `$JS.API.STREAM.DELETE.…`). Answers that cross a border go to the requester's account and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use rr_schemas::{
    flow::Priority,
    name::{Name, WorkerName},
};
use serde_json::{Value, json};

use crate::{
    subject::{self, EVENTS, OUTPUT, QUARANTINE, TIMERS, WORK},
    topology::Topology,
};

/// The account of the streams, the coordinators and whoever looks after them.
pub const ACCOUNT: &str = "RR";
/// The account of workers.
pub const ACCOUNT_WORKERS: &str = "RR_WORKERS";
/// The account of publishers and watchers.
pub const ACCOUNT_USERS: &str = "RR_USERS";

/// For how long answers to a pull may come; longer than a pull lasts.
const ANSWERS_WITHIN: &str = "20s";

/// What somebody does.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// Runs what it is offered, on its hosts and from these queues.
    Worker {
        /// The queues.
        queues: BTreeSet<Name>,
    },
    /// Starts and stops runs.
    Publisher,
    /// Looks, and changes nothing.
    Watcher,
    /// Takes decisions.
    Coordinator,
    /// Makes the mesh, and may do everything in it.
    Admin,
}

impl Role {
    /// The account that it belongs to.
    pub const fn account(&self) -> &'static str {
        match self {
            Self::Worker { .. } => ACCOUNT_WORKERS,
            Self::Publisher | Self::Watcher => ACCOUNT_USERS,
            Self::Coordinator | Self::Admin => ACCOUNT,
        }
    }
}

/// A login with its role.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Its name; answers to it come to `_INBOX_<name>`.
    pub name: WorkerName,
    /// What it does.
    pub role: Role,
    /// The public half of its nkey.
    pub key: String,
}

/// Subjects that somebody may use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rights {
    /// May publish to.
    pub publish: Vec<String>,
    /// But not to.
    pub deny_publish: Vec<String>,
    /// May subscribe to.
    pub subscribe: Vec<String>,
}

/// A new key: its public half and its seed.
///
/// # Errors
/// The system has no randomness.
pub fn new_key() -> Result<(String, String), String> {
    let key = nkeys::KeyPair::new_user();
    let seed = key.seed().map_err(|error| error.to_string())?;
    Ok((key.public_key(), seed))
}

/// Where answers to somebody come.
pub fn inbox_prefix(name: &WorkerName) -> String {
    format!("_INBOX_{name}")
}

/// What a role needs and no more.
pub fn rights(name: &WorkerName, role: &Role, topology: &Topology) -> Rights {
    let mut rights = match role {
        Role::Worker { queues } => worker(name, queues),
        Role::Publisher => publisher(),
        Role::Watcher => watcher(topology),
        Role::Coordinator => coordinator(),
        Role::Admin => Rights { publish: vec![">".to_owned()], subscribe: vec![">".to_owned()], ..Rights::default() },
    };
    if *role != Role::Admin {
        rights.publish.insert(0, "$JS.API.INFO".to_owned());
        rights.subscribe.insert(0, format!("{}.>", inbox_prefix(name)));
    }
    rights
}

const RUNS: &str = "KV_rr-runs";
const WORKERS: &str = "KV_rr-workers";
const LOCKS: &str = "KV_rr-locks";

fn all<const N: usize>(subjects: [&str; N]) -> Vec<String> {
    subjects.map(str::to_owned).into()
}

fn api(operation: &str, streams: &[&str], rest: &str) -> Vec<String> {
    streams.iter().map(|stream| format!("$JS.API.{operation}.{stream}{rest}")).collect()
}

fn worker(name: &WorkerName, queues: &BTreeSet<Name>) -> Rights {
    let mut publish = api("STREAM.INFO", &[EVENTS, WORKERS], "");
    publish.extend(api("STREAM.MSG.GET", &[WORKERS, LOCKS], ""));
    publish.push(subject::bucket_key(subject::BUCKET_WORKERS, &subject::worker_key(name)));
    publish.push(all_locks());
    publish.push(subject::join(name));
    let of_queue = |queue| Priority::ALL.into_iter().map(move |priority| subject::queue_durable(queue, priority));
    for durable in std::iter::once(subject::host_durable(name)).chain(queues.iter().flat_map(of_queue)) {
        publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{WORK}.{durable}"));
        publish.push(format!("$JS.ACK.{WORK}.{durable}.>"));
    }
    publish.push(format!("rr.in.*.*.w.{name}"));
    publish.push(format!("rr.in.*.*.claim.*.*.{name}.*"));
    publish.push(format!("rr.out.{name}.*.*"));
    publish.push(subject::bad(crate::Finder::Worker(name)));
    Rights { publish, subscribe: vec![subject::control(name), all_locks()], ..Rights::default() }
}

/// Every lock. Whoever may take one may take, and take away, all of them: a lock belongs to nobody beforehand.
fn all_locks() -> String {
    subject::bucket_key(subject::BUCKET_LOCKS, "*")
}

/// A reader's own consumer of a stream.
fn reading(streams: &[&str]) -> Vec<String> {
    let operations = [("CONSUMER.CREATE", ".>"), ("CONSUMER.MSG.NEXT", ".*"), ("CONSUMER.DELETE", ".*")];
    operations.into_iter().flat_map(|(operation, rest)| api(operation, streams, rest)).collect()
}

fn publisher() -> Rights {
    let mut publish = api("STREAM.INFO", &[EVENTS, RUNS, LOCKS], "");
    publish.extend(api("STREAM.MSG.GET", &[RUNS, LOCKS], ""));
    // No consumer of locks: it would deliver what a publisher has written there to any subject.
    publish.push(all_locks());
    // Who is there, for the warning that nobody is.
    publish.extend(reading(&[WORKERS]));
    publish.push(subject::ALL_REQUESTS.to_owned());
    publish.push(subject::API.to_owned());
    Rights { publish, subscribe: vec![all_locks()], ..Rights::default() }
}

fn watcher(topology: &Topology) -> Rights {
    let mut publish = api("STREAM.INFO", &[EVENTS, WORK, OUTPUT, QUARANTINE, RUNS, WORKERS, LOCKS], "");
    publish.extend(api("STREAM.MSG.GET", &[EVENTS, QUARANTINE, RUNS, WORKERS, LOCKS], ""));
    publish.extend(api("DIRECT.GET", &[EVENTS], ""));
    publish.extend(reading(&[EVENTS, OUTPUT, RUNS, WORKERS]));
    publish.extend(all(["$JS.API.CONSUMER.LIST.RR_WORK", "$JS.API.CONSUMER.NAMES.RR_EVENTS"]));
    publish.extend(["status", "list"].map(subject::endpoint));
    publish.extend(all(["$SRV.*", "$SRV.*.rr", "$SRV.*.rr.*"]));
    // The consumers of the partitions are of the same stream, and no pattern tells a reader's from them.
    let partitions =
        (0..topology.partitions).map(|partition| subject::partition_durable(rr_schemas::id::Partition(partition)));
    let deny_publish = partitions
        .flat_map(|durable| {
            ["CREATE", "MSG.NEXT", "DELETE"]
                .into_iter()
                .map(move |verb| format!("$JS.API.CONSUMER.{verb}.{EVENTS}.{durable}"))
        })
        .flat_map(|subject| [format!("{subject}.>"), subject])
        .collect();
    Rights { publish, deny_publish, ..Rights::default() }
}

fn coordinator() -> Rights {
    let everything = [EVENTS, TIMERS, WORK, OUTPUT, QUARANTINE, RUNS, WORKERS, LOCKS];
    let mut publish = api("STREAM.INFO", &everything, "");
    publish.extend(api("STREAM.MSG.GET", &[EVENTS, TIMERS, WORK, RUNS, WORKERS], ""));
    publish.extend(api("DIRECT.GET", &[EVENTS], ""));
    publish.extend(api("STREAM.PURGE", &[EVENTS, TIMERS, WORK, OUTPUT], ""));
    publish.extend(api("CONSUMER.NAMES", &[EVENTS, TIMERS, WORK], ""));
    // What vanishes is made again, but for the event log.
    publish.extend(api("STREAM.CREATE", &[TIMERS, WORK, OUTPUT, QUARANTINE, RUNS, WORKERS, LOCKS], ""));
    let timers = format!(".{}", subject::TIMERS_DURABLE);
    publish.extend(["CONSUMER.INFO", "CONSUMER.CREATE"].iter().flat_map(|verb| api(verb, &[TIMERS], &timers)));
    publish.extend(api("CONSUMER.LIST", &[WORK], ""));
    publish.extend(api("CONSUMER.INFO", &[EVENTS, WORK], ".*"));
    publish.extend(api("CONSUMER.CREATE", &[WORK], ".>"));
    publish.extend(api("STREAM.MSG.DELETE", &[WORK], ""));
    publish.extend(api("CONSUMER.UNPIN", &[EVENTS], ".*"));
    publish.extend(reading(&[EVENTS, RUNS, WORKERS]));
    publish.push(format!("$JS.API.CONSUMER.MSG.NEXT.{TIMERS}.{}", subject::TIMERS_DURABLE));
    publish.push(format!("$JS.ACK.{TIMERS}.{}.>", subject::TIMERS_DURABLE));
    publish.push(format!("$JS.ACK.{EVENTS}.>"));
    publish.extend(all(["rr.ev.>", "rr.at.>", "rr.work.>", "rr.ctl.*", "rr.bad.coordinator.*"]));
    publish.extend(all(["rr.in.*.*.api", "rr.in.*.*.note", "rr.in.*.*.timer", "rr.in.*.*.claim.*.*._rr.*"]));
    publish.push(subject::bucket_key(subject::BUCKET_RUNS, "*"));
    publish.push(subject::bucket_key(subject::BUCKET_WORKERS, "coordinator.*"));
    let subscribe = all([subject::JOINS, subject::API, "$SRV.>"]);
    Rights { publish, subscribe, ..Rights::default() }
}

/// How a subject crosses the border of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Border {
    /// A request with one answer at most.
    One,
    /// A request with many answers.
    Many,
    /// A message from inside.
    Out,
}

/// What workers, and what people and programs, reach of the account of the streams.
fn borders() -> BTreeMap<&'static str, Vec<(String, Border)>> {
    let anybody: WorkerName = match "x".parse() {
        Ok(name) => name,
        Err(_) => return BTreeMap::new(),
    };
    let no_partitions = Topology { partitions: 0, ..Topology::default() };
    let wide = |rights: Rights| rights.publish.into_iter().map(|subject| (border(&subject), subject));
    let mut workers: Vec<(String, Border)> = vec![
        ("$JS.API.INFO".to_owned(), Border::One),
        (format!("$JS.API.CONSUMER.MSG.NEXT.{WORK}.*"), Border::Many),
        (format!("$JS.ACK.{WORK}.>"), Border::One),
        ("rr.ctl.*".to_owned(), Border::Out),
    ];
    let any_worker = worker(&anybody, &BTreeSet::new());
    let own = any_worker.publish.into_iter().filter(|subject| !subject.contains(WORK)).map(|subject| {
        let subject: Vec<&str> = subject.split('.').map(|token| if token == "x" { "*" } else { token }).collect();
        (subject.join("."), Border::One)
    });
    workers.extend(own);
    let users: BTreeMap<String, Border> = wide(publisher())
        .chain(wide(watcher(&no_partitions)))
        .map(|(border, subject)| (subject, border))
        .chain([("$JS.API.INFO".to_owned(), Border::One)])
        .collect();
    // `rr.api.*` is imported once.
    let users = users.into_iter().filter(|(subject, _)| !["status", "list"].map(subject::endpoint).contains(subject));
    BTreeMap::from([(ACCOUNT_WORKERS, workers), (ACCOUNT_USERS, users.collect())])
}

fn border(subject: &str) -> Border {
    let many = ["$JS.API.CONSUMER.MSG.NEXT.", "$JS.API.DIRECT.GET.", "$SRV."];
    if many.iter().any(|prefix| subject.starts_with(prefix)) { Border::Many } else { Border::One }
}

/// The accounts with their users, to be included in the configuration of a server.
pub fn configuration(users: &[User], topology: &Topology) -> Value {
    let borders = borders();
    let mut exports: BTreeMap<String, (Border, Vec<&str>)> = BTreeMap::new();
    for (account, subjects) in &borders {
        for (subject, border) in subjects {
            exports.entry(subject.clone()).or_insert_with(|| (*border, Vec::new())).1.push(account);
        }
    }
    let exports: Vec<Value> =
        exports.into_iter().map(|(subject, (border, to))| export(&subject, border, &to)).collect();
    let of = |account: &str| -> Vec<Value> {
        users.iter().filter(|user| user.role.account() == account).map(|user| login(user, topology)).collect()
    };
    let mut accounts = serde_json::Map::new();
    accounts.insert(ACCOUNT.to_owned(), json!({ "jetstream": "enabled", "users": of(ACCOUNT), "exports": exports }));
    for (account, subjects) in &borders {
        let imports: Vec<Value> = subjects.iter().map(|(subject, border)| import(subject, *border)).collect();
        accounts.insert((*account).to_owned(), json!({ "users": of(account), "imports": imports }));
    }
    json!({ "accounts": accounts })
}

fn export(subject: &str, border: Border, accounts: &[&str]) -> Value {
    match border {
        Border::One => json!({ "service": subject, "accounts": accounts }),
        Border::Many => {
            json!({ "service": subject, "response_type": "stream", "threshold": ANSWERS_WITHIN, "accounts": accounts })
        }
        Border::Out => json!({ "stream": subject, "accounts": accounts }),
    }
}

fn import(subject: &str, border: Border) -> Value {
    let from = json!({ "account": ACCOUNT, "subject": subject });
    match border {
        Border::One | Border::Many => json!({ "service": from }),
        Border::Out => json!({ "stream": from }),
    }
}

fn login(user: &User, topology: &Topology) -> Value {
    let Rights { publish, deny_publish, subscribe } = rights(&user.name, &user.role, topology);
    let mut allow = json!({ "allow": publish });
    if !deny_publish.is_empty()
        && let Some(allow) = allow.as_object_mut()
    {
        allow.insert("deny".to_owned(), deny_publish.into());
    }
    let mut permissions = json!({ "publish": allow, "subscribe": { "allow": subscribe } });
    // Answers go to whoever asked, wherever that is; the coordinator itself sees to it that it is no subject of ours.
    if user.role == Role::Coordinator
        && let Some(permissions) = permissions.as_object_mut()
    {
        permissions.insert("allow_responses".to_owned(), json!({ "max": 1, "expires": "1m" }));
    }
    json!({ "nkey": user.key, "permissions": permissions })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_role() -> [Role; 4] {
        let queues = BTreeSet::from(["QUEUE".parse().unwrap()]);
        [Role::Worker { queues }, Role::Publisher, Role::Watcher, Role::Coordinator]
    }

    #[test]
    fn the_page_on_rights_has_every_subject_of_every_role() {
        let page = include_str!("../../docs/security.md");
        for role in every_role() {
            let Rights { publish, subscribe, .. } = rights(&"NAME".parse().unwrap(), &role, &Topology::default());
            for subject in publish.iter().chain(&subscribe) {
                assert!(page.contains(&format!("`{subject}`")), "{role:?}: {subject}");
            }
        }
    }

    #[test]
    fn whatever_somebody_outside_may_send_crosses_the_border() {
        let borders = borders();
        for role in every_role() {
            let Some(subjects) = borders.get(role.account()) else { continue };
            for subject in rights(&"NAME".parse().unwrap(), &role, &Topology::default()).publish {
                assert!(subjects.iter().any(|(wide, _)| covers(wide, &subject)), "{role:?}: {subject}");
            }
        }
    }

    /// Whether every subject that the second pattern matches is matched by the first.
    fn covers(wide: &str, narrow: &str) -> bool {
        let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
        loop {
            match (wide.next(), narrow.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(token)) if token != ">" => {}
                (Some(one), Some(other)) if one == other => {}
                _ => return false,
            }
        }
    }

    #[test]
    fn what_a_worker_may_do_holds_for_its_own_name_alone() {
        for subject in worker(&"NAME".parse().unwrap(), &BTreeSet::new()).publish {
            // A lock is nobody's own.
            let locks = ["$JS.API.STREAM.MSG.GET.KV_rr-locks", "$KV.rr-locks."];
            let is_general = ["$JS.API.STREAM.INFO.", "$JS.API.STREAM.MSG.GET.KV_rr-workers"].iter().chain(&locks);
            let is_own = subject.split(['.', '-']).any(|token| token == "NAME");
            assert!(is_own || is_general.clone().any(|general| subject.starts_with(general)), "{subject}");
            // Whatever it could read raw it could bring to others as a reply.
            assert!(!subject.contains("DIRECT.GET"), "{subject}");
        }
    }
}
