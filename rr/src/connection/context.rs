//! Contexts of the NATS CLI, as they are: `$XDG_CONFIG_HOME/nats/context/NAME.json`.
//!
//! Only a context that is named counts, never the one that is selected for the CLI: `rr run` must not go to a mesh that
//! nobody spoke of. What a context asks for and rr cannot do is an error, not passed over.

use std::io;
use std::path::{Path, PathBuf};

use rr_nats::UserJwt;
use rr_schemas::flow::check::did_you_mean;
use serde::Deserialize;

use super::{Login, Parts, with_scheme};
use crate::environment::Environment;
use crate::error::CliError;
use crate::exit::Exit;

/// Names of contexts that are listed when one is unknown.
const LISTED_MAX: usize = 20;

/// A context file. Keys that say nothing of the connection, and those of later versions, are passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    url: String,
    token: String,
    user: String,
    password: String,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
    tls_first: bool,
    inbox_prefix: String,
    jetstream_domain: String,
    jetstream_api_prefix: String,
    user_jwt: String,
    user_seed: String,
    nsc: String,
    socks_proxy: String,
    windows_cert_store: String,
}

/// Reads a context.
pub(super) fn load(name: &str, environment: &Environment) -> Result<Parts, CliError> {
    let dir = environment.nats_config_dir().map(|dir| dir.join("context")).ok_or_else(|| {
        CliError::new(Exit::Config, "neither HOME nor XDG_CONFIG_HOME is set, so there are no NATS contexts")
    })?;
    if name.is_empty() || name.contains(['/', '\\']) || name.contains("..") {
        return Err(unknown(name, &dir));
    }
    let path = dir.join(format!("{name}.json"));
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(unknown(name, &dir)),
        Err(error) => return Err(broken(name, &path, &error)),
        Ok(bytes) => bytes,
    };
    let file: File = serde_json::from_slice(&bytes).map_err(|error| broken(name, &path, &error))?;
    file.parts(name, environment)
}

fn broken(name: &str, path: &Path, error: &dyn std::error::Error) -> CliError {
    CliError::new(Exit::Config, format_args!("cannot read the NATS context {name:?}: {}: {error}", path.display()))
}

fn unknown(name: &str, dir: &Path) -> CliError {
    let error = CliError::new(Exit::Config, format_args!("there is no NATS context {name:?}"));
    let known = names(dir);
    if known.is_empty() {
        return error.hint(format_args!("there are none in {}; nats context add makes one", dir.display()));
    }
    if let Some(guess) = did_you_mean(name, known.iter().map(String::as_str)) {
        return error.hint(guess);
    }
    let more = if known.len() > LISTED_MAX { ", …" } else { "" };
    let listed: Vec<&str> = known.iter().take(LISTED_MAX).map(String::as_str).collect();
    error.hint(format_args!("there are: {}{more}", listed.join(", ")))
}

/// The contexts that there are, sorted.
pub(super) fn all(environment: &Environment) -> Vec<String> {
    environment.nats_config_dir().map(|dir| names(&dir.join("context"))).unwrap_or_default()
}

/// The contexts of a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    names
}

impl File {
    fn parts(self, name: &str, environment: &Environment) -> Result<Parts, CliError> {
        let cannot = |key: &str, instead: &str| {
            Err(CliError::new(Exit::Config, format_args!("the NATS context {name:?} uses {key}, which rr cannot do"))
                .hint(instead))
        };
        if !self.nsc.is_empty() {
            return cannot("nsc", "write the credentials to a file (nsc generate creds) and name it as creds");
        }
        if !self.socks_proxy.is_empty() {
            return cannot("socks_proxy", "name a server that can be reached directly, or tunnel to it");
        }
        if !self.windows_cert_store.is_empty() {
            return cannot("windows_cert_store", "name the files of certificate and key as cert and key");
        }
        if [&self.creds, &self.nkey, &self.token, &self.password].iter().any(|value| value.starts_with("op://")) {
            return cannot("a secret of a password manager (op://)", "name a file that only you can read");
        }
        let server = some(&self.url).map(|url| with_scheme(&url)).transpose()?;
        let path = |text: &str| some(text).map(|text| at_home(&text, environment));
        let api_prefix =
            some(&self.jetstream_api_prefix).or_else(|| some(&self.jetstream_domain).map(|at| format!("$JS.{at}.API")));
        Ok(Parts {
            server,
            login: self.login(environment),
            password: some(&self.password),
            ca: path(&self.ca),
            cert: path(&self.cert),
            key: path(&self.key),
            tls_first: self.tls_first,
            inbox_prefix: some(&self.inbox_prefix),
            api_prefix,
        })
    }

    /// In the order of the NATS CLI.
    fn login(&self, environment: &Environment) -> Option<Login> {
        let path = |text: &str| some(text).map(|text| at_home(&text, environment));
        let jwt = || some(&self.user_jwt).map(|jwt| UserJwt { jwt, seed: some(&self.user_seed) });
        (some(&self.user).map(Login::User))
            .or_else(|| path(&self.creds).map(Login::Creds))
            .or_else(|| path(&self.nkey).map(Login::Nkey))
            .or_else(|| jwt().map(Login::Jwt))
            .or_else(|| some(&self.token).map(Login::Token))
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A path with `~/` made the home directory, as the NATS CLI does.
fn at_home(text: &str, environment: &Environment) -> PathBuf {
    match (text.strip_prefix("~/"), environment.get("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        (Some(_) | None, Some(_) | None) => PathBuf::from(text),
    }
}
