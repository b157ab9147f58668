//! From where to where a stream goes.

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    error::Error,
    link::{DEADLINE, Link},
    raw::parse_time,
};

/// What a stream keeps, as its leader has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Extent {
    /// The first message that is kept; one behind the last where none is.
    pub(crate) first_seq: u64,
    /// When that one was stored; none where none is kept.
    pub(crate) first_at: Option<Timestamp>,
    /// The last message that it ever took, kept or not; 0 where it never took one.
    pub(crate) last_seq: u64,
    /// When that one was stored; none where none is kept.
    pub(crate) last_at: Option<Timestamp>,
}

/// From where to where a stream goes.
///
/// # Errors
/// [`Error`]; [`Error::NotFound`] where it is not there.
pub(crate) async fn extent(link: &Link, stream: &str) -> Result<Extent, Error> {
    #[derive(Deserialize)]
    struct Info {
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        messages: u64,
        first_seq: u64,
        first_ts: String,
        last_seq: u64,
        last_ts: String,
    }
    let Info { state } = link.api(&format!("STREAM.INFO.{stream}"), &(), DEADLINE).await?;
    let State { messages, first_seq, first_ts, last_seq, last_ts } = state;
    // Of an empty stream the server names a time at which nothing was stored.
    let at = |text: &str| if messages == 0 { None } else { parse_time(text) };
    Ok(Extent { first_seq, first_at: at(&first_ts), last_seq, last_at: at(&last_ts) })
}
