//! The sources of a configuration, each read into values: variables and flags.

use std::path::PathBuf;

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

use crate::cli::{ColorWhen, GlobalArgs, LogFormat, MeshArgs};
use crate::connection::Said;
use crate::environment::Environment;

/// The one key of the top level that is no text.
const TLS_FIRST: &str = "tls-first";

/// Keys of the top level that a variable may set, beside those of the connection.
pub(super) const PLAIN_KEYS: [&str; 5] = ["color", "log", "log-format", "nats-server", "state-dir"];

/// One source of values, already read.
pub(super) struct Layer {
    pub(super) metadata: Metadata,
    pub(super) values: Dict,
}

impl Layer {
    /// What it says of the connection, which is put together differently, and the rest.
    pub(super) fn split(self) -> (Self, Self) {
        let (said, rest) = self.values.into_iter().partition(|(key, _)| Said::KEYS.contains(&key.as_str()));
        (Self { metadata: self.metadata.clone(), values: said }, Self { metadata: self.metadata, values: rest })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// What the variables say.
pub(super) fn variables(environment: &Environment) -> Dict {
    let mut dict = Dict::new();
    for (name, value) in environment.texts() {
        let Some(key) = name.strip_prefix("RR_").map(str::to_ascii_lowercase) else { continue };
        let path: Vec<String> = key.split("__").map(|part| part.replace('_', "-")).collect();
        match path.as_slice() {
            [plain] if value.is_empty() || !is_key(plain) => {}
            [plain] if plain == TLS_FIRST => drop(dict.insert(plain.clone(), scalar(value))),
            [plain] => drop(dict.insert(plain.clone(), Value::from(value))),
            [_, _, ..] => insert(&mut dict, &path, scalar(value)),
            [] => {}
        }
    }
    dict
}

/// Whether a variable without a section is one of ours.
fn is_key(key: &str) -> bool {
    PLAIN_KEYS.contains(&key) || Said::KEYS.contains(&key)
}

/// Whole numbers and truths as such, everything else as text.
fn scalar(text: &str) -> Value {
    match (text.parse::<u64>(), text.parse::<bool>()) {
        (Ok(number), _) => Value::from(number),
        (_, Ok(truth)) => Value::from(truth),
        _ => Value::from(text),
    }
}

fn insert(dict: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => drop(dict.insert(last.clone(), value)),
        [first, rest @ ..] => {
            let section = dict.entry(first.clone()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, section) = section {
                insert(section, rest, value);
            }
        }
    }
}

/// What the flags say.
pub(super) fn of_flags(flags: &GlobalArgs) -> Dict {
    let GlobalArgs { mesh, config: _, json: _, color, verbose, log_format } = flags;
    let MeshArgs { server, context, creds, nkey, tls_ca, tls_cert, tls_key, tls_first, inbox_prefix, js_domain } = mesh;
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    let texts = [
        ("server", server.clone()),
        ("context", context.clone()),
        ("creds", path(creds)),
        ("nkey", path(nkey)),
        ("tls-ca", path(tls_ca)),
        ("tls-cert", path(tls_cert)),
        ("tls-key", path(tls_key)),
        ("inbox-prefix", inbox_prefix.clone()),
        ("js-domain", js_domain.clone()),
        ("log", log_of(*verbose).map(str::to_owned)),
        (
            "color",
            color.map(|color| match color {
                ColorWhen::Auto => "auto".to_owned(),
                ColorWhen::Always => "always".to_owned(),
                ColorWhen::Never => "never".to_owned(),
            }),
        ),
        (
            "log-format",
            log_format.map(|format| match format {
                LogFormat::Text => "text".to_owned(),
                LogFormat::Json => "json".to_owned(),
            }),
        ),
    ];
    let texts = texts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?))));
    texts.chain(tls_first.then(|| (TLS_FIRST.to_owned(), Value::from(true)))).collect()
}

/// What `-v`, `-vv` and more log.
const fn log_of(verbose: u8) -> Option<&'static str> {
    match verbose {
        0 => None,
        1 => Some("info,async_nats=warn"),
        2 => Some("debug,async_nats=info"),
        _ => Some("trace"),
    }
}
