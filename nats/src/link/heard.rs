//! Requests to whoever has just begun to listen.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Link;
use crate::{
    error::Error,
    mux::Failure,
    transport::{Message, Outgoing},
};

/// How long the servers of a cluster may take to tell each other that somebody listens: moments, where they are well.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// Pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

impl Link {
    /// Sends a request on a subject on which somebody has just begun to listen, perhaps at another server of a cluster. Until the
    /// one that is connected knows of them nobody has got it, and it is sent again, for [`HEARD_WITHIN`].
    pub(crate) async fn request_soon_heard(&self, message: Outgoing, deadline: Duration) -> Result<Message, Error> {
        let until = Instant::now() + HEARD_WITHIN;
        loop {
            match self.inner.mux.request(message.clone(), deadline).await {
                Err(Failure::NoResponders) if Instant::now() < until => sleep(PAUSE).await,
                answered => return answered.map_err(|failure| failure.into_error(&message.subject)),
            }
        }
    }
}
