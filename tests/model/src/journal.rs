//! What was stored in streams, for whoever judges later: a stream itself forgets what was taken from it.

use jiff::Timestamp;

/// A message that was stored, whatever became of it later.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Noted {
    /// The stream.
    pub stream: String,
    /// Its sequence there.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// The id that its publisher has given it.
    pub id: Option<String>,
    /// The subject of the schedule by which the server itself has published it, or somebody who says so.
    pub scheduler: Option<String>,
    /// When it was stored.
    pub at: Timestamp,
}

/// The journal of some streams; nothing is kept of others.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The streams, once somebody has named some.
    pub(crate) streams: Vec<String>,
    /// Everything since then, in order.
    pub(crate) noted: Vec<Noted>,
}
