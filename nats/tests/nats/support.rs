//! What the tests of this crate share.
#![expect(clippy::unwrap_used, reason = "a test that cannot prepare fails")]

use std::path::Path;

use rr_nats::server::{Binary, Config, Embedded, Search, default_cache_dir, obtain};

/// Where this machine's nats-server is looked for: as rr does. The only place that reads the environment.
pub(crate) fn search() -> Search {
    let value = |name| std::env::var_os(name);
    Search {
        explicit: value("RR_NATS_SERVER").map(Into::into),
        path: value("PATH"),
        cache_dir: default_cache_dir(value("XDG_CACHE_HOME").as_deref(), value("HOME").as_deref()).unwrap(),
    }
}

/// This machine's nats-server, fetched once where there is none.
pub(crate) async fn binary() -> Binary {
    obtain(&search(), &|_line| {}).await.unwrap()
}

/// A configuration with its store and files below `dir`.
pub(crate) fn config(dir: &Path) -> Config {
    Config::new(dir.join("store"), dir.join("run"))
}

/// A server of the test's own.
pub(crate) async fn start(dir: &Path) -> Embedded {
    Embedded::start(&binary().await, config(dir)).await.unwrap()
}

/// A client of that server.
pub(crate) async fn client(server: &Embedded) -> async_nats::Client {
    let (user, password) = (server.user().to_owned(), server.password().to_owned());
    async_nats::ConnectOptions::with_user_and_password(user, password).connect(server.url()).await.unwrap()
}
