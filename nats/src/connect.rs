//! How a process finds its server.
//!
//! Invariant: a first connection that cannot be made is reported within seconds and by its cause; one that was made once
//! is made again for ever.

mod address;
mod explain;
mod login;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, Event, ServerAddr, ServerError};
use serde::Deserialize;

use crate::{
    error::Error,
    link::{DEADLINE, INBOX_PREFIX, Link, Places},
    transport::Observer,
};

/// Where a server is looked for when nobody says otherwise.
pub const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";
/// The oldest server that we know: repeating schedules, pinned consumers.
const OLDEST: (u64, u64) = (2, 14);
/// The same for people.
pub const OLDEST_SERVER: &str = "2.14";
/// A first connection to one server takes at most this long.
const CONNECT_DEADLINE: Duration = Duration::from_secs(4);
/// The same where there are others to try.
const CONNECT_DEADLINE_EACH: Duration = Duration::from_secs(2);
/// How often the server must show that it is there. At the third time that it has not, another connection is made: that is
/// after 6 to 9 s, before anybody's presence runs out (15 s). A link that is cut without a word is noticed by nothing else.
const PING_EVERY: Duration = Duration::from_secs(3);
/// Longest pause between two tries to connect again.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Messages that may wait for the connection; more than the publishes that a process has in flight.
const SEND_QUEUE: usize = 8_192;

/// Tries of a first connection that breaks while it is made: what the server said before it closed can be lost.
const TRIES: u32 = 3;

/// How to connect. Of several ways to log in the first one counts, in the order in which they stand here.
#[derive(Clone)]
pub struct ConnectOptions {
    /// `nats://host:port` or `tls://host:port`, several with commas between; may hold `user:password@` or `token@`.
    pub server: String,
    /// A credentials file: a user's JWT and seed.
    pub creds: Option<PathBuf>,
    /// The same without a file.
    pub jwt: Option<UserJwt>,
    /// A file with the seed of a user's nkey.
    pub nkey: Option<PathBuf>,
    /// User; before whom the URL names.
    pub user: Option<String>,
    /// Password of the user.
    pub password: Option<String>,
    /// A token.
    pub token: Option<String>,
    /// What is asked of TLS.
    pub tls: TlsOptions,
    /// Name of the connection, for people: `rr worker w1`.
    pub name: String,
    /// Where answers come, `_INBOX` unless permissions give each process its own.
    pub inbox_prefix: Option<String>,
    /// Where `JetStream`'s API is, for a mesh behind a leaf node or in another account; `$JS.API` by default.
    pub api_prefix: Option<String>,
}

/// What is asked of TLS. Whoever names any of it never talks without TLS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsOptions {
    /// Certificates of the authorities that are trusted, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown.
    pub client: Option<ClientCertificate>,
    /// Whether the server speaks TLS from the first byte.
    pub first: TlsFirst,
}

/// Who begins.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TlsFirst {
    /// The server says in plain text who it is, then TLS begins, if it has it.
    #[default]
    No,
    /// TLS begins at once.
    Yes,
}

/// A certificate and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// The file of the certificate.
    pub cert: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
}

/// A user's JWT with the seed that signs for it.
#[derive(Clone, Eq, PartialEq)]
pub struct UserJwt {
    /// The JWT.
    pub jwt: String,
    /// The seed; a JWT of a bearer needs none.
    pub seed: Option<String>,
}

impl fmt::Debug for UserJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserJwt").finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("server", &address::without_password(&self.server))
            .field("creds", &self.creds)
            .field("nkey", &self.nkey)
            .field("user", &self.user)
            .field("tls", &self.tls)
            .field("name", &self.name)
            .field("inbox_prefix", &self.inbox_prefix)
            .field("api_prefix", &self.api_prefix)
            .finish_non_exhaustive()
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            server: DEFAULT_SERVER.to_owned(),
            creds: None,
            jwt: None,
            nkey: None,
            user: None,
            password: None,
            token: None,
            tls: TlsOptions::default(),
            name: "rr".to_owned(),
            inbox_prefix: None,
            api_prefix: None,
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// The address is wrong.
    #[error("bad server address: {0}")]
    BadUrl(String),
    /// No server there.
    #[error("cannot reach a NATS server at {0}")]
    Unreachable(String),
    /// The server's certificate is not to be trusted.
    #[error("the server cannot be trusted: {0}")]
    Untrusted(String),
    /// The server refuses us.
    #[error("the server refuses the login: {0}")]
    Auth(String),
    /// The account may not read its own answers.
    #[error("permission denied: subscribe to {subject}, where answers come")]
    InboxDenied {
        /// The subject.
        subject: String,
    },
    /// A file that the login needs cannot be used.
    #[error("cannot use the {what} {path}: {why}", path = .path.display())]
    BadFile {
        /// What it is: `credentials`.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file with a secret in it that others than its owner can read.
    #[error("{what} {path}: permissions {mode:04o} are too open", path = .path.display())]
    OpenFile {
        /// What it is: `credentials`.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The server is too old.
    #[error("nats-server {found} is too old, 2.14 or newer is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The server runs without JetStream, or the account may not use it.
    #[error("JetStream is off on this server or for this account")]
    JetStreamOff,
}

/// Connects.
///
/// # Errors
/// [`ConnectError`], within about five seconds; where several servers are named, two for each.
pub async fn connect(options: &ConnectOptions) -> Result<Link, ConnectError> {
    let addresses = address::parse(&options.server)?;
    let observer = Observer::new(options.inbox_prefix.as_deref().unwrap_or(INBOX_PREFIX));
    let subject = format!("{}*", observer.inbox());
    let established = Arc::new(AtomicBool::new(false));
    let handler = Handler { observer: observer.clone(), established: Arc::clone(&established) };
    let each = if addresses.len() > 1 { CONNECT_DEADLINE_EACH } else { CONNECT_DEADLINE };
    let all = each * u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let client_options = client_options(options, handler).connection_timeout(each);
    let client_options = login::apply(client_options, options, &addresses).await?;
    let place = address::shown(&addresses);
    let attempt = tokio::time::timeout(all, first(client_options, &addresses)).await;
    let client = match attempt {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(login::with_validity(explain::explain(&error, &place), options).await),
        Err(_) => return Err(ConnectError::Unreachable(format!("{place}: no answer"))),
    };
    established.store(true, Ordering::Relaxed);
    let places = Places { api: options.api_prefix.clone(), inbox: options.inbox_prefix.clone() };
    let link = Link::new(Arc::new(client), observer, places).await;
    let link = link.map_err(|error| ConnectError::Unreachable(format!("{place}: {error}")))?;
    check(&link, subject).await?;
    Ok(link)
}

/// Makes the first connection; one that breaks at once is tried again, for its cause.
async fn first(
    options: async_nats::ConnectOptions,
    addresses: &[ServerAddr],
) -> Result<Client, async_nats::ConnectError> {
    let mut left = TRIES;
    loop {
        left -= 1;
        match options.clone().connect(addresses).await {
            Err(error) if left > 0 && explain::is_broken(&error) => {}
            attempt => return attempt,
        }
    }
}

/// Refuses a server that cannot carry a mesh.
async fn check(link: &Link, inbox: String) -> Result<(), ConnectError> {
    #[derive(Deserialize)]
    struct Account {}

    let found = link.server_version();
    if is_too_old(&found) {
        return Err(ConnectError::TooOld { found });
    }
    match link.api::<Account>("INFO", &(), DEADLINE).await {
        Err(Error::Unreachable(cause)) if !link.is_connected() => Err(ConnectError::Unreachable(cause)),
        // A cluster without a leader for the moment: whoever asks for more tries again.
        Err(Error::Unreachable(_)) if link.is_clustered() && !link.is_elsewhere() => Ok(()),
        Err(Error::JetStreamOff | Error::Unreachable(_)) => Err(ConnectError::JetStreamOff),
        Err(Error::Denied { .. }) if link.is_inbox_denied() => Err(ConnectError::InboxDenied { subject: inbox }),
        // A worker's account may well not ask for this; what it may not do shows when it does it.
        Ok(Account {}) | Err(_) => Ok(()),
    }
}

/// Whether a server of this version cannot carry a mesh.
pub fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) < OLDEST
}

struct Handler {
    observer: Observer,
    established: Arc<AtomicBool>,
}

impl Handler {
    fn handle(&self, event: Event) {
        match event {
            Event::Connected => self.observer.connected(),
            Event::Closed => self.observer.disconnected(),
            Event::Disconnected => {
                self.observer.disconnected();
                if self.established.load(Ordering::Relaxed) {
                    tracing::warn!("the connection to the server broke");
                }
            }
            Event::ServerError(ServerError::Other(text)) => self.observer.server_error(&text),
            Event::ServerError(error) => tracing::warn!(%error, "the server complains"),
            Event::SlowConsumer(subscription) => {
                tracing::warn!(subscription, "messages were dropped: a subscription is not read fast enough");
            }
            Event::LameDuckMode => tracing::info!("the server is about to stop"),
            Event::Draining => tracing::debug!("the connection is being closed"),
            // The server is there and does not want us any more: nobody finds out from its silence.
            Event::ClientError(error) if error.to_string().contains("authorization") => {
                tracing::warn!(%error, "the server refuses the login; trying again");
            }
            Event::ClientError(error) => tracing::debug!(%error, "connecting again failed"),
        }
    }
}

fn client_options(options: &ConnectOptions, handler: Handler) -> async_nats::ConnectOptions {
    let handler = Arc::new(handler);
    let client = async_nats::ConnectOptions::new()
        .name(&options.name)
        .ping_interval(PING_EVERY)
        .max_reconnects(None)
        .client_capacity(SEND_QUEUE)
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            handler.handle(event);
            std::future::ready(())
        });
    match &options.inbox_prefix {
        Some(prefix) => client.custom_inbox_prefix(prefix),
        None => client,
    }
}

/// The pause before the n-th try: none at first, then doubling, spread out so that a thousand workers do not come back
/// in the same moment.
fn pause(attempt: usize) -> Duration {
    if attempt <= 1 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(attempt.min(8)).unwrap_or(8);
    let longest = (Duration::from_millis(25) * 2_u32.pow(doublings)).min(RECONNECT_PAUSE_MAX);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{OLDEST_SERVER, is_too_old};

    #[test]
    fn a_server_is_too_old_below_the_version_that_people_are_told() {
        for (version, expected) in [("2.13.9", true), ("1.99.0", true), ("2.14.0", false), ("3.0.1", false), ("", true)]
        {
            assert_eq!(is_too_old(version), expected, "{version}");
        }
        assert!(!is_too_old(OLDEST_SERVER));
    }
}
