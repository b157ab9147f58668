//! Which mesh a call of `rr` talks to, and how it gets there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rr_nats::{ConnectError, ConnectOptions, Link, Mesh, PublishError};

use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::local::{self, Address};

/// Beginnings of the URLs that a mesh can have.
const SCHEMES: [&str; 2] = ["nats://", "tls://"];

/// The mesh that is meant when nobody names another.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// By flag, variable or file.
    Configured {
        /// Its URL.
        server: String,
        /// Its credentials.
        creds: Option<PathBuf>,
    },
    /// The `rr up` of this user.
    Up(Address),
    /// A private run of this user.
    Private(Address),
}

impl Place {
    /// The configured mesh.
    pub(crate) fn configured(ctx: &Context) -> Option<Self> {
        let server = ctx.config.server.clone()?;
        Some(Self::Configured { server, creds: ctx.config.creds.clone() })
    }

    /// The configured mesh, else a running `rr up`.
    pub(crate) fn find(ctx: &Context) -> Option<Self> {
        Self::configured(ctx).or_else(|| local::running(&local::up_dir(&ctx.state_dir().ok()?)).map(Self::Up))
    }

    /// The same for verbs that need one.
    ///
    /// # Errors
    /// There is none (69).
    pub(crate) fn need(ctx: &Context) -> Result<Self, CliError> {
        Self::find(ctx).ok_or_else(|| {
            CliError::new(Exit::Unreachable, "no mesh: none is configured and no rr up is running")
                .hint("name one with --server or RR_SERVER, or start one with: rr up")
        })
    }

    /// Connects, and expects a mesh to be there.
    ///
    /// # Errors
    /// Nobody there (69), not allowed (77), or no mesh of ours (78).
    pub(crate) async fn connect(&self, role: &str) -> Result<Mesh, CliError> {
        let link = self.link(role).await?;
        link.mesh().await.map_err(|error| {
            if matches!(error, rr_nats::Error::NotFound { .. }) {
                return CliError::new(Exit::Config, "the server is there, but nobody has made a mesh on it yet")
                    .hint("a coordinator makes it: rr coordinator");
            }
            told(&error)
        })
    }

    /// Connects to the server.
    ///
    /// # Errors
    /// Nobody there (69), not allowed (77), wrong address or server (78).
    pub(crate) async fn link(&self, role: &str) -> Result<Link, CliError> {
        let options = self.options(role)?;
        rr_nats::connect(&options).await.map_err(|error| match error {
            ConnectError::BadUrl(_) | ConnectError::TooOld { .. } | ConnectError::JetStreamOff => {
                CliError::new(Exit::Config, error)
            }
            ConnectError::Unreachable(_) => CliError::new(Exit::Unreachable, error)
                .hint("is it running, and is the address right? rr up starts a mesh on this machine"),
            ConnectError::Auth(_) => CliError::new(Exit::Denied, error).hint("see --creds and the user in the URL"),
        })
    }

    fn options(&self, role: &str) -> Result<ConnectOptions, CliError> {
        let name = format!("rr {role}");
        match self {
            Self::Configured { server, creds } => {
                if let Some(creds) = creds {
                    check_creds(creds)?;
                }
                Ok(ConnectOptions {
                    server: with_scheme(server)?,
                    creds: creds.clone(),
                    name,
                    ..ConnectOptions::default()
                })
            }
            Self::Up(address) | Self::Private(address) => Ok(ConnectOptions {
                server: address.url.clone(),
                user: Some(address.user.clone()),
                password: Some(address.password.clone()),
                name,
                ..ConnectOptions::default()
            }),
        }
    }

    /// Where it is, without credentials.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Configured { server, .. } => without_user(server),
            Self::Up(address) | Self::Private(address) => address.url.clone(),
        }
    }
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

/// A credentials file that others can read is no secret.
fn check_creds(path: &Path) -> Result<(), CliError> {
    let shown = path.display();
    let metadata = std::fs::metadata(path)
        .map_err(|error| CliError::new(Exit::Unknown, format_args!("cannot read the credentials {shown}: {error}")))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CliError::new(Exit::Denied, format_args!("credentials {shown}: permissions {mode:04o} too open"))
            .hint(format_args!("chmod 600 {shown}")));
    }
    let bytes = std::fs::read(path)
        .map_err(|error| CliError::new(Exit::Unknown, format_args!("cannot read the credentials {shown}: {error}")))?;
    if !String::from_utf8_lossy(&bytes).contains("-----BEGIN NATS USER JWT-----") {
        return Err(CliError::new(Exit::Config, format_args!("{shown} is not a credentials file of NATS")));
    }
    Ok(())
}

/// A request to the mesh that failed.
pub(crate) fn told(error: &rr_nats::Error) -> CliError {
    let exit = match error {
        rr_nats::Error::Unreachable(_) | rr_nats::Error::Timeout { .. } | rr_nats::Error::Behind { .. } => {
            Exit::Unreachable
        }
        rr_nats::Error::Denied { .. } => Exit::Denied,
        rr_nats::Error::NotFound { .. }
        | rr_nats::Error::Drift { .. }
        | rr_nats::Error::Replicas { .. }
        | rr_nats::Error::TooOld { .. }
        | rr_nats::Error::JetStreamOff
        | rr_nats::Error::Refused { .. }
        | rr_nats::Error::Answer(_) => Exit::Config,
    };
    CliError::new(exit, error)
}

/// A publish to the mesh that failed.
pub(crate) fn publish_told(error: &PublishError) -> CliError {
    let exit = match error {
        PublishError::Conflict => Exit::Taken,
        PublishError::Unknown(_) | PublishError::NotFound { .. } => Exit::Unreachable,
        PublishError::Denied { .. } => Exit::Denied,
        PublishError::TooLarge { .. } => Exit::BadInput,
        PublishError::Full(_) | PublishError::Refused { .. } => Exit::Config,
    };
    CliError::new(exit, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn addresses_are_shown_without_credentials() {
        for (server, shown) in [
            ("nats://u:p@h:1", "nats://h:1"),
            ("nats://h:1", "nats://h:1"),
            ("u:p@h", "h"),
            ("nats://u:p@a:1,tls://u:p@b:2", "nats://a:1,tls://b:2"),
        ] {
            assert_eq!(without_user(server), shown);
        }
    }

    #[test]
    fn only_schemes_of_nats_are_taken() {
        assert_eq!(with_scheme("h:4222").unwrap(), "nats://h:4222");
        assert_eq!(with_scheme("tls://h,nats://i").unwrap(), "tls://h,nats://i");
        for server in ["http://h", "ws://h", "nats://a,ftp://b", "nats:///x://y"] {
            if let Err(error) = with_scheme(server) {
                assert_eq!(error.exit(), Exit::Config, "{server}");
            }
        }
        assert!(with_scheme("http://h").is_err());
    }

    #[test]
    fn credentials_must_be_private_and_credentials() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.creds");
        assert_eq!(check_creds(&path).unwrap_err().exit(), Exit::Unknown);
        std::fs::write(&path, "nonsense").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let open = check_creds(&path).unwrap_err();
        assert_eq!((open.exit(), open.to_string().contains("0644")), (Exit::Denied, true));
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(check_creds(&path).unwrap_err().exit(), Exit::Config);
        std::fs::write(&path, "-----BEGIN NATS USER JWT-----\n").unwrap();
        check_creds(&path).unwrap();
    }
}
