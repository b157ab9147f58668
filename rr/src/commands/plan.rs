//! `rr plan`: what a flow would do.

use anstyle::Style;
use rr_core::{
    Plan,
    plan::{PlannedJob, Targets},
};
use rr_schemas::{
    flow::{Priority, select::Labels},
    name::Name,
    offer::Command,
    quota::Quota,
    span::Span,
};
use serde::Serialize;

use crate::cli::PlanArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::flowfile;
use crate::printer::DIM;
use crate::text::{Line, escape};

/// The plan as `--json` prints it.
#[derive(Debug, Serialize)]
struct PlanView {
    flow: String,
    tasks: u32,
    params: std::collections::BTreeMap<String, String>,
    timeout: Option<Span>,
    jobs: Vec<JobPlan>,
}

#[derive(Debug, Serialize)]
struct JobPlan {
    job: String,
    slot: Option<u32>,
    needs: Vec<String>,
    hosts: Option<String>,
    queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    select: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<Labels>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<Name>,
    targets: u32,
    needed: u32,
    parallelism: u32,
    waves: Vec<u32>,
    timeout: Option<Span>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    command: Option<Command>,
}

/// Prints the plan of a flow.
pub(crate) fn plan(ctx: &Context, args: &PlanArgs) -> Result<Exit, CliError> {
    let checked = flowfile::checked(ctx.printer, &args.flow, &args.set)?;
    if ctx.printer.is_json() {
        ctx.printer.json_document(&document(&checked.plan))?;
    } else {
        for line in lines(&checked.plan) {
            ctx.printer.line(line.whole())?;
        }
    }
    Ok(Exit::Succeeded)
}

fn document(plan: &Plan) -> PlanView {
    let jobs = plan.jobs().iter().map(|job| {
        let (hosts, queue) = match &job.targets {
            Targets::Hosts(hosts) => (Some(hosts.to_string()), None),
            Targets::Queue(queue) => (None, Some(queue.to_string())),
            Targets::Workers(_) | Targets::ToBeFound | Targets::Gate => (None, None),
        };
        JobPlan {
            job: job.name.to_string(),
            slot: job.slot,
            needs: job.job.needs.iter().map(ToString::to_string).collect(),
            hosts,
            queue,
            select: job.job.select.clone(),
            all: job.job.all.clone(),
            signal: job.job.signal.clone(),
            targets: job.n,
            needed: job.needed,
            parallelism: job.window,
            waves: waves(job),
            timeout: job.job.timeout,
            attempts: job.job.retry.attempts,
            lock: job.job.lock.as_ref().map(ToString::to_string),
            command: plan.first_command(job),
        }
    });
    PlanView {
        flow: plan.flow().to_string(),
        tasks: plan.n_tasks(),
        params: plan.params().iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        timeout: plan.timeout(),
        jobs: jobs.collect(),
    }
}

fn lines(plan: &Plan) -> Vec<Line> {
    let n = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let tasks = n(plan.n_tasks() as usize, "task");
    let mut head = format!("{}: {}, {tasks}", plan.flow(), n(plan.jobs().len(), "job"));
    if let Some(timeout) = plan.timeout() {
        head = format!("{head}, stopped after {timeout}");
    }
    let mut lines = vec![Line::new().plain(head)];
    for (name, value) in plan.params() {
        lines.push(Line::new().styled(DIM, "param ").plain(format!("{name} = {}", escape(value.as_bytes()))));
    }
    let mut slot = None;
    for job in plan.jobs() {
        if job.slot.is_some() && job.slot != slot {
            slot = job.slot;
            lines.push(Line::new().styled(DIM, format!("slot {}", slot.unwrap_or_default())));
        }
        lines.extend(job_lines(plan, job));
    }
    lines
}

fn job_lines(plan: &Plan, job: &PlannedJob) -> Vec<Line> {
    let targets = match &job.targets {
        Targets::Hosts(hosts) => {
            format!("{hosts} ({})", if job.n == 1 { "1 host".to_owned() } else { format!("{} hosts", job.n) })
        }
        Targets::Queue(queue) => format!("any worker of queue {queue}"),
        Targets::Gate => String::new(),
        Targets::Workers(_) | Targets::ToBeFound => match (&job.job.select, &job.job.all) {
            (Some(labels), _) => format!("the hosts of workers with {labels}, found when the run starts"),
            (None, Some(labels)) => format!("every worker with {labels}, found when the run starts"),
            (None, None) => "nothing".to_owned(),
        },
    };
    let bold = Style::new().bold();
    let name = Line::new().plain("  ").styled(bold, job.name.to_string());
    let mut lines = vec![match &job.job.signal {
        Some(signal) => name.plain(format!(" waits for signal {signal}")),
        None => name.plain(format!(" on {targets}")),
    }];
    let mut say = |label: &str, text: String| {
        lines.push(Line::new().styled(DIM, format!("    {label:<9} ")).plain(text));
    };
    if !job.job.needs.is_empty() {
        let needs: Vec<&str> = job.job.needs.iter().map(Name::as_str).collect();
        say("after", needs.join(", "));
    }
    if let Some(command) = plan.first_command(job) {
        say("runs", command_words(&command));
    }
    if job.n > 1 {
        say("success", format!("{}/{} needed{}", job.needed, job.n, share(job.job.success)));
        say("pace", pace(job));
    }
    if let Some(on_unreachable) = job.job.on_unreachable {
        say("away", on_unreachable.to_string());
    }
    if let Some(lock) = &job.job.lock {
        say("lock", format!("{lock}: one attempt at a time, in all runs"));
    }
    if job.job.priority != Priority::Normal {
        say("priority", format!("{:?}", job.job.priority).to_lowercase());
    }
    if let Some(timeout) = job.job.timeout {
        say("timeout", format!("{timeout} an attempt"));
    }
    if job.job.retry.attempts > 1 {
        say("retry", format!("{} attempts in total, first after {}", job.job.retry.attempts, job.job.retry.delay));
    }
    lines
}

/// Sizes of the waves, the last one repeated; none where a window slides.
fn waves(job: &PlannedJob) -> Vec<u32> {
    if job.is_in_waves() && job.waves.is_empty() { vec![job.window] } else { job.waves.clone() }
}

fn pace(job: &PlannedJob) -> String {
    match (waves(job).as_slice(), job.job.parallelism.quotas()) {
        ([], quotas) => format!("{} at once{}", job.window, quotas.first().copied().map(share).unwrap_or_default()),
        ([size], quotas) => format!("in waves of {size}{}", quotas.first().copied().map(share).unwrap_or_default()),
        (sizes, _) => {
            let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            format!("in waves of {}, the last size repeated", sizes.join(", "))
        }
    }
}

/// ` (80%)` where a percentage was rounded to the number before it.
fn share(quota: Quota) -> String {
    match quota {
        Quota::Count(_) => String::new(),
        Quota::Percent(percent) => format!(" ({percent})"),
    }
}

/// The command of the job's first task, with every template filled in.
/// A command as a person would type it: what a shell would take apart stands in quotes.
fn command_words(command: &Command) -> String {
    match command {
        Command::Argv(argv) => argv.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" "),
        Command::Shell { shell, script } => {
            let shell: Vec<String> = shell.iter().map(|arg| quoted(arg)).collect();
            format!("{} {}", shell.join(" "), quoted(script))
        }
        Command::Handler(name) => format!("handler {name}"),
    }
}

fn quoted(arg: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./=:,@%+".contains(char);
    if !arg.is_empty() && arg.chars().all(is_plain) {
        arg.to_owned()
    } else {
        escape(format!("'{}'", arg.replace('\'', "'\\''")).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_where_a_shell_would_take_them_apart() {
        for (arg, shown) in
            [("pkg1=1.4", "pkg1=1.4"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("a\nb", "'a\\nb'")]
        {
            assert_eq!(quoted(arg), shown);
        }
    }

    #[test]
    fn a_plan_shows_targets_thresholds_and_commands() {
        let flow = serde_json::from_str(
            r#"{"name": "rollout", "slots": [
                {"jobs": [{"name": "pkg1", "run": ["install", "pkg 1"], "hosts": "db[1-9]", "success": "80%"}]},
                {"jobs": [{"name": "restart", "shell": {"script": "true"}, "hosts": "fe[1-5]", "parallelism": "50%",
                           "waves": true, "timeout": "30s", "retry": {"attempts": 3, "delay": "1s"}},
                          {"name": "report", "run": ["true"]}]}]}"#,
        );
        let plan = Plan::new(&flow.unwrap(), &rr_schemas::flow::params::ParamValues::default()).unwrap();
        let text: Vec<String> =
            lines(&plan).iter().map(|line| anstream::adapter::strip_str(&line.whole()).to_string()).collect();
        insta::assert_snapshot!(text.join("\n"));
        insta::assert_snapshot!(serde_json::to_string_pretty(&document(&plan)).unwrap());
    }
}
