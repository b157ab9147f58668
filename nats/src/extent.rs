//! From where to where a stream goes.

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    error::Error,
    link::{DEADLINE, Link},
};

/// The sequences of a stream, as its leader has them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) struct Extent {
    /// The first message that is kept; one behind the last where none is.
    pub(crate) first_seq: u64,
    /// The last message that it ever took, kept or not; 0 where it never took one.
    pub(crate) last_seq: u64,
}

/// From where to where a stream goes.
///
/// # Errors
/// [`Error`]; [`Error::NotFound`] where it is not there.
pub(crate) async fn extent(link: &Link, stream: &str) -> Result<Extent, Error> {
    #[derive(Deserialize)]
    struct Info {
        state: Extent,
    }
    let info: Info = link.api(&format!("STREAM.INFO.{stream}"), &(), DEADLINE).await?;
    Ok(info.state)
}

/// When the oldest message that a stream still has was stored; none where it has none.
///
/// # Errors
/// As [`extent`].
pub(crate) async fn oldest(link: &Link, stream: &str) -> Result<Option<Timestamp>, Error> {
    #[derive(Deserialize)]
    struct Info {
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        messages: u64,
        first_ts: Timestamp,
    }
    let info: Info = link.api(&format!("STREAM.INFO.{stream}"), &(), DEADLINE).await?;
    Ok((info.state.messages > 0).then_some(info.state.first_ts))
}
