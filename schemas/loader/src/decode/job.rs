//! One job, in its full form and its short ones.

use rr_schemas::{
    flow::{Factor, Job, OnLost, Priority, Retry, Script, parallelism::Parallelism, template::Template},
    host::{ExprError, HostSet},
    name::{EnvName, Name},
    quota::Quota,
    span::Span,
    text::Echo,
};

use crate::{
    decode::{Decoder, Field, Map, Unknown, flow::refuse_templates},
    diagnostic::Diagnostic,
    node::{Kind, Scalar},
};

/// Keys of a job.
pub(crate) const JOB_KEYS: [&str; 24] = [
    "name",
    "run",
    "shell",
    "handler",
    "signal",
    "needs",
    "hosts",
    "queue",
    "select",
    "all",
    "success",
    "parallelism",
    "waves",
    "fail_fast",
    "timeout",
    "grace",
    "retry",
    "on_lost",
    "on_unreachable",
    "lock",
    "priority",
    "env",
    "inherit_env",
    "cwd",
];
/// Keys of a script in its full form.
pub(crate) const SCRIPT_KEYS: [&str; 2] = ["script", "shell"];
/// Keys of a retry policy in its full form.
pub(crate) const RETRY_KEYS: [&str; 6] = ["attempts", "delay", "factor", "max", "jitter", "on"];

const PRIORITIES: [(&str, Priority); 3] =
    [("high", Priority::High), ("normal", Priority::Normal), ("low", Priority::Low)];
const ON_LOST: [(&str, OnLost); 3] = [("retry", OnLost::Retry), ("fail", OnLost::Fail), ("hold", OnLost::Hold)];
const COMMAND_HELP: &str = "command must be a list, e.g. [\"echo\", \"hi\"]";

pub(super) fn jobs(decoder: &mut Decoder, field: &Field<'_>) -> Vec<Job> {
    let jobs = decoder.list(field).unwrap_or_default();
    jobs.iter().filter_map(|job| self::job(decoder, &Field { what: "job", ..job.clone() })).collect()
}

fn job(decoder: &mut Decoder, field: &Field<'_>) -> Option<Job> {
    let at = &field.at;
    let map = decoder.map(field, &JOB_KEYS, Unknown::Error);
    let name = match map {
        Some(map) => decoder.require(map, at, "name"),
        None => None,
    };
    let mut job = new_job(decoder.name(name.as_ref())?);
    let Some(map) = map else {
        decoder.taint(format!("{at}/name"));
        return Some(job);
    };
    let mut get = |key| decoder.get(map, at, key);
    let (run, shell, handler, signal) = (get("run"), get("shell"), get("handler"), get("signal"));
    let (hosts, queue, select, all) = (get("hosts"), get("queue"), get("select"), get("all"));
    let (needs, inherit_env) = (get("needs"), get("inherit_env"));
    let (on_lost, on_unreachable, priority) = (get("on_lost"), get("on_unreachable"), get("priority"));
    let (lock, env, cwd) = (get("lock"), get("env"), get("cwd"));
    job.run = run.map(|field| argv(decoder, &field)).unwrap_or_default();
    job.shell = shell.and_then(|field| script(decoder, &field));
    job.handler = handler.and_then(|field| decoder.parsed(&field));
    job.signal = signal.and_then(|field| decoder.parsed(&field));
    job.hosts = hosts.and_then(|field| self::hosts(decoder, &field));
    job.queue = queue.and_then(|field| decoder.parsed(&field));
    job.select = select.and_then(|field| decoder.labels(&field));
    job.all = all.and_then(|field| decoder.labels(&field));
    job.needs = needs.map(|field| names(decoder, &field)).unwrap_or_default();
    job.inherit_env = inherit_env.map(|field| names::<EnvName>(decoder, &field)).unwrap_or_default();
    job.on_lost = on_lost.and_then(|field| decoder.word(&field, &ON_LOST)).unwrap_or_default();
    job.on_unreachable = on_unreachable.and_then(|field| decoder.parsed(&field));
    job.lock = lock.and_then(|field| decoder.parsed(&field));
    job.priority = priority.and_then(|field| decoder.word(&field, &PRIORITIES)).unwrap_or_default();
    job.env = env.map(|field| decoder.env(&field)).unwrap_or_default();
    job.cwd = cwd.and_then(|field| decoder.string(&field).and_then(|_| decoder.template(&field)));
    shares_and_limits(decoder, map, at, &mut job);
    if !decoder.is_read(&format!("{at}/hosts")) {
        // How many tasks the job would have is not known.
        decoder.taint(at.clone());
    }
    Some(job)
}

/// A job with all its defaults, and no command yet.
pub(crate) fn new_job(name: Name) -> Job {
    Job {
        name,
        run: Vec::new(),
        shell: None,
        handler: None,
        signal: None,
        needs: Vec::new(),
        hosts: None,
        queue: None,
        select: None,
        all: None,
        success: Quota::ALL,
        parallelism: Parallelism::ALL,
        waves: false,
        fail_fast: true,
        timeout: None,
        grace: None,
        retry: Retry::default(),
        on_lost: OnLost::default(),
        on_unreachable: None,
        lock: None,
        priority: Priority::default(),
        env: std::collections::BTreeMap::new(),
        inherit_env: Vec::new(),
        cwd: None,
    }
}

fn shares_and_limits(decoder: &mut Decoder, map: Map<'_>, at: &str, job: &mut Job) {
    let mut get = |key| decoder.get(map, at, key);
    let (success, parallelism) = (get("success"), get("parallelism"));
    let (waves, fail_fast) = (get("waves"), get("fail_fast"));
    let (timeout, grace, retry) = (get("timeout"), get("grace"), get("retry"));
    job.success = success.and_then(|field| decoder.quota(&field)).unwrap_or_default();
    job.waves = waves.and_then(|field| decoder.truth(&field)).unwrap_or(job.waves);
    job.fail_fast = fail_fast.and_then(|field| decoder.truth(&field)).unwrap_or(job.fail_fast);
    job.timeout = timeout.and_then(|field| decoder.limit(&field));
    job.grace = grace.and_then(|field| decoder.span(&field));
    job.retry = retry.map(|field| self::retry(decoder, &field)).unwrap_or_default();
    let Some(field) = parallelism else { return };
    if let Kind::List(_) = &field.node.kind {
        let waves = decoder.list(&field).unwrap_or_default();
        job.parallelism = Parallelism::Waves(waves.iter().filter_map(|wave| decoder.quota(wave)).collect());
        return;
    }
    job.parallelism = decoder.quota(&field).map(Parallelism::Window).unwrap_or_default();
    if let Parallelism::Window(Quota::Count(count)) = job.parallelism
        && count.get() > job.targets()
        && job.labels().is_none()
        && decoder.is_read(&format!("{at}/hosts"))
    {
        let targets = job.targets();
        let message = format!("parallelism {count} is more than the targets: {targets} will run at once");
        decoder.note(Diagnostic::warning(message).at(field.node.span.clone()));
    }
}

fn argv(decoder: &mut Decoder, field: &Field<'_>) -> Vec<Template> {
    let items = match &field.node.kind {
        Kind::List(items) if !items.is_empty() => decoder.list(field).unwrap_or_default(),
        Kind::List(_) | Kind::Map(_) | Kind::Scalar(_) => {
            let message = match field.node.found() {
                "list" => "run: the command is empty".to_owned(),
                found => format!("run: expected list, found {found}"),
            };
            let script = matches!(field.node.kind, Kind::Scalar(_)).then_some("; for a script, use shell:");
            let help = format!("{COMMAND_HELP}{}", script.unwrap_or_default());
            decoder.fail(field, field.node.span.clone(), message, Some(help));
            return Vec::new();
        }
    };
    items.iter().filter_map(|item| decoder.template(item)).collect()
}

/// A script: its text, or a map that names the shell too.
fn script(decoder: &mut Decoder, field: &Field<'_>) -> Option<Script> {
    let (text, shell) = if let Kind::Map(_) = &field.node.kind {
        let map = decoder.map(field, &SCRIPT_KEYS, Unknown::Error)?;
        let shell = decoder.get(map, &field.at, "shell").and_then(|field| decoder.list(&field));
        (decoder.require(map, &field.at, "script")?, shell)
    } else {
        (field.clone(), None)
    };
    let scalar = decoder.string(&text)?;
    refuse_templates(decoder, &text, scalar);
    let words = shell.map(|words| {
        words.iter().filter_map(|word| decoder.written(word)).map(|word| word.text.clone()).collect::<Vec<_>>()
    });
    Some(Script { script: scalar.text.clone(), shell: words.unwrap_or_else(Script::default_shell) })
}

fn names<T: std::str::FromStr<Err: std::fmt::Display>>(decoder: &mut Decoder, field: &Field<'_>) -> Vec<T> {
    let items = decoder.list(field).unwrap_or_default();
    items.iter().filter_map(|item| decoder.parsed(item)).collect()
}

/// An expression or a list of expressions; hosts that are named twice are merged, which is said.
fn hosts(decoder: &mut Decoder, field: &Field<'_>) -> Option<HostSet> {
    let named = host_sets(decoder, field)?;
    let (merged, n_left_out) = named.merged();
    if n_left_out > 0 {
        let first = named.duplicates().first().map(|host| format!(" (such as {host})")).unwrap_or_default();
        let message = format!("{n_left_out} of {} hosts are named again{first}: {} remain", named.len(), merged.len());
        decoder.note(Diagnostic::warning(message).at(field.node.span.clone()));
    }
    Some(merged)
}

/// The hosts as they are named.
pub(crate) fn host_sets(decoder: &mut Decoder, field: &Field<'_>) -> Option<HostSet> {
    if let Kind::Scalar(_) = &field.node.kind {
        return host_set(decoder, field);
    }
    let items = match &field.node.kind {
        Kind::List(_) => decoder.list(field)?,
        Kind::Map(_) | Kind::Scalar(_) => {
            decoder.wrong_type(field, "string or list");
            return None;
        }
    };
    let sets: Vec<Option<HostSet>> =
        items.iter().map(|item| host_set(decoder, &Field { at: field.at.clone(), ..item.clone() })).collect();
    let sets: Vec<HostSet> = sets.into_iter().collect::<Option<_>>()?;
    HostSet::concat(sets).map_err(|error| host_error(decoder, field, None, &error)).ok()
}

fn host_set(decoder: &mut Decoder, field: &Field<'_>) -> Option<HostSet> {
    let scalar = decoder.string(field)?;
    scalar.text.parse().map_err(|error| host_error(decoder, field, Some(scalar), &error)).ok()
}

fn host_error(decoder: &mut Decoder, field: &Field<'_>, scalar: Option<&Scalar>, error: &ExprError) {
    let inside = scalar.and_then(|scalar| scalar.verbatim_at);
    let span = inside.map_or_else(|| field.node.span.clone(), |start| start + error.span.start..start + error.span.end);
    // Where the mark cannot stand in the text itself, the message says the column.
    let place = match (scalar, inside) {
        (Some(_), None) => format!(" at col {}", error.column()),
        (Some(_), Some(_)) | (None, _) => String::new(),
    };
    decoder.fail(field, span, format!("hosts: {}{place}", error.message()), error.help());
}

/// A retry policy, or just the number of attempts.
fn retry(decoder: &mut Decoder, field: &Field<'_>) -> Retry {
    let mut retry = Retry::default();
    let Kind::Map(_) = &field.node.kind else {
        retry.attempts = attempts(decoder, field).unwrap_or(retry.attempts);
        return retry;
    };
    let Some(map) = decoder.map(field, &RETRY_KEYS, Unknown::Error) else { return retry };
    let mut get = |key| decoder.get(map, &field.at, key);
    let (attempts, delay, factor) = (get("attempts"), get("delay"), get("factor"));
    let (max, jitter, on) = (get("max"), get("jitter"), get("on"));
    retry.attempts = attempts.and_then(|field| self::attempts(decoder, &field)).unwrap_or(retry.attempts);
    retry.delay = delay.and_then(|field| decoder.span(&field)).unwrap_or(Span::ZERO);
    retry.factor = factor.and_then(|field| self::factor(decoder, &field)).unwrap_or(Factor::ONE);
    retry.max = max.and_then(|field| decoder.span(&field));
    retry.jitter = jitter.and_then(|field| decoder.quota(&field));
    let on = on.and_then(|field| decoder.list(&field)).unwrap_or_default();
    retry.on = on.iter().filter_map(|code| decoder.integer(code, "exit code 1..255")).collect();
    retry
}

fn attempts(decoder: &mut Decoder, field: &Field<'_>) -> Option<u32> {
    decoder.integer(&Field { what: "attempts", ..field.clone() }, "number 1..1000")
}

fn factor(decoder: &mut Decoder, field: &Field<'_>) -> Option<Factor> {
    let scalar = decoder.written(field)?;
    let factor = scalar.text.parse::<f64>().ok().filter(|_| !scalar.is_quoted).map(Factor::try_from);
    if let Some(Ok(factor)) = factor {
        return Some(factor);
    }
    let message =
        format!("factor: expected number 1..100 with at most two decimals, found {}", Echo::new(&scalar.text));
    decoder.fail(field, field.node.span.clone(), message, None);
    None
}
