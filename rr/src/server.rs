//! The nats-server of private meshes: which program, and where it keeps its store.

use std::path::Path;

use rr_nats::server::{self, Binary, Config, Embedded, ObtainError, Search};

use crate::context::Context;
use crate::environment::now;
use crate::error::{CliError, chain};
use crate::exit::Exit;
use crate::local::Address;

/// Finds or fetches a nats-server; what takes long is said on stderr.
///
/// # Errors
/// The one that was named cannot be used (78), or there is none to be had (69).
pub(crate) async fn obtain(ctx: &Context) -> Result<Binary, CliError> {
    let environment = &ctx.environment;
    let cache = server::default_cache_dir(environment.get("XDG_CACHE_HOME"), environment.get("HOME"));
    let search = Search {
        explicit: ctx.config.nats_server.clone(),
        path: environment.get("PATH").map(ToOwned::to_owned),
        cache_dir: cache.map_or_else(|| ctx.state_dir().map(|dir| dir.join("cache")), Ok)?,
    };
    let printer = ctx.printer;
    let say = move |line: &str| printer.note(line);
    server::obtain(&search, &say).await.map_err(|error| match &error {
        ObtainError::Named(_) => CliError::new(Exit::Config, chain(&error)),
        ObtainError::Fetch(_) => CliError::new(Exit::Unreachable, chain(&error)),
    })
}

/// Starts a server on the store in a directory.
///
/// # Errors
/// Those of [`obtain`], or it cannot be started (78).
pub(crate) async fn start(ctx: &Context, dir: &Path) -> Result<Embedded, CliError> {
    let binary = obtain(ctx).await?;
    let config = Config::new(dir.join("store"), dir.join("server"));
    Embedded::start(&binary, config).await.map_err(|error| CliError::new(Exit::Config, chain(&error)))
}

/// Where a server of ours listens, and how to log in.
pub(crate) fn address(server: &Embedded) -> Address {
    Address {
        url: server.url(),
        user: server.user().to_owned(),
        password: server.password().to_owned(),
        pid: std::process::id(),
        since: now(),
    }
}
