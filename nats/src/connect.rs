//! How a process finds its server.
//!
//! Invariant: a first connection that cannot be made is reported within seconds and by its cause; one that was made once
//! is made again for ever.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{ConnectErrorKind, Event, ServerAddr, ServerError};
use serde::Deserialize;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    error::Error,
    link::{DEADLINE, Link},
    mux::{self, Mux, Waiters},
};

/// Where a server is looked for when nobody says otherwise.
pub const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";
/// The oldest server that we know: repeating schedules, pinned consumers.
const OLDEST: (u64, u64) = (2, 14);
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

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// `nats://host:port` or `tls://host:port`, several with commas between; may hold `user:password@`.
    pub server: String,
    /// User, where the URL holds none.
    pub user: Option<String>,
    /// Password of the user.
    pub password: Option<String>,
    /// A credentials file.
    pub creds: Option<PathBuf>,
    /// Name of the connection, for people: `rr worker w1`.
    pub name: String,
    /// Where answers come, `_INBOX` unless permissions give each process its own.
    pub inbox_prefix: Option<String>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            server: DEFAULT_SERVER.to_owned(),
            user: None,
            password: None,
            creds: None,
            name: "rr".to_owned(),
            inbox_prefix: None,
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
    /// The server refuses us.
    #[error("the server refuses the login: {0}")]
    Auth(String),
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
    let addresses = addresses(&options.server)?;
    let waiters = Arc::new(Waiters::default());
    let (connected_sender, connected) = watch::channel(true);
    let prefix = inbox(options.inbox_prefix.as_deref());
    let established = Arc::new(AtomicBool::new(false));
    let handler = Handler {
        waiters: Arc::clone(&waiters),
        connected: connected_sender,
        prefix: prefix.clone(),
        established: Arc::clone(&established),
    };
    let each = if addresses.len() > 1 { CONNECT_DEADLINE_EACH } else { CONNECT_DEADLINE };
    let all = each * u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let client_options = client_options(options, login(options, &addresses), handler).await?.connection_timeout(each);
    let place = shown(&addresses);
    let attempt = tokio::time::timeout(all, client_options.connect(addresses)).await;
    let client = match attempt {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(explain(&error, &place)),
        Err(_) => return Err(ConnectError::Unreachable(format!("{place}: no answer"))),
    };
    established.store(true, Ordering::Relaxed);
    let inbox = client
        .subscribe(format!("{prefix}*"))
        .await
        .map_err(|error| ConnectError::Unreachable(format!("{place}: {error}")))?;
    let mut tasks = JoinSet::new();
    tasks.spawn(mux::serve(inbox, prefix.len(), Arc::clone(&waiters)));
    let mux = Mux::new(client.clone(), prefix, Arc::clone(&waiters));
    let link = Link::new(client, mux, waiters, connected, tasks);
    check(&link).await?;
    Ok(link)
}

/// Refuses a server that cannot carry a mesh.
async fn check(link: &Link) -> Result<(), ConnectError> {
    #[derive(Deserialize)]
    struct Account {}

    let found = link.server_version();
    let mut parts = found.split('.').map(|part| part.parse::<u64>().unwrap_or_default());
    if (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) < OLDEST {
        return Err(ConnectError::TooOld { found });
    }
    match link.api::<Account>("INFO", &(), DEADLINE).await {
        Err(Error::Unreachable(cause)) if !link.is_connected() => Err(ConnectError::Unreachable(cause)),
        // A cluster without a leader for the moment: whoever asks for more tries again.
        Err(Error::Unreachable(_)) if link.is_clustered() => Ok(()),
        Err(Error::JetStreamOff | Error::Unreachable(_)) => Err(ConnectError::JetStreamOff),
        // A worker's account may well not ask for this; what it may not do shows when it does it.
        Ok(Account {}) | Err(_) => Ok(()),
    }
}

struct Handler {
    waiters: Arc<Waiters>,
    connected: watch::Sender<bool>,
    prefix: String,
    established: Arc<AtomicBool>,
}

impl Handler {
    fn handle(&self, event: Event) {
        match event {
            Event::Connected => {
                self.connected.send_replace(true);
            }
            Event::Closed => {
                self.connected.send_replace(false);
                self.waiters.disconnected();
            }
            Event::Disconnected => {
                self.connected.send_replace(false);
                self.waiters.disconnected();
                if self.established.load(Ordering::Relaxed) {
                    tracing::warn!("the connection to the server broke");
                }
            }
            Event::ServerError(ServerError::Other(text)) => self.waiters.server_error(&text, &self.prefix),
            Event::ServerError(error) => tracing::warn!(%error, "the server complains"),
            Event::SlowConsumer(subscription) => {
                tracing::warn!(subscription, "messages were dropped: a subscription is not read fast enough");
            }
            Event::LameDuckMode => tracing::info!("the server is about to stop"),
            Event::Draining => tracing::debug!("the connection is being closed"),
            Event::ClientError(error) => tracing::debug!(%error, "connecting again failed"),
        }
    }
}

/// User and password: those that are given, else those in the first address that has some.
fn login(options: &ConnectOptions, addresses: &[ServerAddr]) -> Option<(String, String)> {
    if let Some(user) = &options.user {
        return Some((user.clone(), options.password.clone().unwrap_or_default()));
    }
    // The client reads them from an address and then does not use them.
    let address = addresses.iter().find(|address| address.has_user_pass())?;
    Some((decoded(address.username()?), decoded(address.password().unwrap_or_default())))
}

/// A part of a URL with its `%40` made `@`; what is no such code stays as it is.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = code.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%');
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn client_options(
    options: &ConnectOptions,
    login: Option<(String, String)>,
    handler: Handler,
) -> Result<async_nats::ConnectOptions, ConnectError> {
    let handler = Arc::new(handler);
    let mut client = async_nats::ConnectOptions::new()
        .name(&options.name)
        .ping_interval(PING_EVERY)
        .max_reconnects(None)
        .client_capacity(SEND_QUEUE)
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            handler.handle(event);
            std::future::ready(())
        });
    if let Some(prefix) = &options.inbox_prefix {
        client = client.custom_inbox_prefix(prefix);
    }
    if let Some((user, password)) = login {
        client = client.user_and_password(user, password);
    }
    if let Some(path) = &options.creds {
        client = client
            .credentials_file(path)
            .await
            .map_err(|error| ConnectError::Auth(format!("credentials file {}: {error}", path.display())))?;
    }
    Ok(client)
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

fn addresses(text: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    let bad = |one: &str, why: &dyn std::fmt::Display| {
        ConnectError::BadUrl(format!("{}: {why}", rr_schemas::text::Echo::new(&without_password(one))))
    };
    let mut found = Vec::new();
    for one in text.split(',').map(str::trim) {
        let address: ServerAddr = one.parse().map_err(|error| bad(one, &error))?;
        match address.scheme() {
            "nats" | "tls" if address.host().is_empty() => return Err(bad(one, &"no host")),
            "nats" | "tls" => found.push(address),
            _ => return Err(bad(one, &"begin it with nats:// or tls://")),
        }
    }
    Ok(found)
}

/// The text of an address without what must not be shown.
fn without_password(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://…{}", text.get(..scheme).unwrap_or_default(), text.get(at..).unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

fn shown(addresses: &[ServerAddr]) -> String {
    let each = addresses.iter().map(|address| format!("{}:{}", address.host(), address.port()));
    each.collect::<Vec<_>>().join(", ")
}

fn explain(error: &async_nats::ConnectError, place: &str) -> ConnectError {
    let source = std::error::Error::source(error);
    let cause = source.map_or_else(|| error.to_string(), ToString::to_string);
    let is_garbled = source
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|source| source.kind() == std::io::ErrorKind::InvalidData);
    match error.kind() {
        ConnectErrorKind::Io if is_garbled => {
            ConnectError::Unreachable(format!("{place}: TLS failed, does the server speak it? {cause}"))
        }
        ConnectErrorKind::ServerParse => ConnectError::BadUrl(cause),
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => ConnectError::Auth(cause),
        ConnectErrorKind::Tls => ConnectError::Unreachable(format!("{place}: TLS failed: {cause}")),
        ConnectErrorKind::Dns => ConnectError::Unreachable(format!("{place}: the name has no address: {cause}")),
        ConnectErrorKind::TimedOut => ConnectError::Unreachable(format!("{place}: no answer")),
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
            ConnectError::Unreachable(format!("{place}: {cause}"))
        }
    }
}

/// A reply inbox of our own: `<prefix>.<random>.`.
fn inbox(prefix: Option<&str>) -> String {
    let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(22).collect();
    format!("{}.{token}.", prefix.unwrap_or("_INBOX"))
}
