//! Which server is meant and who logs in there, put together from flags, variables, the configuration file and contexts
//! of the NATS CLI.
//!
//! Invariants: what is nearer to the user wins, key by key, but a login is one thing and is never mixed from two
//! sources; a context stands for all that it describes, so nothing that is farther away gets into it: no password goes
//! to a server that it was not meant for. Nothing is read before a mesh is needed.

mod context;

use std::fmt;
use std::path::{Path, PathBuf};

use rr_nats::{ClientCertificate, ConnectOptions, TlsFirst, UserJwt};
use serde::Deserialize;

use crate::environment::Environment;
use crate::error::CliError;
use crate::exit::Exit;

/// Beginnings of the URLs that a mesh can have.
const SCHEMES: [&str; 2] = ["nats://", "tls://"];
/// The variable by which the NATS CLI is told of a context.
const NATS_CONTEXT: &str = "NATS_CONTEXT";

/// What one source says: the file, the variables or the flags.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Said {
    /// URL of the mesh. Default: a running `rr up`, else none.
    pub(crate) server: Option<String>,
    /// Context of the NATS CLI.
    pub(crate) context: Option<String>,
    /// Credentials file: a user's JWT and seed.
    pub(crate) creds: Option<PathBuf>,
    /// File with the seed of a user's nkey.
    pub(crate) nkey: Option<PathBuf>,
    /// User.
    pub(crate) user: Option<String>,
    /// Password of the user.
    pub(crate) password: Option<String>,
    /// Token.
    pub(crate) token: Option<String>,
    /// Certificates of the authorities that are trusted. Default: the system's.
    pub(crate) tls_ca: Option<PathBuf>,
    /// Client certificate.
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key.
    pub(crate) tls_key: Option<PathBuf>,
    /// Whether the server speaks TLS from the first byte. Default: no.
    pub(crate) tls_first: Option<bool>,
    /// Where answers come. Default: `_INBOX`.
    pub(crate) inbox_prefix: Option<String>,
    /// `JetStream` domain of the mesh, behind a leaf node. Default: none.
    pub(crate) js_domain: Option<String>,
}

impl Said {
    /// Takes relative paths from a directory.
    pub(crate) fn lie_in(&mut self, dir: &Path) {
        let paths = [&mut self.creds, &mut self.nkey, &mut self.tls_ca, &mut self.tls_cert, &mut self.tls_key];
        for path in paths.into_iter().flatten() {
            *path = dir.join(&path);
        }
    }

    /// Its keys.
    pub(crate) const KEYS: [&'static str; 13] = [
        "server",
        "context",
        "creds",
        "nkey",
        "user",
        "password",
        "token",
        "tls-ca",
        "tls-cert",
        "tls-key",
        "tls-first",
        "inbox-prefix",
        "js-domain",
    ];

    const fn names_a_mesh(&self) -> bool {
        self.server.is_some() || self.context.is_some()
    }

    /// Every way to log in that it gives, by its key. A password alone belongs to a user that is named elsewhere.
    fn logins(&self) -> Vec<&'static str> {
        let given = [
            ("creds", self.creds.is_some()),
            ("nkey", self.nkey.is_some()),
            ("user", self.user.is_some()),
            ("token", self.token.is_some()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key).collect()
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said").field("context", &self.context).field("creds", &self.creds).finish_non_exhaustive()
    }
}

/// How the configured mesh is reached.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    options: ConnectOptions,
}

/// Names of the NATS CLI's contexts.
pub(crate) fn contexts(environment: &Environment) -> Vec<String> {
    context::all(environment)
}

impl Connection {
    /// Puts together what the sources say, the farthest first; nothing where none of them names a mesh.
    ///
    /// # Errors
    /// An unknown or unusable context, or what cannot be meant together (78).
    pub(crate) fn of(sources: &[Said], environment: &Environment) -> Result<Option<Self>, CliError> {
        let mut parts = Parts::default();
        if !sources.iter().any(Said::names_a_mesh) {
            // The shell's context is the farthest of all: what is said to rr itself counts more.
            let Some(name) = environment.get(NATS_CONTEXT) else { return Ok(None) };
            parts = context::load(&name.to_string_lossy(), environment)?;
        }
        for said in sources {
            if let Some(name) = &said.context {
                parts = context::load(name, environment)?;
            }
            parts.lay(said)?;
        }
        Ok(Some(Self { options: parts.options()? }))
    }

    /// How to connect under this name.
    pub(crate) fn options(&self, name: String) -> ConnectOptions {
        ConnectOptions { name, ..self.options.clone() }
    }

    /// The same, with answers coming there unless something else is said.
    pub(crate) fn with_inbox(self, prefix: &str) -> Self {
        let inbox_prefix = self.options.inbox_prefix.or_else(|| Some(prefix.to_owned()));
        Self { options: ConnectOptions { inbox_prefix, ..self.options } }
    }

    /// Where it is, without credentials.
    pub(crate) fn shown(&self) -> String {
        without_user(&self.options.server)
    }
}

/// A connection that is being put together.
#[derive(Default)]
struct Parts {
    server: Option<String>,
    login: Option<Login>,
    password: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    tls_first: bool,
    inbox_prefix: Option<String>,
    api_prefix: Option<String>,
}

/// Who logs in.
enum Login {
    Creds(PathBuf),
    Jwt(UserJwt),
    Nkey(PathBuf),
    User(String),
    Token(String),
}

impl Parts {
    /// Lays a nearer source over what is there.
    fn lay(&mut self, said: &Said) -> Result<(), CliError> {
        if let [one, other, ..] = said.logins().as_slice() {
            return Err(CliError::new(
                Exit::Config,
                format_args!("{one} and {other} are two logins; give one of them"),
            ));
        }
        if let Some(server) = &said.server {
            // A URL that says who logs in says it instead of whatever is farther away.
            if server.contains('@') {
                self.login = None;
                self.password = None;
            }
            self.server = Some(with_scheme(server)?);
        }
        let login = (said.creds.clone().map(Login::Creds))
            .or_else(|| said.nkey.clone().map(Login::Nkey))
            .or_else(|| said.user.clone().map(Login::User))
            .or_else(|| said.token.clone().map(Login::Token));
        if login.is_some() {
            self.login = login;
            self.password = None;
        }
        over(&mut self.password, said.password.as_ref());
        over(&mut self.ca, said.tls_ca.as_ref());
        over(&mut self.cert, said.tls_cert.as_ref());
        over(&mut self.key, said.tls_key.as_ref());
        self.tls_first = said.tls_first.unwrap_or(self.tls_first);
        over(&mut self.inbox_prefix, said.inbox_prefix.as_ref());
        if let Some(domain) = &said.js_domain {
            self.api_prefix = Some(format!("$JS.{domain}.API"));
        }
        Ok(())
    }

    fn options(self) -> Result<ConnectOptions, CliError> {
        let client = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some(ClientCertificate { cert, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let text = "a client certificate and its key belong together";
                return Err(CliError::new(Exit::Config, text).hint("give both --tls-cert and --tls-key"));
            }
        };
        if let Some(prefix) = &self.inbox_prefix {
            subject(prefix, "inbox prefix")?;
        }
        if let Some(prefix) = &self.api_prefix {
            subject(prefix, "JetStream domain or prefix")?;
        }
        let mut options = ConnectOptions { inbox_prefix: self.inbox_prefix, ..ConnectOptions::default() };
        options.server = self.server.unwrap_or(options.server);
        options.api_prefix = self.api_prefix;
        options.tls.ca = self.ca;
        options.tls.client = client;
        options.tls.first = if self.tls_first { TlsFirst::Yes } else { TlsFirst::No };
        match self.login {
            None => {}
            Some(Login::Creds(path)) => options.creds = Some(path),
            Some(Login::Jwt(jwt)) => options.jwt = Some(jwt),
            Some(Login::Nkey(path)) => options.nkey = Some(path),
            Some(Login::User(user)) => (options.user, options.password) = (Some(user), self.password),
            Some(Login::Token(token)) => options.token = Some(token),
        }
        Ok(options)
    }
}

fn over<T: Clone>(value: &mut Option<T>, nearer: Option<&T>) {
    if nearer.is_some() {
        *value = nearer.cloned();
    }
}

/// A text that can begin subjects.
fn subject(text: &str, what: &str) -> Result<(), CliError> {
    let is_token = |token: &str| {
        !token.is_empty() && token.chars().all(|char| char.is_ascii_graphic() && !matches!(char, '*' | '>' | '.'))
    };
    if text.split('.').all(is_token) {
        return Ok(());
    }
    Err(CliError::new(Exit::Config, format_args!("{what} {text:?}: no subject can begin like this"))
        .hint("write words with dots between, such as _INBOX_w1"))
}

/// `host:port` is meant as `nats://host:port`; any other scheme is no mesh.
fn with_scheme(server: &str) -> Result<String, CliError> {
    let all: Result<Vec<String>, CliError> = server
        .split(',')
        .map(|one| match one.split_once("://") {
            None => Ok(format!("nats://{one}")),
            Some(_) if SCHEMES.iter().any(|scheme| one.starts_with(scheme)) => Ok(one.to_owned()),
            Some((scheme, _)) => {
                let text = format!("bad server address: {scheme}:// is no scheme of NATS");
                Err(CliError::new(Exit::Config, text).hint("write nats://host:port or tls://host:port"))
            }
        })
        .collect();
    all.map(|all| all.join(","))
}

fn without_user(server: &str) -> String {
    let one = |url: &str| match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
        None => url.rsplit_once('@').map_or(url, |(_, host)| host).to_owned(),
    };
    server.split(',').map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
