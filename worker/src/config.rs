//! What a worker is told when it starts: name, what it serves, limits and times.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;

use rr_schemas::{
    codec::Format,
    flow::select::Labels,
    host::HostSet,
    name::{Name, WorkerName},
    presence,
    span::Span,
};
use serde::{Deserialize, Serialize};

use crate::process::{Guard, OwnEnvironment};

/// Everything about one worker. Only [`Options::new`]'s parameters have no default.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Its name, unique in the mesh.
    pub name: WorkerName,
    /// The directory of its ledger. It belongs to this worker alone and survives its restarts.
    pub state_dir: PathBuf,
    /// What it serves. Default: nothing.
    #[serde(default)]
    pub serves: Serves,
    /// Attempts that it runs at once. Default: 4.
    #[serde(default = "default_capacity")]
    pub capacity: NonZeroU32,
    /// Labels, for people and `select`. Default: none.
    #[serde(default)]
    pub labels: Labels,
    /// Where attempts run, and what they see of the worker's own environment. Default: the user's session.
    #[serde(default)]
    pub execution: Execution,
    /// How commands come to their hosts. Default: this machine stands for them.
    #[serde(default)]
    pub via: Via,
    /// Times. The defaults suit a mesh across machines; tests shorten them.
    #[serde(default)]
    pub times: Times,
    /// What is kept of an attempt's output.
    #[serde(default)]
    pub output: OutputLimits,
    /// The format of what it says to the mesh; `cbor` is for thin links. Default: `json`, which people can read.
    #[serde(default)]
    pub wire: Format,
    /// Who waits for its disk. Default: threads beside its tasks.
    #[serde(skip)]
    pub disk: Disk,
    /// The worker's own environment, read once by the program. Default: empty.
    #[serde(skip)]
    pub environment: OwnEnvironment,
    /// Who ends the processes of attempts if the worker is killed. Default: nobody.
    #[serde(skip)]
    pub guard: Option<Guard>,
}

impl Options {
    /// A worker that serves nothing yet, with every default.
    pub fn new(name: WorkerName, state_dir: PathBuf) -> Self {
        Self {
            name,
            state_dir,
            serves: Serves::default(),
            capacity: default_capacity(),
            labels: Labels::default(),
            execution: Execution::default(),
            via: Via::default(),
            times: Times::default(),
            output: OutputLimits::default(),
            wire: Format::default(),
            disk: Disk::default(),
            environment: OwnEnvironment::new(),
            guard: None,
        }
    }
}

const fn default_capacity() -> NonZeroU32 {
    match NonZeroU32::new(4) {
        Some(capacity) => capacity,
        None => NonZeroU32::MIN,
    }
}

/// Hosts and queues that a worker takes offers of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Serves {
    /// Hosts. Default: none.
    pub hosts: Hosts,
    /// Queues; a queue that is named twice gets twice the share. Default: none.
    pub queues: Vec<Name>,
}

/// Hosts that a worker takes offers of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hosts {
    /// None.
    #[default]
    None,
    /// Whatever a flow names.
    All,
    /// These.
    Only(HostSet),
}

impl Serves {
    /// The queues, each once, in the order of their first mention, with how often they are named.
    pub fn weights(&self) -> Vec<(Name, u32)> {
        let mut seen = BTreeSet::new();
        let first = self.queues.iter().filter(|queue| seen.insert(queue.folded()));
        first
            .map(|queue| {
                let mentions = self.queues.iter().filter(|other| other.folded() == queue.folded()).count();
                (queue.clone(), u32::try_from(mentions).unwrap_or(u32::MAX))
            })
            .collect()
    }

    /// The same as it stands in presence and in the request to join.
    pub fn to_wire(&self) -> presence::Serves {
        presence::Serves {
            hosts: match &self.hosts {
                Hosts::None => presence::Hosts::None,
                Hosts::All => presence::Hosts::All,
                Hosts::Only(hosts) => presence::Hosts::Only(hosts.clone()),
            },
            queues: self.weights().into_iter().map(|(queue, _)| queue).collect(),
        }
    }
}

/// Where attempts run, and what they see of the worker's own environment.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Execution {
    /// In the worker's own directory, with all of its environment: as if the user had typed the command.
    #[default]
    UserSession,
    /// In a fresh directory under `workdir`, with a clean environment (`PATH`, `HOME`, `LANG`, and what a flow's
    /// `inherit_env` names).
    #[serde(rename_all = "kebab-case")]
    Clean {
        /// Parent of the fresh directories. It belongs to this worker alone, which empties it when it starts.
        workdir: PathBuf,
    },
}

/// How commands come to the hosts that a worker serves.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// As processes of this machine.
    #[default]
    Process,
    /// Over ssh: the hosts have no worker.
    Ssh(SshOptions),
    /// Not at all: it carries out functions of its own program, and refuses commands. Nothing of an earlier life of it is
    /// looked for among the processes of the machine.
    Functions,
}

/// Who waits for the disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Disk {
    /// Threads, while the worker goes on.
    #[default]
    Threads,
    /// Whoever needs it, in place: nothing of what the worker does depends then on which thread comes first.
    InPlace,
}

impl Disk {
    /// Does work that waits for the disk.
    ///
    /// # Errors
    /// The work has panicked on its thread.
    pub(crate) async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work).await,
            Self::InPlace => Ok(work()),
        }
    }
}

/// How a worker goes by ssh. Names, users, keys, jumps and the checking of host keys are the affair of ssh's own configuration.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SshOptions {
    /// The program. Default: `ssh`, from `PATH`.
    pub program: String,
    /// Its configuration file. Default: the user's and the system's.
    pub config: Option<PathBuf>,
    /// Options as in its configuration: `User=deploy`. They win over that file. Default: none.
    pub options: Vec<String>,
    /// How long a connection may take; as long again until the user is known. Default: 10s.
    pub connect_timeout: Span,
    /// How long a connection lives on after its last attempt. Default: 1m.
    pub persist: Span,
}

impl SshOptions {
    /// What `rr` itself sets: multiplexing, no questions, no terminal.
    const OURS: [&str; 8] = [
        "batchmode",
        "controlmaster",
        "controlpath",
        "controlpersist",
        "requesttty",
        "remotecommand",
        "forkafterauthentication",
        "sessiontype",
    ];

    /// The first option that cannot be given, because ssh would not work for a worker with it, or because it is none.
    pub fn unfit(&self) -> Option<&str> {
        let is_fit = |option: &str| {
            option.split_once('=').is_some_and(|(name, value)| {
                let name = name.trim().to_ascii_lowercase();
                !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
                    && !value.contains(['\n', '\0'])
                    && !Self::OURS.contains(&name.as_str())
            })
        };
        self.options.iter().map(String::as_str).find(|option| !is_fit(option))
    }
}

impl Default for SshOptions {
    fn default() -> Self {
        Self {
            program: "ssh".to_owned(),
            config: None,
            options: Vec::new(),
            connect_timeout: Span::saturating_from_secs(10),
            persist: Span::saturating_from_secs(60),
        }
    }
}

/// The worker's times.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Times {
    /// Time between TERM and KILL where the flow says none. Default: 10s.
    pub grace: Span,
    /// An attempt that lives longer than this says that it started; a shorter one costs one report. Default: 250ms.
    pub started_after: Span,
    /// How long presence outlives a worker that says nothing any more. Default: 15s.
    pub presence_ttl: Span,
    /// How often presence is renewed. Default: 5s.
    pub presence_renew: Span,
    /// How often a worker makes sure that it still has the hosts and queues that it joined with. Default: 2m.
    pub verify: Span,
    /// How long a lock outlives an attempt whose worker says nothing any more. A break of the link or the server that is longer than a
    /// third of it may cost the lock, and with it the attempt: an election in a cluster alone takes up to 8s. 2s at least.
    /// Default: 30s.
    pub lock_ttl: Span,
    /// How long a draining worker waits for what runs, before it kills it. Default: 30 days: it waits.
    pub drain: Span,
    /// How long the last reports are tried when everything else has ended; what remains is sent after the next start.
    /// Default: 10s.
    pub farewell: Span,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            grace: Span::saturating_from_secs(10),
            started_after: Span::saturating_from_millis(250),
            presence_ttl: Span::saturating_from_secs(15),
            presence_renew: Span::saturating_from_secs(5),
            verify: Span::saturating_from_secs(120),
            lock_ttl: Span::saturating_from_secs(30),
            drain: Span::MAX,
            farewell: Span::saturating_from_secs(10),
        }
    }
}

/// What is kept of one attempt's output.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OutputLimits {
    /// Bytes of both streams together. Default: 8388608 (8 MiB).
    pub bytes_max: u64,
    /// Of these, bytes kept for the end of the output. Default and maximum: 262144 (256 KiB).
    pub tail_bytes: usize,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { bytes_max: 8 * 1024 * 1024, tail_bytes: 256 * 1024 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, Hosts, Options, Serves, SshOptions};

    #[test]
    fn options_that_would_break_a_worker_are_named() {
        for (option, is_fit) in [
            ("User=deploy", true),
            ("StrictHostKeyChecking=yes", true),
            ("ProxyCommand=nc %h %p -w 1", true),
            ("controlPath=/tmp/x", false),
            ("BatchMode = no", false),
            ("User", false),
            ("=x", false),
            ("-F=x", false),
            ("User=a\nProxyCommand=b", false),
        ] {
            let options = SshOptions { options: vec![option.to_owned()], ..SshOptions::default() };
            assert_eq!(options.unfit().is_none(), is_fit, "{option:?}");
        }
    }

    #[test]
    fn a_queue_that_is_named_twice_has_weight_two() {
        let queues = ["a", "b", "A", "c", "a"].map(|queue| queue.parse().unwrap()).to_vec();
        let weights = Serves { hosts: Hosts::None, queues }.weights();
        let shown: Vec<String> = weights.iter().map(|(queue, n)| format!("{queue}={n}")).collect();
        assert_eq!(shown, ["a=3", "b=1", "c=1"]);
    }

    #[test]
    fn options_are_read_with_defaults_and_a_typo_is_an_error() {
        let read = |text: &str| serde_json::from_str::<Options>(text);
        let plain = read(r#"{"name": "w1", "state-dir": "/s"}"#).unwrap();
        assert_eq!(format!("{plain:?}"), format!("{:?}", Options::new("w1".parse().unwrap(), "/s".into())));
        let full = read(
            r#"{"name": "w1", "state-dir": "/s", "capacity": 9, "serves": {"hosts": "all", "queues": ["q"]},
                "execution": {"clean": {"workdir": "/w"}}, "times": {"grace": "1s"}, "output": {"bytes-max": 1}, "wire": "cbor"}"#,
        );
        let full = full.unwrap();
        assert_eq!((full.capacity.get(), full.wire), (9, Format::Cbor));
        for wrong in [
            r#"{"name": "w1", "state-dir": "/s", "capacty": 9}"#,
            r#"{"name": "w1", "state-dir": "/s", "capacity": 0}"#,
            r#"{"name": "w 1", "state-dir": "/s"}"#,
            r#"{"name": "w1", "state-dir": "/s", "times": {"grce": "1s"}}"#,
            r#"{"name": "w1", "state-dir": "/s", "wire": "xml"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
