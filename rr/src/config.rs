//! The configuration of `rr`: a file, then `RR_*` variables, then flags; each wins over those before it.
//!
//! A variable is named like its key: `RR_LOG_FORMAT` is `log-format`, `RR_WORKER__STATE_DIR` is `state-dir` in the
//! section `worker`. Attempts see variables such as `RR_HOST` too, so a variable without a section that is no key
//! is passed over; one with a section must be right.

mod layer;

use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::{Figment, Metadata, Provider as _, providers::Format as _, value::Value};
use rr_nats::topology::Topology;
use rr_schemas::{codec::Format, span::Span};
use serde::Deserialize;
use serde_saphyr::figment::Yaml;

use self::layer::{Layer, of_flags, variables};
use crate::cli::{ColorWhen, GlobalArgs, LogFormat, ViaKind};
use crate::connection::Said;
use crate::environment::Environment;
use crate::error::CliError;
use crate::exit::Exit;

/// Everything that can be configured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// What each source says of the mesh and the login, the farthest first.
    #[serde(skip)]
    pub(crate) connection: Vec<Said>,
    /// Whether to use colours. Default: on a terminal.
    pub(crate) color: ColorWhen,
    /// What to log, as `tracing` filters: `info`, `rr_worker=debug`. Default: `warn`; roles: `info`.
    pub(crate) log: Option<String>,
    /// Form of the log. Default: text.
    pub(crate) log_format: LogFormat,
    /// The nats-server program for private meshes. Default: from `PATH`, else fetched.
    pub(crate) nats_server: Option<PathBuf>,
    /// Where private meshes and their runs are kept. Default: `$XDG_STATE_HOME/rr`.
    pub(crate) state_dir: Option<PathBuf>,
    /// `rr worker`, and the worker of `rr up`.
    pub(crate) worker: WorkerConfig,
    /// `rr coordinator`, and the coordinator of private meshes.
    pub(crate) coordinator: rr_coordinator::Options,
    /// How the streams of a new mesh are made.
    pub(crate) mesh: MeshConfig,
}

/// What a worker serves and where it keeps its state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct WorkerConfig {
    /// Its name. Default: the name of the machine.
    #[serde(deserialize_with = "lenient_text")]
    pub(crate) name: Option<String>,
    /// Hosts, as an expression. Default: none under `rr worker`, the name of the machine under `rr up`.
    pub(crate) hosts: Option<String>,
    /// Whether it serves every host that a flow names. Default: no.
    pub(crate) all_hosts: bool,
    /// Queues, as `A:A:B`. Default: none under `rr worker`, `default` under `rr up`.
    #[serde(deserialize_with = "lenient_text")]
    pub(crate) queues: Option<String>,
    /// Attempts at once. Default: one for each CPU.
    pub(crate) capacity: Option<NonZeroU32>,
    /// Labels. Default: none.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where it keeps what it has done. Default: `worker-<name>` in the state directory.
    pub(crate) state_dir: Option<PathBuf>,
    /// The format of what it says to the mesh: `json`, or `cbor` for thin links. Default: `json`.
    pub(crate) wire: Option<Format>,
    /// How commands come to the hosts: `process`, or `ssh`. Default: as processes of this machine.
    pub(crate) via: ViaKind,
    /// How it goes by ssh.
    pub(crate) ssh: rr_worker::config::SshOptions,
    /// Its times.
    pub(crate) times: rr_worker::config::Times,
    /// What is kept of an attempt's output.
    pub(crate) output: rr_worker::config::OutputLimits,
}

/// How the streams of a new mesh are made; what is not said is as [`Topology`] has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MeshConfig {
    /// Partitions, fixed for the life of the mesh. Default: 8.
    partitions: Option<NonZeroU16>,
    /// Copies of each stream, 1 to 5. Default: 3 on a server that belongs to a cluster, else 1.
    replicas: Option<NonZeroU8>,
    /// How long a worker may hold an offer without a sign of life. Default: 30s.
    ack_wait: Option<Span>,
    /// How long a coordinator may hold an input. Default: 4s.
    partition_ack_wait: Option<Span>,
    /// After which silence a partition goes to another coordinator. Default: 3s.
    pin_timeout: Option<Span>,
    /// Bytes of output at most. Default: 4 GiB.
    output_max_bytes: Option<u64>,
    /// Age of output at most. Default: 7d.
    output_max_age: Option<Span>,
}

impl MeshConfig {
    /// The streams to make where there are none; `partitions` unless something else is configured.
    pub(crate) fn topology(&self, partitions: u16) -> Topology {
        let or = |span: Option<Span>, default: Duration| span.map_or(default, Span::as_duration);
        let default = Topology::default();
        Topology {
            partitions: self.partitions.map_or(partitions, NonZeroU16::get),
            replicas: self.replicas.map(|copies| usize::from(copies.get())),
            work_ack_wait: or(self.ack_wait, default.work_ack_wait),
            partition_ack_wait: or(self.partition_ack_wait, default.partition_ack_wait),
            pin_timeout: or(self.pin_timeout, default.pin_timeout),
            output_max_bytes: self.output_max_bytes.unwrap_or(default.output_max_bytes),
            output_max_age: or(self.output_max_age, default.output_max_age),
            ..default
        }
    }
}

/// Variables arrive as numbers where they look like one.
fn lenient_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        None => None,
        Some(Value::String(_, text)) => Some(text),
        Some(Value::Num(_, number)) => number.to_u128().map(|number| number.to_string()),
        Some(Value::Bool(_, truth)) => Some(truth.to_string()),
        Some(Value::Char(..) | Value::Empty(..) | Value::Dict(..) | Value::Array(..)) => {
            return Err(serde::de::Error::custom("expected a text"));
        }
    })
}

/// The section on variables at the end of `rr --help`.
pub(crate) fn help() -> &'static str {
    "Variables, each like a key of the configuration file; a flag wins:\n  \
     RR_SERVER, RR_CONTEXT, RR_CREDS, RR_NKEY, RR_TLS_CA, RR_TLS_CERT,\n  \
     RR_TLS_KEY, RR_TLS_FIRST, RR_INBOX_PREFIX, RR_JS_DOMAIN, RR_COLOR,\n  \
     RR_LOG_FORMAT        as the flags\n  \
     RR_USER, RR_PASSWORD, RR_TOKEN\n                       \
                          a login that has no flag: arguments are no secret\n  \
     NATS_CONTEXT         as --context, if nothing else names a mesh\n  \
     RR_CONFIG            configuration file, as --config\n  \
     RR_LOG               what to log: info, or rr_worker=debug,warn\n  \
     RR_NATS_SERVER       the nats-server program for private meshes\n  \
     RR_STATE_DIR         where private meshes and their runs are kept\n  \
     RR_<SECTION>__<KEY>  a key of a section: RR_WORKER__CAPACITY=8\n"
}

impl Config {
    /// Reads the file that is named or lies at its usual place, then the variables, then the flags.
    ///
    /// # Errors
    /// A named file that is missing (66); anything that is wrong in any of them (78), with its source.
    pub(crate) fn load(environment: &Environment, flags: &GlobalArgs) -> Result<Self, CliError> {
        let named = flags.config.clone().or_else(|| environment.get("RR_CONFIG").map(PathBuf::from));
        let usual = environment.config_dir().map(|dir| dir.join("config.yaml"));
        let file = match named {
            Some(path) if !path.is_file() => {
                return Err(CliError::new(
                    Exit::Unknown,
                    format_args!("cannot read the configuration {}: no such file", path.display()),
                ));
            }
            Some(path) => Some(path),
            None => usual.filter(|path| path.is_file()),
        };
        Self::layered(file.as_deref(), environment, flags)
    }

    fn layered(file: Option<&Path>, environment: &Environment, flags: &GlobalArgs) -> Result<Self, CliError> {
        let mut layers = Vec::new();
        if let Some(path) = file {
            let metadata = Metadata::from("YAML file", path);
            let read = Yaml::file_exact(path).data().map_err(|mut error| {
                error.metadata = Some(metadata.clone());
                wrong(error)
            })?;
            layers.push(Layer { metadata, values: read.into_values().next().unwrap_or_default() });
        }
        layers.push(Layer { metadata: Metadata::named("RR_* variables"), values: variables(environment) });
        layers.push(Layer { metadata: Metadata::named("flags"), values: of_flags(flags) });
        let mut connection = Vec::new();
        let mut figment = Figment::new();
        for layer in layers {
            let (said, rest) = layer.split();
            connection.push(Figment::from(said).extract::<Said>().map_err(wrong)?);
            figment = figment.merge(rest);
        }
        // So that a file and the keys beside it can be moved together.
        if let (Some(dir), Some(said)) = (file.and_then(Path::parent), connection.first_mut()) {
            said.lie_in(dir);
        }
        Ok(Self { connection, ..figment.extract().map_err(wrong)? })
    }

    /// Where private meshes and their runs are kept.
    ///
    /// # Errors
    /// Neither configured nor to be found from the environment.
    pub(crate) fn state_dir(&self, environment: &Environment) -> Result<PathBuf, CliError> {
        self.state_dir.clone().or_else(|| environment.state_dir()).ok_or_else(|| {
            CliError::new(Exit::Config, "neither HOME nor XDG_STATE_HOME is set")
                .hint("set RR_STATE_DIR to a directory that may be written")
        })
    }
}

fn wrong(error: figment::Error) -> CliError {
    let all: Vec<String> = error.into_iter().map(|error| explain(&error)).collect();
    CliError::new(Exit::Config, format_args!("wrong configuration: {}", all.join("; ")))
}

/// What is wrong, where, and in which source.
fn explain(error: &figment::Error) -> String {
    let at = if error.path.is_empty() { String::new() } else { format!(" at {}", error.path.join(".")) };
    let source = error.metadata.as_ref().map(|metadata| {
        let file = metadata.source.as_ref().and_then(figment::Source::file_path);
        file.map_or_else(|| metadata.name.to_string(), |path| path.display().to_string())
    });
    let source = source.map_or_else(String::new, |source| format!(" in {source}"));
    format!("{}{at}{source}", error.kind)
}

#[cfg(test)]
mod tests {
    use super::layer::PLAIN_KEYS;
    use super::*;
    use crate::cli::MeshArgs;
    use crate::connection::Connection;

    fn load(file: Option<&str>, variables: &[(&str, &str)], flags: &GlobalArgs) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
        }
        let environment = variables.iter().copied().collect::<Environment>();
        Config::layered(file.map(|_| path.as_path()), &environment, flags)
            .map_err(|error| error.to_string().replace(&dir.path().display().to_string(), "DIR"))
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let none = GlobalArgs::default();
        let mesh = MeshArgs { server: Some("nats://flag".to_owned()), ..MeshArgs::default() };
        let flag = GlobalArgs { mesh, ..GlobalArgs::default() };
        let file = Some("server: nats://file\n");
        let variable = [("RR_SERVER", "nats://variable")];
        for (file, variables, flags, server) in [
            (None, &[][..], &none, None),
            (file, &[][..], &none, Some("nats://file")),
            (file, &variable[..], &none, Some("nats://variable")),
            (file, &variable[..], &flag, Some("nats://flag")),
            (None, &[("RR_SERVER", "")][..], &none, None),
        ] {
            let connection = Connection::of(&load(file, variables, flags).unwrap().connection, &Environment::default());
            let shown = connection.unwrap().map(|connection| connection.shown());
            assert_eq!(shown.as_deref(), server, "{file:?} {variables:?}");
        }
    }

    #[test]
    fn paths_of_the_file_begin_where_it_lies() {
        let config = load(Some("{nkey: a.nk, tls-ca: /abs/ca.pem}"), &[], &GlobalArgs::default()).unwrap();
        let said = config.connection.first().unwrap();
        assert!(said.nkey.as_ref().unwrap().is_absolute() && said.nkey.as_ref().unwrap().ends_with("a.nk"));
        assert_eq!(said.tls_ca.as_deref(), Some(Path::new("/abs/ca.pem")));
        let config = load(None, &[("RR_NKEY", "a.nk")], &GlobalArgs::default()).unwrap();
        assert_eq!(config.connection.first().unwrap().nkey.as_deref(), Some(Path::new("a.nk")));
    }

    #[test]
    fn sections_merge_key_by_key() {
        let variables = [
            ("RR_WORKER__CAPACITY", "9"),
            ("RR_WORKER__NAME", "007"),
            ("RR_COORDINATOR__POLICY__OFFER_EXPIRY", "2s"),
            ("RR_WORKER__TIMES__GRACE", "1s"),
            ("RR_WORKER__ALL_HOSTS", "true"),
        ];
        let config = load(
            Some("worker: {queues: 'a:b', capacity: 3}\ncoordinator: {policy: {lease: 4s}}\n"),
            &variables,
            &GlobalArgs::default(),
        );
        let config = config.unwrap();
        assert_eq!(config.worker.capacity.unwrap().get(), 9);
        assert_eq!(config.worker.queues.as_deref(), Some("a:b"));
        assert_eq!(config.worker.name.as_deref(), Some("7"));
        assert_eq!(config.coordinator.policy.offer_expiry.to_string(), "2s");
        assert_eq!(config.coordinator.policy.lease.to_string(), "4s");
        assert_eq!(config.worker.times.grace.to_string(), "1s");
        assert!(config.worker.all_hosts);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_source() {
        let none = GlobalArgs::default();
        for (file, variables) in [
            (Some("sever: nats://x\n"), &[][..]),
            (Some("worker: {capacty: 3}\n"), &[][..]),
            (Some("worker: {capacity: 0}\n"), &[][..]),
            (Some("coordinator: {policy: {lease: soon}}\n"), &[][..]),
            (Some("a: [\n"), &[][..]),
            (None, &[("RR_WORKER__CAPACTY", "3")][..]),
            (None, &[("RR_COLOR", "pink")][..]),
            (None, &[("RR_TLS_FIRST", "perhaps")][..]),
            (Some("password: 5\n"), &[][..]),
        ] {
            let error = load(file, variables, &none).unwrap_err();
            let source = if file.is_some() { "DIR/config.yaml" } else { "RR_* variables" };
            assert!(error.contains(source), "{error}");
        }
    }

    #[test]
    fn the_help_names_every_variable() {
        for key in PLAIN_KEYS.iter().chain(&Said::KEYS) {
            let variable = format!("RR_{}", key.to_ascii_uppercase().replace('-', "_"));
            assert!(help().contains(&variable), "{variable}");
        }
    }

    #[test]
    fn variables_of_attempts_are_no_configuration() {
        let variables = [("RR_HOST", "db1"), ("RR_PARAM_VERSION", "1"), ("RR_JOB", "x"), ("RR_OUTPUT_FILE", "/f")];
        assert!(load(None, &variables, &GlobalArgs::default()).is_ok());
    }

    #[test]
    fn a_named_file_must_exist() {
        let flags = GlobalArgs { config: Some("/nowhere/rr.yaml".into()), ..GlobalArgs::default() };
        assert_eq!(Config::load(&Environment::default(), &flags).unwrap_err().exit().code(), 66);
    }
}
