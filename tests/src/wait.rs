//! Waiting for a condition, with a deadline and the last thing that was seen.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often a condition is looked at: often enough that nobody waits for the look.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `look` finds something.
///
/// # Panics
/// Nothing was found within `limit`; the text says what was waited for and what the last look said instead.
pub async fn eventually<T, E: Display>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) if Instant::now() >= deadline => panic!("no {what} within {limit:?}: {instead}"),
            Err(_) => sleep(POLL).await,
        }
    }
}
