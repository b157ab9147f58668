//! What was stored in a stream, for whoever judges later: a stream itself forgets what was taken from it.

use jiff::Timestamp;

/// A message that was stored, whatever became of it later.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Noted {
    /// Its subject.
    pub subject: String,
    /// The id that its publisher has given it.
    pub id: Option<String>,
    /// When it was stored.
    pub at: Timestamp,
}

/// The journal of one stream; nothing is kept of others.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The stream, once somebody has named one.
    pub(crate) stream: Option<String>,
    /// Everything since then, in order.
    pub(crate) noted: Vec<Noted>,
}
