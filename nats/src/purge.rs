//! How messages are taken out of a stream. An answer that does not come is not asked for again, for what is purged late may
//! be new by then: a purge is repeated by whoever repeats the whole. Of offers whose attempts are over it is asked for again.

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    link::{DEADLINE_LONG, Link},
    subject::PurgeFilter,
};

/// What to take away. There is always something here: of a request without it the server takes everything away.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum What<'a> {
    Filter(&'a str),
    /// Below this sequence.
    Seq(u64),
    /// Both.
    #[serde(untagged)]
    FilterBelow {
        filter: &'a str,
        seq: u64,
    },
}

/// Removes every message that the filter names, and says how many there were.
pub(crate) async fn matching(link: &Link, stream: &str, filter: &PurgeFilter) -> Result<u64, Error> {
    purge(link, stream, &What::Filter(filter.as_str())).await
}

/// The same of offers whose attempts are over: it is asked for again until there is an answer, because a stream without a leader, as
/// after the death of a server, never answers. As long as the log keeps what it had, nothing that comes later is named by the filter.
/// A log that has lost its end may not know that an attempt is over, and have it offered anew under the same subject; a request
/// that is repeated then takes that offer away. This costs time and nothing else: the run's next look finds its offer gone, and it
/// is made once more.
pub(crate) async fn over(link: &Link, stream: &str, filter: &PurgeFilter) -> Result<u64, Error> {
    let what = What::Filter(filter.as_str());
    let Purged { purged } = link.api(&operation(stream), &what, DEADLINE_LONG).await?;
    Ok(purged)
}

/// Removes what the filter names below a sequence, and says how many there were.
pub(crate) async fn matching_below(link: &Link, stream: &str, filter: &PurgeFilter, seq: u64) -> Result<u64, Error> {
    if is_nothing(seq) {
        return Ok(0);
    }
    purge(link, stream, &What::FilterBelow { filter: filter.as_str(), seq }).await
}

/// Removes every message below a sequence, and says how many there were.
pub(crate) async fn below(link: &Link, stream: &str, seq: u64) -> Result<u64, Error> {
    if is_nothing(seq) {
        return Ok(0);
    }
    purge(link, stream, &What::Seq(seq)).await
}

/// Whether nothing lies below a sequence: 1 is the first, and the server takes 0 for "everything".
const fn is_nothing(seq: u64) -> bool {
    seq <= 1
}

#[derive(Deserialize)]
struct Purged {
    #[serde(default)]
    purged: u64,
}

fn operation(stream: &str) -> String {
    format!("STREAM.PURGE.{stream}")
}

async fn purge(link: &Link, stream: &str, what: &What<'_>) -> Result<u64, Error> {
    let Purged { purged } = link.api_once(&operation(stream), what, DEADLINE_LONG).await?;
    Ok(purged)
}
