//! Which mesh a call of `rr` talks to, and how it gets there.

use std::time::Duration;

use rr_nats::{ConnectError, ConnectOptions, Link, Mesh, PublishError};
use tokio::time::{Instant, sleep, timeout_at};

use crate::connection::Connection;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::Exit;
use crate::local::{self, Address};

/// Pause between two looks whether a server is there, and between two questions that a mesh may soon answer otherwise.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The mesh that is meant when nobody names another.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// By flag, variable or file.
    Configured(Box<Connection>),
    /// The `rr up` of this user.
    Up(Address),
    /// A private run of this user.
    Private(Address),
}

impl Place {
    /// The configured mesh.
    ///
    /// # Errors
    /// What is configured cannot be meant (78).
    pub(crate) fn configured(ctx: &Context) -> Result<Option<Self>, CliError> {
        let connection = Connection::of(&ctx.config.connection, &ctx.environment)?;
        Ok(connection.map(|connection| Self::Configured(Box::new(connection))))
    }

    /// The configured mesh, else a running `rr up`.
    ///
    /// # Errors
    /// As [`Place::configured`].
    pub(crate) fn find(ctx: &Context) -> Result<Option<Self>, CliError> {
        if let Some(place) = Self::configured(ctx)? {
            return Ok(Some(place));
        }
        Ok(ctx.state_dir().ok().and_then(|dir| local::running(&local::up_dir(&dir))).map(Self::Up))
    }

    /// The same for verbs that need one.
    ///
    /// # Errors
    /// There is none (69), or as [`Place::configured`].
    pub(crate) fn need(ctx: &Context) -> Result<Self, CliError> {
        Self::find(ctx)?.ok_or_else(|| {
            CliError::new(Exit::Unreachable, "no mesh: none is configured and no rr up is running")
                .hint("name one with --server, --context or RR_SERVER, or start one with: rr up")
        })
    }

    /// The same, with answers where nobody else reads them, unless it is said where they come.
    #[must_use]
    pub(crate) fn with_inbox(self, prefix: &str) -> Self {
        match self {
            Self::Configured(connection) => Self::Configured(Box::new(connection.with_inbox(prefix))),
            Self::Up(_) | Self::Private(_) => self,
        }
    }

    /// Connects, and expects a mesh to be there.
    ///
    /// # Errors
    /// Nobody there (69), not allowed (77), or no mesh of ours (78).
    pub(crate) async fn connect(&self, role: &str) -> Result<Mesh, CliError> {
        let link = self.link(role).await?;
        link.mesh_or_loss().await.map_err(|error| not_found(&link, &error))
    }

    /// The same, by a moment at the latest. A server that answers is asked again until then whether there is a mesh, where
    /// that may only not be known for the moment.
    ///
    /// # Errors
    /// As [`Place::connect`].
    pub(crate) async fn connect_by(&self, role: &str, by: Instant) -> Result<Mesh, CliError> {
        let link = timeout_at(by, self.link(role)).await.unwrap_or_else(|_| Err(no_answer()))?;
        ask_by(by, |error| not_found(&link, error), async || link.mesh_or_loss().await).await
    }

    /// Connects to the server.
    ///
    /// # Errors
    /// Nobody there (69), not allowed (77), wrong address or server (78).
    pub(crate) async fn link(&self, role: &str) -> Result<Link, CliError> {
        self.try_link(role).await.map_err(|error| not_connected(&error))
    }

    /// The same for those who wait for a server: machines start in any order. Says once what it waits for.
    ///
    /// # Errors
    /// As [`Place::link`], but for a server that cannot be reached.
    pub(crate) async fn link_patiently(&self, role: &str) -> Result<Link, CliError> {
        let mut has_said = false;
        loop {
            match self.try_link(role).await {
                Err(ConnectError::Unreachable(cause)) => {
                    if !has_said {
                        tracing::warn!("cannot reach a NATS server at {cause}; waiting for it");
                        has_said = true;
                    }
                    sleep(LOOK_EVERY).await;
                }
                linked => return linked.map_err(|error| not_connected(&error)),
            }
        }
    }

    /// The same, with the cause as it is.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn try_link(&self, role: &str) -> Result<Link, ConnectError> {
        rr_nats::connect(&self.options(format!("rr {role}"))).await
    }

    fn options(&self, name: String) -> ConnectOptions {
        match self {
            Self::Configured(connection) => connection.options(name),
            Self::Up(address) | Self::Private(address) => ConnectOptions {
                server: address.url.clone(),
                user: Some(address.user.clone()),
                password: Some(address.password.clone()),
                name,
                ..ConnectOptions::default()
            },
        }
    }

    /// Where it is, without credentials.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Configured(connection) => connection.shown(),
            Self::Up(address) | Self::Private(address) => address.url.clone(),
        }
    }
}

/// Asks a mesh, and again as long as it may soon answer otherwise, as while another server becomes the leader; until `by`.
///
/// # Errors
/// The last answer in the words of `tell`, or that there was none (69).
pub(crate) async fn ask_by<T>(
    by: Instant,
    tell: impl Fn(&rr_nats::Error) -> CliError,
    ask: impl AsyncFn() -> Result<T, rr_nats::Error>,
) -> Result<T, CliError> {
    let mut last = None;
    loop {
        match timeout_at(by, ask()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.is_retryable() && Instant::now() + LOOK_EVERY < by => last = Some(error),
            Ok(Err(error)) => return Err(tell(&error)),
            Err(_) => return Err(last.map_or_else(no_answer, |error| tell(&error))),
        }
        sleep(LOOK_EVERY).await;
    }
}

/// A mesh that was not found on a server that is there.
fn not_found(link: &Link, error: &rr_nats::Error) -> CliError {
    if matches!(error, rr_nats::Error::NotFound { .. }) {
        return CliError::new(Exit::Config, "the server is there, but nobody has made a mesh on it yet")
            .hint("a coordinator makes it: rr coordinator");
    }
    // The server answers; what it is asked for needs the others.
    let is_alone = link.is_clustered() && error.is_retryable();
    told(error).with_hint(is_alone.then_some("a cluster needs the majority of its servers: are they up?"))
}

/// A connection that could not be made.
pub(crate) fn not_connected(error: &ConnectError) -> CliError {
    let told = |exit| CliError::new(exit, error);
    match error {
        ConnectError::BadUrl(_)
        | ConnectError::BadFile { .. }
        | ConnectError::TooOld { .. }
        | ConnectError::JetStreamOff => told(Exit::Config),
        ConnectError::OpenFile { path, .. } => told(Exit::Config).hint(format_args!("chmod 600 {}", path.display())),
        ConnectError::Unreachable(_) => {
            told(Exit::Unreachable).hint("is it running, and is the address right? rr up starts a mesh on this machine")
        }
        ConnectError::Untrusted(_) => {
            told(Exit::Unreachable).hint("--tls-ca names the certificates of the authorities to trust")
        }
        ConnectError::Auth(_) => {
            told(Exit::Denied).hint("see --creds, --nkey, --tls-cert, --context, and the user in RR_SERVER or RR_USER")
        }
        ConnectError::InboxDenied { .. } => {
            told(Exit::Denied).hint("--inbox-prefix says where this user may read its answers")
        }
    }
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
        | rr_nats::Error::LogGone { .. }
        | rr_nats::Error::Replicas { .. }
        | rr_nats::Error::TooOld { .. }
        | rr_nats::Error::JetStreamOff
        | rr_nats::Error::Refused { .. }
        | rr_nats::Error::Answer(_) => Exit::Config,
    };
    CliError::new(exit, error)
}

/// A mesh that has not answered in the time that it was given.
pub(crate) fn no_answer() -> CliError {
    CliError::new(Exit::Unreachable, "the mesh does not answer")
        .hint("are its servers up? a cluster needs the majority of them")
}

/// A publish to the mesh that failed.
pub(crate) fn publish_told(error: &PublishError) -> CliError {
    let exit = match error {
        PublishError::Conflict => Exit::Taken,
        PublishError::Unsettled | PublishError::Unknown(_) | PublishError::NotFound { .. } => Exit::Unreachable,
        PublishError::Denied { .. } => Exit::Denied,
        PublishError::TooLarge { .. } => Exit::BadInput,
        PublishError::Full(_) | PublishError::Refused { .. } => Exit::Config,
    };
    let hint = match error {
        PublishError::Full(_) => Some(
            "give the stream more room (nats stream edit RR_EVENTS --max-bytes BYTES), or the server (max_file_store)",
        ),
        PublishError::Unsettled => {
            Some("nothing was stored, though an earlier try may still be; a cluster needs the majority of its servers")
        }
        PublishError::NotFound { .. } => Some("a cluster answers only with the majority of its servers: are they up?"),
        PublishError::Conflict
        | PublishError::Unknown(_)
        | PublishError::Denied { .. }
        | PublishError::TooLarge { .. }
        | PublishError::Refused { .. } => None,
    };
    CliError::new(exit, error).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn what_may_be_answered_otherwise_soon_is_asked_again_while_there_is_time() {
        let away = || rr_nats::Error::Unreachable("no leader".to_owned());
        let denied = || rr_nats::Error::Denied { subject: "s".to_owned() };
        let short = LOOK_EVERY + Duration::from_millis(100);
        for (within, answers, expected) in [
            (Duration::from_mins(1), vec![Err(away()), Err(away()), Ok(1)], Ok((1, 3))),
            (Duration::from_mins(1), vec![Ok(1), Ok(2)], Ok((1, 1))),
            (Duration::from_mins(1), vec![Err(denied()), Ok(1)], Err((Exit::Denied, 1, "s"))),
            (short, vec![Err(away()), Err(away()), Ok(1)], Err((Exit::Unreachable, 2, "no leader"))),
            // Whoever does not answer any more has answered before.
            (short, vec![Err(away())], Err((Exit::Unreachable, 2, "no leader"))),
            (short, vec![], Err((Exit::Unreachable, 1, "the mesh does not answer"))),
        ] {
            let asked = RefCell::new(0);
            let ask = async || {
                let n = asked.replace_with(|n| *n + 1);
                match answers.get(n) {
                    Some(answer) => answer.clone(),
                    None => std::future::pending().await,
                }
            };
            let answer = ask_by(Instant::now() + within, told, ask).await;
            match (answer, expected) {
                (Ok(answer), Ok(expected)) => assert_eq!((answer, asked.into_inner()), expected),
                (Err(error), Err((exit, n, text))) => {
                    assert_eq!((error.exit(), asked.into_inner()), (exit, n));
                    assert!(error.to_string().contains(text), "{error}");
                }
                (answer, expected) => panic!("{answer:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn every_cause_of_a_failed_connection_has_its_exit_code_and_advice() {
        let text = || "x".to_owned();
        let path = || "/c.creds".into();
        for (error, exit, advice) in [
            (ConnectError::BadUrl(text()), Exit::Config, ""),
            (ConnectError::Unreachable(text()), Exit::Unreachable, "rr up"),
            (ConnectError::Untrusted(text()), Exit::Unreachable, "--tls-ca"),
            (ConnectError::Auth(text()), Exit::Denied, "--creds"),
            (ConnectError::InboxDenied { subject: text() }, Exit::Denied, "--inbox-prefix"),
            (ConnectError::BadFile { what: "credentials", path: path(), why: text() }, Exit::Config, ""),
            (
                ConnectError::OpenFile { what: "credentials", path: path(), mode: 0o644 },
                Exit::Config,
                "chmod 600 /c.creds",
            ),
            (ConnectError::TooOld { found: text() }, Exit::Config, ""),
            (ConnectError::JetStreamOff, Exit::Config, ""),
        ] {
            let told = not_connected(&error);
            assert_eq!(told.exit(), exit, "{error}");
            let CliError::Told { hint, .. } = told else { unreachable!() };
            assert!(hint.unwrap_or_default().contains(advice), "{error}");
        }
    }
}
