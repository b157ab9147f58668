//! What the server says to whoever pulls, beside the messages: of a request, and of the pin.

use super::PullError;
use crate::{
    raw::{flaw, last_text},
    subject::header,
    transport::{HeaderMap, StatusCode},
};

/// What the server says about a request.
#[derive(Debug)]
pub(super) enum Word {
    /// It is still known.
    Alive,
    /// It is over.
    Over,
    /// It is over, for somebody else has the pin.
    PinLost,
    /// No request is known any more: they are to be made again.
    Forgotten,
    /// No request is known any more, and here is why.
    Failed(PullError),
}

impl Word {
    /// Reads a status with its text.
    pub(super) fn read(status: StatusCode, text: Option<&str>) -> Self {
        const BAD_REQUEST: u16 = 400;
        match (status.as_u16(), text.unwrap_or_default()) {
            (100, _) => Self::Alive,
            (423, _) => Self::PinLost,
            (503, _) => Self::Failed(PullError::NoResponders),
            (409, "Consumer Deleted") => Self::Failed(PullError::Gone),
            (409, "Leadership Change" | "Server Shutdown") => Self::Forgotten,
            (404 | 408 | 409, _) => Self::Over,
            (BAD_REQUEST, text) => Self::Failed(PullError::Refused(text.to_owned())),
            (code, text) => {
                tracing::warn!(code, text, "an unknown answer to a pull request");
                Self::Over
            }
        }
    }
}

/// The pin under which a message has come to whoever holds `pin`: theirs from now on.
pub(super) fn told_pin(headers: Option<&HeaderMap>, pin: Option<String>) -> Option<String> {
    let told = headers.and_then(|headers| last_text(headers, header::PIN_ID));
    let is_news = told.is_some() && told != pin.as_deref();
    let is_told = told.is_some() && !(is_news && headers.is_some_and(hides_pin));
    if is_told && is_news || pin.is_none() { told.map(str::to_owned) } else { pin }
}

/// Whether the server's word on the pin may have gone into a line of the publisher's: it stands behind the last line, even
/// where that has no end, and what looks like a pin then is the publisher's.
fn hides_pin(headers: &HeaderMap) -> bool {
    let has_pin = |text: &str| text.contains(header::PIN_ID);
    flaw(headers).is_some()
        || headers.iter().any(|(name, values)| {
            let name: &str = name.as_ref();
            name != header::PIN_ID && has_pin(name) || values.iter().any(|value| has_pin(value.as_str()))
        })
}
