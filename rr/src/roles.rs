//! What workers are told when they start: flags first, then the configuration, then what suits the verb.

mod guard;
mod told;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use rr_core::{Plan, plan::Targets};
use rr_nats::LANE_HOSTS_MAX;
use rr_schemas::{
    codec::Format,
    flow::select::Labels,
    host::HostSet,
    name::{Name, WorkerName},
};
use rr_worker::{
    Options,
    config::{Execution, Hosts, Serves, SshOptions, Via},
};

pub(crate) use self::guard::GuardKeeper;
pub(crate) use self::told::{coordinator_ended, worker_ended, worker_told};
use crate::cli::{ServeArgs, ViaKind, WireFormat, WorkerArgs};
use crate::context::{Context, machine};
use crate::error::CliError;
use crate::exit::Exit;

/// Attempts at once where one machine stands for many hosts: they mostly wait.
const SIMULATED_CAPACITY_MIN: u32 = 64;
/// Attempts at once for each CPU, where one machine stands for many hosts.
const SIMULATED_PER_CPU: u32 = 4;

/// The worker of `rr run`: it serves every host, and every queue that the flow names.
pub(crate) fn of_run(ctx: &Context, dir: PathBuf, plan: &Plan, capacity: Option<u32>) -> Result<Options, CliError> {
    let mut queues = vec![default_queue()?];
    for job in plan.jobs() {
        if let Targets::Queue(queue) = &job.targets
            && !queues.contains(queue)
        {
            queues.push(queue.clone());
        }
    }
    let capacity = capacity.and_then(NonZeroU32::new).or(ctx.config.worker.capacity).unwrap_or_else(simulated_capacity);
    let serves = Serves { hosts: Hosts::All, queues };
    Ok(Options { capacity, serves, ..base(ctx, machine_name()?, dir) })
}

/// The worker of `rr up`: this machine and the queue `default` where nothing else is said.
pub(crate) fn of_up(ctx: &Context, dir: PathBuf, args: &ServeArgs) -> Result<Options, CliError> {
    let mut serves = serves(ctx, args)?;
    if serves.hosts == Hosts::None {
        serves.hosts = own_hosts().map_or(Hosts::None, Hosts::Only);
    }
    if serves.queues.is_empty() {
        serves.queues = vec![default_queue()?];
    }
    let simulated = serves.hosts == Hosts::All;
    let given = args.capacity.and_then(NonZeroU32::new).or(ctx.config.worker.capacity);
    let capacity = given.unwrap_or_else(|| if simulated { simulated_capacity() } else { cpus() });
    let name = match &ctx.config.worker.name {
        Some(name) => parse_name(name)?,
        None => machine_name()?,
    };
    Ok(Options { capacity, serves, ..base(ctx, name, dir) })
}

/// The worker of `rr worker`: in directories and an environment of their own.
pub(crate) fn of_worker(ctx: &Context, args: &WorkerArgs) -> Result<Options, CliError> {
    let name = match args.name.as_ref().or(ctx.config.worker.name.as_ref()) {
        Some(name) => parse_name(name)?,
        None => machine_name()?,
    };
    let serves = serves(ctx, &args.serve)?;
    if serves.hosts == Hosts::None && serves.queues.is_empty() {
        return Err(CliError::new(Exit::Config, "the worker serves neither hosts nor queues")
            .hint("say what it serves with --hosts, --all-hosts or --queues"));
    }
    let dir = match args.state_dir.as_ref().or(ctx.config.worker.state_dir.as_ref()) {
        Some(dir) => dir.clone(),
        None => ctx.state_dir()?.join(format!("worker-{name}")),
    };
    let capacity = args.serve.capacity.and_then(NonZeroU32::new).or(ctx.config.worker.capacity).unwrap_or_else(cpus);
    let execution = Execution::Clean { workdir: dir.join("work") };
    let via = via(ctx, args, &serves)?;
    let own = match &via {
        Via::Process | Via::Functions => None,
        Via::Ssh(_) => Some("via=ssh".to_owned()),
    };
    let given: Vec<String> = args.labels.iter().cloned().chain(own).collect();
    let labels = labels(&ctx.config.worker.labels, &given)?;
    let base = base(ctx, name, dir);
    let wire = match args.wire {
        None => base.wire,
        Some(WireFormat::Json) => Format::Json,
        Some(WireFormat::Cbor) => Format::Cbor,
    };
    Ok(Options { capacity, serves, execution, labels, via, wire, ..base })
}

/// How a worker's commands come to their hosts.
fn via(ctx: &Context, args: &WorkerArgs, serves: &Serves) -> Result<Via, CliError> {
    match args.via.unwrap_or(ctx.config.worker.via) {
        ViaKind::Process if args.ssh_config.is_some() || !args.ssh_options.is_empty() => {
            Err(CliError::new(Exit::Usage, "options of ssh were given to a worker that does not go by ssh")
                .hint("add --via ssh"))
        }
        ViaKind::Process => Ok(Via::Process),
        ViaKind::Ssh if !serves.queues.is_empty() => {
            Err(CliError::new(Exit::Config, "a worker that goes by ssh serves hosts, not queues")
                .hint("start another worker for the queues"))
        }
        ViaKind::Ssh => {
            let mut ssh = ctx.config.worker.ssh.clone();
            // What is given first counts, says ssh.
            ssh.options = args.ssh_options.iter().chain(&ssh.options).cloned().collect();
            if let Some(option) = ssh.unfit() {
                return Err(CliError::new(Exit::BadInput, format_args!("ssh option {option:?} cannot be given"))
                    .hint("write NAME=VALUE; rr itself sets BatchMode, Control*, RequestTTY and RemoteCommand"));
            }
            // Commands of ssh start in another directory.
            let file = args.ssh_config.clone().or(ssh.config).map(|file| {
                let shown = file.display().to_string();
                std::path::absolute(file).ok().filter(|file| file.is_file()).ok_or_else(|| {
                    CliError::new(
                        Exit::Unknown,
                        format_args!("cannot read the ssh configuration {shown}: no such file"),
                    )
                })
            });
            Ok(Via::Ssh(SshOptions { config: file.transpose()?, ..ssh }))
        }
    }
}

/// Labels of the configuration, and those of the flags, which win.
fn labels(configured: &BTreeMap<String, String>, given: &[String]) -> Result<Labels, CliError> {
    let bad = |message: String| CliError::new(Exit::BadInput, message);
    let mut pairs: Vec<(&str, &str)> = configured.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    for label in given {
        let pair = label.split_once('=').filter(|(key, _)| !key.is_empty());
        pairs.push(pair.ok_or_else(|| bad(format!("expected a label as key=value, got {label:?}")))?);
    }
    let named = pairs.into_iter().map(|(key, value)| {
        key.parse::<Name>().map(|key| (key, value.to_owned())).map_err(|error| bad(format!("label: {error}")))
    });
    let named: BTreeMap<Name, String> = named.collect::<Result<_, _>>()?;
    Labels::try_from(named).map_err(|error| bad(error.to_string()))
}

fn base(ctx: &Context, name: WorkerName, dir: PathBuf) -> Options {
    let config = &ctx.config.worker;
    Options {
        times: config.times,
        output: config.output,
        labels: Labels::default(),
        wire: config.wire.unwrap_or_default(),
        environment: ctx.environment.all().clone(),
        ..Options::new(name, dir)
    }
}

fn serves(ctx: &Context, args: &ServeArgs) -> Result<Serves, CliError> {
    let config = &ctx.config.worker;
    // A flag for hosts takes the place of all that the configuration says of hosts.
    let by_flag = args.all_hosts || args.hosts.is_some();
    let (all, hosts) = if by_flag { (args.all_hosts, &args.hosts) } else { (config.all_hosts, &config.hosts) };
    let hosts = match hosts {
        _ if all => Hosts::All,
        None => Hosts::None,
        Some(hosts) => Hosts::Only(parse_hosts(hosts)?),
    };
    let queues = args.queues.as_ref().or(config.queues.as_ref());
    Ok(Serves { hosts, queues: queues.map_or_else(|| Ok(Vec::new()), |queues| parse_queues(queues))? })
}

fn parse_hosts(text: &str) -> Result<HostSet, CliError> {
    let hosts: HostSet = text
        .parse()
        .map_err(|error| CliError::new(Exit::BadInput, format_args!("host expression {text:?}: {error}")))?;
    let hosts = hosts.merged().0;
    let n = hosts.iter().take(LANE_HOSTS_MAX + 1).count();
    if n > LANE_HOSTS_MAX {
        let text = format!("a worker serves at most {LANE_HOSTS_MAX} hosts by name, {} were given", hosts.len());
        return Err(CliError::new(Exit::BadInput, text)
            .hint("let several workers share them, or serve every host that a flow names with --all-hosts"));
    }
    Ok(hosts)
}

/// `A:A:B` or `A,A,B`.
fn parse_queues(text: &str) -> Result<Vec<Name>, CliError> {
    let parse = |queue: &str| {
        queue.trim().parse().map_err(|error| CliError::new(Exit::BadInput, format_args!("queue {error}")))
    };
    text.split([':', ',']).map(parse).collect()
}

fn parse_name(text: &str) -> Result<WorkerName, CliError> {
    text.parse().map_err(|error| CliError::new(Exit::BadInput, format_args!("worker {error}")))
}

fn default_queue() -> Result<Name, CliError> {
    rr_core::plan::DEFAULT_QUEUE.parse().map_err(|error| CliError::bug(format_args!("queue {error}")))
}

/// The machine's name with what no name can hold written `-`.
fn machine_name() -> Result<WorkerName, CliError> {
    let allowed = |char: char| if char.is_ascii_alphanumeric() || char == '_' { char } else { '-' };
    let name: String = machine().chars().take(63).map(allowed).collect();
    parse_name(name.trim_start_matches('-'))
}

/// This machine under its own name and as `localhost`.
fn own_hosts() -> Option<HostSet> {
    let machine = machine();
    let both = if machine == "localhost" { machine } else { format!("{machine},localhost") };
    both.parse().or_else(|_| "localhost".parse()).ok()
}

fn cpus() -> NonZeroU32 {
    let n = std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok());
    n.and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

fn simulated_capacity() -> NonZeroU32 {
    let n = cpus().get().saturating_mul(SIMULATED_PER_CPU).max(SIMULATED_CAPACITY_MIN);
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::GlobalArgs;
    use crate::environment::Environment;

    fn context(variables: &[(&str, &str)]) -> Context {
        let environment: Environment = [("HOME", "/h")].into_iter().chain(variables.iter().copied()).collect();
        Context::new(environment, &GlobalArgs::default()).unwrap()
    }

    fn shown(serves: &Serves) -> String {
        let hosts = match &serves.hosts {
            Hosts::None => "none".to_owned(),
            Hosts::All => "all".to_owned(),
            Hosts::Only(hosts) => hosts.to_string(),
        };
        let queues: Vec<&str> = serves.queues.iter().map(Name::as_str).collect();
        format!("{hosts}; {}", queues.join(":"))
    }

    #[test]
    fn flags_for_what_a_worker_serves_win_over_the_configuration() {
        let hosts = |hosts: &str| ServeArgs { hosts: Some(hosts.to_owned()), ..ServeArgs::default() };
        let all = ServeArgs { all_hosts: true, ..ServeArgs::default() };
        let queues = ServeArgs { queues: Some("a:a,b".to_owned()), ..ServeArgs::default() };
        let by_host = [("RR_WORKER__HOSTS", "db[1-2]"), ("RR_WORKER__QUEUES", "q")];
        let by_all = [("RR_WORKER__ALL_HOSTS", "true")];
        for (variables, args, expected) in [
            (&[][..], &hosts("x1,x1,x2"), "x[1-2]; "),
            (&[][..], &hosts("x[1-64],x[1-64]"), "x[1-64]; "),
            (&by_host[..], &ServeArgs::default(), "db[1-2]; q"),
            (&by_host[..], &all, "all; q"),
            (&by_host[..], &queues, "db[1-2]; a:a:b"),
            (&by_all[..], &hosts("x1"), "x1; "),
            (&by_all[..], &ServeArgs::default(), "all; "),
        ] {
            assert_eq!(shown(&serves(&context(variables), args).unwrap()), expected);
        }
    }

    #[test]
    fn what_no_worker_can_be_told_is_refused() {
        let args = |args: ServeArgs| WorkerArgs { serve: args, ..WorkerArgs::default() };
        let all = || ServeArgs { all_hosts: true, ..ServeArgs::default() };
        let ssh = |serve: ServeArgs, options: &[&str], config: Option<&str>| WorkerArgs {
            serve,
            via: Some(ViaKind::Ssh),
            ssh_options: options.iter().map(ToString::to_string).collect(),
            ssh_config: config.map(PathBuf::from),
            ..WorkerArgs::default()
        };
        let hosts = ServeArgs { hosts: Some("db[1-".to_owned()), ..ServeArgs::default() };
        let queues = ServeArgs { queues: Some("a::b".to_owned()), ..ServeArgs::default() };
        let many = ServeArgs { hosts: Some("db[1-64],x".to_owned()), ..ServeArgs::default() };
        let label = WorkerArgs { labels: vec!["zone".to_owned()], ..args(all()) };
        let name = WorkerArgs { name: Some("a b".to_owned()), ..args(all()) };
        for (args, exit) in [
            (args(ServeArgs::default()), Exit::Config),
            (ssh(ServeArgs { queues: Some("q".to_owned()), ..all() }, &[], None), Exit::Config),
            (ssh(all(), &["ControlPath=/tmp/x"], None), Exit::BadInput),
            (ssh(all(), &[], Some("/no/such/file")), Exit::Unknown),
            (WorkerArgs { via: None, ..ssh(all(), &["User=x"], None) }, Exit::Usage),
            (args(hosts), Exit::BadInput),
            (args(queues), Exit::BadInput),
            (args(many), Exit::BadInput),
            (label, Exit::BadInput),
            (name, Exit::BadInput),
        ] {
            assert_eq!(of_worker(&context(&[]), &args).unwrap_err().exit(), exit, "{args:?}");
        }
    }

    #[test]
    fn a_worker_keeps_its_state_under_its_name() {
        let args = WorkerArgs {
            name: Some("w1".to_owned()),
            serve: ServeArgs { all_hosts: true, ..ServeArgs::default() },
            labels: vec!["zone=a=b".to_owned()],
            wire: Some(WireFormat::Cbor),
            ..WorkerArgs::default()
        };
        let options = of_worker(&context(&[]), &args).unwrap();
        assert_eq!(options.state_dir, PathBuf::from("/h/.local/state/rr/worker-w1"));
        assert_eq!(options.labels.to_string(), "zone=a=b");
        assert!(matches!(options.execution, Execution::Clean { .. }));
        assert_eq!(options.wire, Format::Cbor);
        let configured =
            of_worker(&context(&[("RR_WORKER__WIRE", "cbor")]), &WorkerArgs { wire: None, ..args }).unwrap();
        assert_eq!(configured.wire, Format::Cbor);
    }
}
