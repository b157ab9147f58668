//! What must hold of one job by itself.

use std::collections::BTreeMap;

use crate::{
    flow::{
        ARG_BYTES_MAX, ATTEMPTS_MAX, Flow, Job, OnLost, Priority, Retry, Script,
        check::{Place, Problem, Problems, did_you_mean},
        parallelism::{Parallelism, WAVES_MAX},
        params,
        select::Labels,
        template::{HOST, Template},
    },
    host::HOST_CHARS_MAX,
    name::{EnvName, Name},
    quota::Quota,
    span::Span,
};

/// Bytes of all arguments of a command at most, and of its whole environment: with the offer around them they have to
/// fit into one NATS message of 1 MiB.
const COMMAND_BYTES_MAX: usize = 256 * 1024;

pub(super) fn check(flow: &Flow, job: &Job, place: &Place, problems: &mut Problems) {
    check_command(flow, job, *place, problems);
    check_gate(job, *place, problems);
    if job.signal.is_none() {
        check_targets(job, *place, problems);
    }
    check_env(flow, &place.to_string(), &job.env, Some(job), problems);
    check_cwd(flow, job, *place, problems);
    check_waves(job, *place, problems);
    check_retry(&job.retry, *place, problems);
    if job.timeout.is_some_and(Span::is_zero) {
        problems.add(zero_timeout(place.field("timeout")));
    }
}

pub(super) fn zero_timeout(at: String) -> Problem {
    Problem::new(at, "a timeout must be longer than 0s").with_help(Some("use \"none\" for no limit".to_owned()))
}

/// A gate runs nothing and nowhere: what says how and where has no meaning.
fn check_gate(job: &Job, place: Place, problems: &mut Problems) {
    if job.signal.is_none() {
        return;
    }
    let plain = Retry::default();
    let given = [
        ("hosts", job.hosts.is_some()),
        ("queue", job.queue.is_some()),
        ("select", job.select.is_some()),
        ("all", job.all.is_some()),
        ("success", !job.success.is_all()),
        ("parallelism", !job.parallelism.is_all()),
        ("waves", job.waves),
        ("fail_fast", !job.fail_fast),
        ("grace", job.grace.is_some()),
        ("retry", job.retry != plain),
        ("on_lost", job.on_lost != OnLost::default()),
        ("on_unreachable", job.on_unreachable.is_some()),
        ("priority", job.priority != Priority::default()),
        ("env", !job.env.is_empty()),
        ("inherit_env", !job.inherit_env.is_empty()),
        ("cwd", job.cwd.is_some()),
    ];
    for (word, _) in given.iter().filter(|(_, is_given)| *is_given) {
        let problem = Problem::new(place.field(word), format!("a job that waits for a signal has no {word}"));
        let help = "it runs nothing; besides name, signal and needs it has a timeout".to_owned();
        problems.add(problem.with_also(place.field("signal")).with_help(Some(help)));
    }
}

/// Exactly one of run, shell, handler and signal, and none of it empty or larger than the system takes.
fn check_command(flow: &Flow, job: &Job, place: Place, problems: &mut Problems) {
    let given = [
        ("run", !job.run.is_empty()),
        ("shell", job.shell.is_some()),
        ("handler", job.handler.is_some()),
        ("signal", job.signal.is_some()),
    ];
    let given: Vec<&str> = given.iter().filter(|(_, is_given)| *is_given).map(|(word, _)| *word).collect();
    match given.as_slice() {
        [] => {
            let help = "give it run: [\"echo\", \"hi\"], shell:, handler: or signal:".to_owned();
            problems.add(Problem::new(place.to_string(), "job has no command").with_help(Some(help)));
        }
        [_] => {}
        [first, second, ..] => {
            let problem = Problem::new(place.field(second), format!("{first} and {second} exclude each other"));
            problems.add(problem.with_also(place.field(first)));
        }
    }
    if job.run.first().is_some_and(|program| program.as_str().is_empty()) {
        let help = "command must be a list, e.g. [\"echo\", \"hi\"]".to_owned();
        problems.add(Problem::new(place.field("run/0"), "the program's name is empty").with_help(Some(help)));
    }
    check_total("arguments", job.run.iter().map(|text| text.as_str().len()), &place.field("run"), problems);
    for (index, argument) in job.run.iter().enumerate() {
        let at = || place.field(&format!("run/{index}"));
        check_size(argument.as_str().len(), &at, problems);
        check_names(flow, argument, Some(job), &at, problems);
    }
    if let Some(script) = &job.shell {
        check_script(script, place, problems);
    }
}

fn check_script(script: &Script, place: Place, problems: &mut Problems) {
    let texts = [("shell/script", &script.script)];
    let shell = script.shell.iter().map(|word| ("shell/shell", word));
    for (field, text) in texts.into_iter().chain(shell) {
        if text.contains('\0') {
            problems.add(Problem::new(place.field(field), "a NUL byte cannot be part of a script"));
        }
        check_size(text.len(), &|| place.field(field), problems);
    }
    if script.script.trim().is_empty() {
        problems.add(Problem::new(place.field("shell/script"), "the script is empty"));
    }
    if script.shell.first().is_none_or(String::is_empty) {
        let help = "e.g. [\"/bin/bash\", \"-c\"]".to_owned();
        problems.add(Problem::new(place.field("shell/shell"), "the shell is empty").with_help(Some(help)));
    }
}

fn check_targets(job: &Job, place: Place, problems: &mut Problems) {
    let given = [
        ("hosts", job.hosts.is_some()),
        ("queue", job.queue.is_some()),
        ("select", job.select.is_some()),
        ("all", job.all.is_some()),
    ];
    let given: Vec<&str> = given.iter().filter(|(_, is_given)| *is_given).map(|(word, _)| *word).collect();
    if let [first, second, ..] = given.as_slice() {
        let problem = Problem::new(place.field(second), format!("{first} and {second} exclude each other"));
        problems.add(problem.with_also(place.field(first)));
    }
    for (word, labels) in [("select", &job.select), ("all", &job.all)] {
        if labels.as_ref().is_some_and(Labels::is_empty) {
            let help = "name the labels that a worker must have, e.g. { role: db }".to_owned();
            let problem = Problem::new(place.field(word), format!("{word} has no labels"));
            problems.add(problem.with_help(Some(help)));
        }
    }
    let is_queue = job.hosts.is_none() && job.labels().is_none();
    if job.on_unreachable.is_some() && is_queue {
        let help = "an offer of a queue waits until a worker comes".to_owned();
        let problem = Problem::new(place.field("on_unreachable"), "a job of a queue finds nothing unreachable");
        problems.add(problem.with_help(Some(help)));
    }
    if job.priority != Priority::default() && !is_queue {
        let help = "each host has its own lane; priorities are for queues".to_owned();
        let problem = Problem::new(place.field("priority"), "only a job of a queue has a priority");
        problems.add(problem.with_help(Some(help)));
    }
    if job.labels().is_none()
        && let Err(error) = job.success.check(job.targets())
    {
        let help = is_queue.then(|| "a job without hosts has one task".to_owned());
        problems.add(Problem::new(place.field("success"), error.to_string()).with_help(help));
    }
}

/// What was found is not more than a run can hold, and enough for what the job wants of it.
pub(super) fn check_found(job: &Job, place: Place, found: u32, problems: &mut Problems) {
    if let Err(error) = job.success.check(found) {
        problems.add(Problem::new(place.field("success"), error.to_string()));
    }
}

fn check_waves(job: &Job, place: Place, problems: &mut Problems) {
    let Parallelism::Waves(waves) = &job.parallelism else { return };
    if !(1..=WAVES_MAX).contains(&waves.len()) {
        let message = format!("a job has 1 to {WAVES_MAX} waves, got {}", waves.len());
        let help = "the last one is repeated as often as it takes".to_owned();
        problems.add(Problem::new(place.field("parallelism"), message).with_help(Some(help)));
    }
}

fn check_retry(retry: &Retry, place: Place, problems: &mut Problems) {
    if !(1..=ATTEMPTS_MAX).contains(&retry.attempts) {
        let message = format!("attempts must be 1..{ATTEMPTS_MAX}, got {}", retry.attempts);
        let help = "it counts all tries of a task; 1 is no retry".to_owned();
        problems.add(Problem::new(place.field("retry/attempts"), message).with_help(Some(help)));
    }
    if retry.max.is_some_and(|max| max < retry.delay) {
        let problem = Problem::new(place.field("retry/max"), "max is shorter than delay");
        problems.add(problem.with_also(place.field("retry/delay")));
    }
    if let Some(Quota::Count(_)) = retry.jitter {
        let help = "write it as \"20%\"".to_owned();
        let problem = Problem::new(place.field("retry/jitter"), "jitter must be a percentage, 1%..100%");
        problems.add(problem.with_help(Some(help)));
    }
    for (index, code) in retry.on.iter().enumerate().filter(|(_, code)| !(1..=255).contains(*code)) {
        let message = format!("exit codes of failures are 1..255, got {code}");
        problems.add(Problem::new(place.field(&format!("retry/on/{index}")), message));
    }
}

/// A path that stays where it is put: absolute, or below the directory in which the command would start anyway.
fn check_cwd(flow: &Flow, job: &Job, place: Place, problems: &mut Problems) {
    let Some(cwd) = &job.cwd else { return };
    let at = || place.field("cwd");
    if cwd.as_str().is_empty() {
        problems.add(Problem::new(at(), "cwd is empty").with_help(Some("leave it out".to_owned())));
    }
    if cwd.as_str().split('/').any(|part| part == "..") {
        let help = "write it absolute, or relative to the directory in which rr starts commands".to_owned();
        problems.add(Problem::new(at(), "cwd may not hold ..").with_help(Some(help)));
    }
    check_size(cwd.as_str().len(), &at, problems);
    check_names(flow, cwd, Some(job), &at, problems);
}

/// The environment of a job, or of the flow when there is no `job`; `parent` points to what holds it.
pub(super) fn check_env(
    flow: &Flow,
    parent: &str,
    env: &BTreeMap<EnvName, Template>,
    job: Option<&Job>,
    problems: &mut Problems,
) {
    let entries = env.iter().map(|(name, value)| env_bytes(name, value.as_str().len()));
    check_total("environment", entries, &format!("{parent}/env"), problems);
    for (name, value) in env {
        let at = || format!("{parent}/env/{name}");
        check_size(env_bytes(name, value.as_str().len()), &at, problems);
        check_names(flow, value, job, &at, problems);
    }
}

/// Every name in a template is a parameter, or the host where there is one.
fn check_names(flow: &Flow, template: &Template, job: Option<&Job>, at: &dyn Fn() -> String, problems: &mut Problems) {
    for name in template.names().filter(|name| !flow.params.contains_key(*name)) {
        if problems.is_full() {
            return;
        }
        if name.as_str() != HOST {
            let known = flow.params.keys().map(Name::as_str).chain([HOST]);
            let help = did_you_mean(name.as_str(), known);
            problems.add(Problem::new(at(), format!("unknown parameter \"{name}\"")).with_help(help));
            continue;
        }
        let without_host = match job {
            Some(job) => (!has_host(job)).then_some(job),
            None => flow.all_jobs().map(|(_, job)| job).find(|job| !has_host(job)),
        };
        if let Some(job) = without_host {
            let message = format!("{{{{ host }}}} has no value in job \"{}\"", job.name);
            let help = "only a job with hosts: or select: has one".to_owned();
            problems.add(Problem::new(at(), message).with_help(Some(help)));
        }
    }
}

/// Whether each of its tasks has a host.
const fn has_host(job: &Job) -> bool {
    job.hosts.is_some() || job.select.is_some()
}

/// What the values make of the command and of its environment; a host counts as the longest that there can be.
pub(super) fn check_filled(
    flow: &Flow,
    job: &Job,
    place: Place,
    values: &BTreeMap<Name, String>,
    problems: &mut Problems,
) {
    let value_bytes = |name: &Name| values.get(name).map_or(HOST_CHARS_MAX, String::len);
    let filled = |text: &Template| text.filled_bytes(&value_bytes);
    for (index, argument) in job.run.iter().enumerate() {
        check_size(filled(argument), &|| place.field(&format!("run/{index}")), problems);
    }
    check_total("arguments", job.run.iter().map(filled), &place.field("run"), problems);
    // A job's own variable stands in place of the flow's.
    let inherited = flow.env.iter().filter(|(name, _)| !job.env.contains_key(*name));
    let env = inherited.chain(&job.env).map(|(name, value)| (name, env_bytes(name, filled(value))));
    let env: Vec<(&EnvName, usize)> = env.collect();
    for (name, bytes) in &env {
        check_size(*bytes, &|| place.field(&format!("env/{name}")), problems);
    }
    let params = values.iter().map(|(name, value)| params::env_key(name).len() + 1 + value.len());
    let all = env.iter().map(|(_, bytes)| *bytes).chain(params);
    check_total("environment", all, &place.field("env"), problems);
    if let Some(cwd) = &job.cwd {
        check_size(filled(cwd), &|| place.field("cwd"), problems);
    }
}

/// `NAME=value` is one text for the system.
fn env_bytes(name: &EnvName, value_bytes: usize) -> usize {
    name.as_str().len() + 1 + value_bytes
}

fn check_size(bytes: usize, at: &dyn Fn() -> String, problems: &mut Problems) {
    if bytes >= ARG_BYTES_MAX {
        problems.add(Problem::new(at(), format!("text of {bytes} bytes, limit {}", ARG_BYTES_MAX - 1)));
    }
}

/// Each text ends with a NUL byte.
fn check_total(what: &str, texts: impl Iterator<Item = usize>, at: &str, problems: &mut Problems) {
    let bytes = texts.fold(0, |sum: usize, bytes| sum.saturating_add(bytes).saturating_add(1));
    if bytes > COMMAND_BYTES_MAX {
        problems.add(Problem::new(at, format!("{what} of {bytes} bytes together, limit {COMMAND_BYTES_MAX}")));
    }
}
