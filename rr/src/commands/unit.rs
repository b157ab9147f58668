//! Units for systemd: `rr worker --print-unit`, `rr coordinator --print-unit`.
//!
//! Invariant: a unit starts what was typed, with absolute paths, and holds no secret: it is readable by everybody.

use std::path::{Path, PathBuf, absolute};

use rr_schemas::codec::Format;
use rr_worker::Options;
use rr_worker::config::{Hosts, Via};

use crate::cli::WorkerArgs;
use crate::connection::Said;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;

/// What a unit says of a role.
struct Unit {
    description: String,
    args: Vec<String>,
    service: String,
}

/// A worker stops in order: TERM goes to it alone, it takes nothing new and waits for what runs. Its jobs may do whatever
/// the user of the unit may do, so nothing here takes rights from them.
const WORKER: &str = "\
# A stop waits for what runs; make this longer than your longest job.
TimeoutStopSec=15min
KillMode=mixed
# What attempts do with control groups is theirs; one that runs out of memory does not take the worker with it.
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
";

/// A coordinator needs the network and nothing else.
const COORDINATOR: &str = "\
TimeoutStopSec=30s
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
";

/// Prints the unit of a worker.
pub(super) fn print_worker(ctx: &Context, args: &WorkerArgs, options: &Options) -> Result<Exit, CliError> {
    print(ctx, &worker_unit(ctx, args, options)?)
}

fn worker_unit(ctx: &Context, args: &WorkerArgs, options: &Options) -> Result<Unit, CliError> {
    let state = format!("rr/worker-{}", options.name);
    let mut words = mesh_args(ctx)?;
    words.extend(["worker".to_owned(), "--name".to_owned(), options.name.to_string()]);
    match &options.serves.hosts {
        Hosts::None => {}
        Hosts::All => words.push("--all-hosts".to_owned()),
        Hosts::Only(hosts) => words.extend(["--hosts".to_owned(), hosts.to_string()]),
    }
    if !options.serves.queues.is_empty() {
        let queues: Vec<&str> = options.serves.queues.iter().map(rr_schemas::name::Name::as_str).collect();
        words.extend(["--queues".to_owned(), queues.join(":")]);
    }
    if args.serve.capacity.is_some() || ctx.config.worker.capacity.is_some() {
        words.extend(["--capacity".to_owned(), options.capacity.to_string()]);
    }
    for (key, value) in options.labels.iter() {
        words.extend(["--label".to_owned(), format!("{key}={value}")]);
    }
    if options.wire == Format::Cbor {
        words.extend(["--wire".to_owned(), "cbor".to_owned()]);
    }
    words.extend(via_args(&options.via)?);
    let own_dir = args.state_dir.as_ref().or(ctx.config.worker.state_dir.as_ref());
    let mut service = home(ctx);
    let mut words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.push("--state-dir".to_owned());
    if let Some(dir) = own_dir {
        words.push(quoted(&path_text(dir)?));
    } else {
        // `%S` is systemd's; the name of a worker needs no quotes.
        words.push(format!("%S/{state}"));
        service = format!("{service}StateDirectory={state}\nStateDirectoryMode=0700\n");
    }
    service.push_str(WORKER);
    Ok(Unit { description: format!("rr worker {}", options.name), args: words, service })
}

/// How the worker comes to its hosts.
fn via_args(via: &Via) -> Result<Vec<String>, CliError> {
    let Via::Ssh(ssh) = via else { return Ok(Vec::new()) };
    let mut args = vec!["--via".to_owned(), "ssh".to_owned()];
    if let Some(file) = &ssh.config {
        args.extend(["--ssh-config".to_owned(), path_text(file)?]);
    }
    for option in &ssh.options {
        args.extend(["--ssh-option".to_owned(), option.clone()]);
    }
    Ok(args)
}

/// Prints the unit of a coordinator.
pub(super) fn print_coordinator(ctx: &Context) -> Result<Exit, CliError> {
    let mut words = mesh_args(ctx)?;
    words.push("coordinator".to_owned());
    let args = words.iter().map(|word| quoted(word)).collect();
    print(ctx, &Unit { description: "rr coordinator".to_owned(), args, service: home(ctx) + COORDINATOR })
}

fn print(ctx: &Context, unit: &Unit) -> Result<Exit, CliError> {
    let program =
        std::env::current_exe().map_err(|error| CliError::bug(format_args!("find the program rr: {error}")))?;
    ctx.printer.bytes(text(&program, unit)?.as_bytes())?;
    Ok(Exit::Succeeded)
}

fn text(program: &Path, unit: &Unit) -> Result<String, CliError> {
    let Unit { description, args, service } = unit;
    let program = quoted(&path_text(program)?);
    let args = args.join(" ");
    Ok(format!(
        "[Unit]\nDescription={description}\nWants=network-online.target\nAfter=network-online.target\n\
         # It waits for its server; systemd need not give up.\nStartLimitIntervalSec=0\n\n\
         [Service]\nType=simple\nExecStart={program} {args}\nRestart=always\nRestartSec=2s\n\
         # Wrong usage, bad input, wrong configuration: starting again changes nothing.\n\
         RestartPreventExitStatus=2 65 78\n\
         # Secrets, if any: RR_SERVER=nats://user:password@host:4222 in a file of mode 0600.\n\
         EnvironmentFile=-/etc/rr/environment\n{service}\n\
         [Install]\nWantedBy=multi-user.target\n"
    ))
}

/// A context lies in the home of whoever typed it, which a service does not have by itself.
fn home(ctx: &Context) -> String {
    let names_context = ctx.config.connection.last().is_some_and(|said| said.context.is_some());
    let variables = ["HOME", "XDG_CONFIG_HOME"].into_iter().filter(|_| names_context);
    let lines = variables.filter_map(|name| {
        let value = ctx.environment.get(name)?.to_str()?;
        Some(format!("Environment={}\n", quoted(&format!("{name}={value}"))))
    });
    lines.collect()
}

/// What was typed of the mesh, and the configuration file, with absolute paths.
fn mesh_args(ctx: &Context) -> Result<Vec<String>, CliError> {
    let mut args = Vec::new();
    let config = ctx.config_file.as_ref();
    let said = ctx.config.connection.last().cloned().unwrap_or_default();
    let Said { server, context, inbox_prefix, js_domain, tls_first, .. } = &said;
    if server.as_ref().is_some_and(|server| server.contains('@')) {
        return Err(CliError::new(Exit::Config, "a unit is readable by everybody, so no password belongs into it")
            .hint("leave the user out of --server and put RR_SERVER into /etc/rr/environment with mode 0600"));
    }
    let paths = [
        ("--config", config),
        ("--creds", said.creds.as_ref()),
        ("--nkey", said.nkey.as_ref()),
        ("--tls-ca", said.tls_ca.as_ref()),
        ("--tls-cert", said.tls_cert.as_ref()),
        ("--tls-key", said.tls_key.as_ref()),
    ];
    let texts =
        [("--server", server), ("--context", context), ("--inbox-prefix", inbox_prefix), ("--js-domain", js_domain)];
    for (flag, text) in texts {
        if let Some(text) = text {
            args.extend([flag.to_owned(), text.clone()]);
        }
    }
    for (flag, path) in paths {
        if let Some(path) = path {
            args.extend([flag.to_owned(), path_text(path)?]);
        }
    }
    if tls_first == &Some(true) {
        args.push("--tls-first".to_owned());
    }
    Ok(args)
}

fn path_text(path: &Path) -> Result<String, CliError> {
    let bad = |why: &str| CliError::new(Exit::Config, format_args!("path {}: {why}", path.display()));
    let path: PathBuf = absolute(path).map_err(|error| bad(&error.to_string()))?;
    path.to_str().map(str::to_owned).ok_or_else(|| bad("not UTF-8"))
}

/// A word of a command line as systemd reads it.
fn quoted(word: &str) -> String {
    let mut escaped = String::with_capacity(word.len());
    for char in word.chars() {
        match char {
            '%' => escaped.push_str("%%"),
            '$' => escaped.push_str("$$"),
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            char => escaped.push(char),
        }
    }
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=,%@+".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) { escaped } else { format!("\"{escaped}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{GlobalArgs, MeshArgs, ServeArgs, WireFormat};
    use crate::environment::Environment;
    use crate::roles;

    fn context(mesh: MeshArgs) -> Context {
        let flags = GlobalArgs { mesh, ..GlobalArgs::default() };
        Context::new([("HOME", "/h")].into_iter().collect::<Environment>(), &flags).unwrap()
    }

    #[test]
    fn words_are_quoted_as_systemd_reads_them() {
        for (word, expected) in [
            ("nats://h:4222", "nats://h:4222"),
            ("db[1-10]", "\"db[1-10]\""),
            ("a b", "\"a b\""),
            ("50%", "50%%"),
            ("$HOME \"x\" \\", "\"$$HOME \\\"x\\\" \\\\\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn no_secret_gets_into_a_unit() {
        let mesh = MeshArgs { server: Some("nats://u:p@h".to_owned()), ..MeshArgs::default() };
        assert_eq!(mesh_args(&context(mesh)).unwrap_err().exit(), Exit::Config);
    }

    #[test]
    fn a_coordinator_starts_with_what_was_typed() {
        let mesh = MeshArgs {
            server: Some("tls://mesh:4222".to_owned()),
            creds: Some("/etc/rr/my creds".into()),
            tls_ca: Some("/etc/rr/ca.pem".into()),
            tls_first: true,
            inbox_prefix: Some("_INBOX_c".to_owned()),
            ..MeshArgs::default()
        };
        let words: Vec<String> = mesh_args(&context(mesh)).unwrap().iter().map(|word| quoted(word)).collect();
        let args = words.into_iter().chain(["coordinator".to_owned()]).collect();
        let unit = Unit { description: "rr coordinator".to_owned(), args, service: COORDINATOR.to_owned() };
        insta::assert_snapshot!(text(Path::new("/usr/local/bin/rr"), &unit).unwrap());
    }

    #[test]
    fn a_unit_goes_to_its_hosts_as_the_worker_does() {
        let ctx = context(MeshArgs::default());
        let args = WorkerArgs {
            serve: ServeArgs { hosts: Some("db1".to_owned()), ..ServeArgs::default() },
            via: Some(crate::cli::ViaKind::Ssh),
            ssh_options: vec!["User=deploy".to_owned()],
            ..WorkerArgs::default()
        };
        let options = roles::of_worker(&ctx, &args).unwrap();
        assert_eq!(via_args(&options.via).unwrap(), ["--via", "ssh", "--ssh-option", "User=deploy"]);
    }

    #[test]
    fn the_unit_of_a_worker_serves_what_the_worker_serves() {
        let ctx = context(MeshArgs { context: Some("prod".to_owned()), ..MeshArgs::default() });
        let serve = ServeArgs {
            hosts: Some("db[1-3]".to_owned()),
            queues: Some("a:a:b".to_owned()),
            capacity: Some(4),
            ..ServeArgs::default()
        };
        let (name, labels) = (Some("w1".to_owned()), vec!["zone=a b".to_owned()]);
        let wire = Some(WireFormat::Cbor);
        let args = WorkerArgs { name, serve, labels, wire, print_unit: true, ..WorkerArgs::default() };
        let unit = worker_unit(&ctx, &args, &roles::of_worker(&ctx, &args).unwrap()).unwrap();
        insta::assert_snapshot!(text(Path::new("/opt/r r/rr"), &unit).unwrap());
    }
}
