//! What runs while something goes wrong: something of everything, each of a second or two.
//!
//! Every attempt notes first that it starts: run, task, attempt and the worker's name, a line in the file `starts`. So
//! what was really started can be held against what was decided.

use std::path::Path;

use rr_loader::{Format, Source, load};
use rr_schemas::decision::RunStatus;
use rr_schemas::flow::Flow;
use rr_schemas::flow::params::{ParamValue, ParamValues};
use rr_schemas::input::{Input, Submit};

/// The variable by which an attempt knows its worker.
pub const WORKER: &str = "CHAOS_WORKER";

/// The file in which attempts note that they start.
pub const STARTS: &str = "starts";

/// What somebody does to a run while it goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// It is cancelled.
    Cancel,
    /// It is given the signal `go`.
    Signal,
    /// It is cancelled if it waits for a person, because its worker was lost.
    CancelIfHeld,
}

/// A kind of flow.
#[derive(Debug)]
pub struct Kind {
    /// The flow's name.
    pub name: &'static str,
    /// Its jobs and what else it has but name and parameters. `NOTE` stands for the beginning of a script and what the job needs for it.
    pub yaml: &'static str,
    /// How it may end. A run that may also succeed has failed only because somebody was lost.
    pub ends: &'static [RunStatus],
    /// What is done to it.
    pub then: Then,
    /// Whether an attempt may start once only, wherever.
    pub once: bool,
}

/// A kind to which nothing is done.
pub const fn kind(name: &'static str, yaml: &'static str, ends: &'static [RunStatus]) -> Kind {
    Kind { name, yaml, ends, then: Then::Nothing, once: false }
}

const GOOD: &[RunStatus] = &[RunStatus::Succeeded];
const GOOD_OR_LOST: &[RunStatus] = &[RunStatus::Succeeded, RunStatus::Failed];

/// Everything that is run. Hosts are `h1` to `h9`.
pub const KINDS: &[Kind] = &[
    kind("single", "jobs: [{ name: a, shell: 'NOTE seq 1000' }]", GOOD),
    kind("fan", "jobs: [{ name: a, shell: 'NOTE echo a; sleep 0.1; echo b', hosts: 'h[1-9]', parallelism: 4 }]", GOOD),
    kind(
        "graph",
        "jobs: [{ name: a, shell: 'NOTE true' }, { name: b, needs: [a], shell: 'NOTE sleep 0.1', hosts: 'h[1-3]' }, \
         { name: c, needs: [a], shell: 'NOTE sleep 0.2' }, { name: d, needs: [b, c], shell: 'NOTE true' }]",
        GOOD,
    ),
    kind(
        "retried",
        "jobs: [{ name: a, shell: 'NOTE [ \"$RR_ATTEMPT\" -ge 2 ]', hosts: 'h[4-6]', \
         retry: { attempts: 9, delay: 200ms } }]",
        GOOD,
    ),
    kind(
        "waves",
        "jobs: [{ name: a, shell: 'NOTE sleep 0.05', hosts: 'h[1-6]', parallelism: [1, 50%], success: 50% }]",
        GOOD,
    ),
    kind("failing", "jobs: [{ name: a, shell: 'NOTE false', hosts: 'h[1-3]', retry: 2 }]", &[RunStatus::Failed]),
    kind(
        "late",
        "jobs: [{ name: a, shell: 'NOTE echo a; sleep 600', timeout: 300ms, grace: 1s }]",
        &[RunStatus::Failed],
    ),
    kind(
        "limited",
        "timeout: 1s\njobs: [{ name: a, shell: 'NOTE sleep 600', hosts: 'h[1-2]', grace: 1s }]",
        &[RunStatus::TimedOut],
    ),
    // Lost where its worker is killed, and never run twice.
    Kind {
        once: true,
        ..kind(
            "claimed",
            "jobs: [{ name: a, shell: 'NOTE echo a; sleep 0.4; echo b', hosts: 'h[1-3]', on_lost: fail }]",
            GOOD_OR_LOST,
        )
    },
    Kind {
        once: true,
        then: Then::CancelIfHeld,
        ..kind(
            "held",
            "jobs: [{ name: a, shell: 'NOTE sleep 0.4', hosts: 'h[4-6]', on_lost: hold }]",
            &[RunStatus::Succeeded, RunStatus::Cancelled],
        )
    },
    Kind {
        once: true,
        ..kind("locked", "jobs: [{ name: a, shell: 'NOTE sleep 0.1', hosts: 'h[7-8]', lock: deploy }]", GOOD)
    },
    Kind {
        then: Then::Signal,
        ..kind("gate", "jobs: [{ name: g, signal: go }, { name: a, needs: [g], shell: 'NOTE true' }]", GOOD)
    },
    Kind {
        then: Then::Cancel,
        ..kind(
            "cancelled",
            "jobs: [{ name: a, shell: 'NOTE sleep 600', hosts: 'h[1-3]', grace: 1s }]",
            &[RunStatus::Cancelled],
        )
    },
];

impl Kind {
    /// What asks for a run of this kind, whose attempts note their starts in this directory.
    ///
    /// # Panics
    /// The flow is wrong.
    pub fn submit(&self, dir: &Path) -> Input {
        let dir = dir.to_string_lossy().into_owned();
        let params = [("dir".parse().expect("a name"), ParamValue::String(dir))];
        let flow = flow(self.name, self.yaml);
        Input::Submit(Box::new(Submit {
            flow,
            params: params.into_iter().collect::<ParamValues>(),
            by: "chaos".to_owned(),
            retry_of: None,
        }))
    }
}

/// A flow of these jobs, with `NOTE` spelt out.
///
/// # Panics
/// It is wrong.
pub fn flow(name: &str, yaml: &str) -> Flow {
    let yaml = text(name, yaml);
    let loaded = load(&Source { name: "flow.yaml", bytes: yaml.as_bytes() }, Format::Yaml);
    loaded.flow.unwrap_or_else(|| panic!("{yaml}: {:#?}", loaded.diagnostics))
}

/// The same as a flow file.
pub fn text(name: &str, yaml: &str) -> String {
    let note = format!("echo \"$RR_RUN $RR_TASK $RR_ATTEMPT ${WORKER}\" >> \"$RR_PARAM_DIR/{STARTS}\";");
    let yaml = yaml.replace("shell: 'NOTE", &format!("inherit_env: [{WORKER}], shell: '{note}"));
    format!("name: {name}\nparams: {{ dir: {{ type: string }} }}\n{yaml}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_a_flow() {
        for kind in KINDS {
            assert_eq!(flow(kind.name, kind.yaml).name.as_str(), kind.name);
            assert!(!kind.ends.is_empty());
        }
    }
}
