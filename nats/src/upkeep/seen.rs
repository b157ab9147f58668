//! A stream as it was seen, and what has become of it since.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::Error,
    link::{DEADLINE, Link},
    mesh::Mesh,
};

/// A stream as it was seen last.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) config: Value,
    pub(super) created: String,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    /// When the last message was stored.
    pub(super) last_at: Option<Timestamp>,
}

impl Seen {
    /// How many copies of it there are to be.
    pub(super) fn copies(&self) -> usize {
        self.config.get("num_replicas").and_then(Value::as_u64).and_then(|n| n.try_into().ok()).unwrap_or(1)
    }

    /// The last sequence that was seen, where it is gone or stands for another message now.
    pub(super) async fn lost_end(&self, now: &Self, mesh: &Mesh) -> Result<Option<u64>, Error> {
        let was = Some(self.last_seq);
        if self.created != now.created || self.last_seq > now.last_seq {
            return Ok(was);
        }
        let there = mesh.stored_at(self.last_seq).await?;
        // To the millisecond, as messages say it. One that is gone may have been purged.
        let is_same = there.zip(self.last_at).is_none_or(|(there, at)| there.as_millisecond() == at.as_millisecond());
        Ok(was.filter(|_| !is_same))
    }
}

/// Whether what was created then is younger. What cannot be read is not.
pub(super) fn is_younger(created: &str, than: &str) -> bool {
    let at = |text: &str| text.parse::<Timestamp>().ok();
    at(created).zip(at(than)).is_some_and(|(created, than)| created > than)
}

/// A stream as it is now; none where there is none.
pub(super) async fn seen(link: &Link, stream: &str) -> Result<Option<Seen>, Error> {
    #[derive(Deserialize)]
    struct Info {
        config: Value,
        created: String,
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        first_seq: u64,
        last_seq: u64,
        #[serde(default)]
        last_ts: String,
    }
    match link.api::<Info>(&format!("STREAM.INFO.{stream}"), &(), DEADLINE).await {
        Ok(Info { config, created, state: State { first_seq, last_seq, last_ts } }) => {
            let last_at = last_ts.parse().ok();
            Ok(Some(Seen { config, created, first_seq, last_seq, last_at }))
        }
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
