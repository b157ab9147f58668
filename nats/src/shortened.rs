//! A log that has lost its end: what was acknowledged is not there, as after a power failure or the restore of an old copy.
//!
//! A state in the bucket names the decision that it shows, and is written after that decision was stored. So a state that is
//! ahead of its run's history says that the end of the history is gone. A lost end concerns what was newest, so the newest
//! states are looked at.

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use rr_schemas::{
    id::{EntityId, RunId},
    view::StatusEntry,
};

use crate::{
    bucket::{RUNS, value},
    direct::{Which, read_leader},
    error::Error,
    extent::extent,
    mesh::Mesh,
    subject::{self, EVENTS},
};

/// Writes of states that are looked at, the newest ones: the end of a log is among them.
const COMPARED: u64 = 128;
/// Histories that are asked after at once.
const ASKED_AT_ONCE: usize = 16;

/// A run whose history has lost its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shortened {
    /// The run.
    pub run: RunId,
    /// The decision that its state shows.
    pub shown: u64,
    /// The last decision that is there; 0 where nothing is.
    pub left: u64,
}

impl Mesh {
    /// Runs whose states are ahead of their histories, among those whose states changed last. A run that has ended before
    /// `kept_since` and of which nothing is left may have been forgotten on purpose: it is no such run.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn shortened(&self, kept_since: Timestamp) -> Result<Vec<Shortened>, Error> {
        let newest = self.newest_states().await?.into_iter().map(|state| async move {
            let left = self.last_number(&state.view.run).await?;
            Ok(left.filter(|left| is_shortened(&state, *left, kept_since)).map(|left| Shortened {
                run: state.view.run,
                shown: state.n,
                left,
            }))
        });
        let compared: Vec<Result<Option<Shortened>, Error>> =
            stream::iter(newest.collect::<Vec<_>>()).buffered(ASKED_AT_ONCE).collect().await;
        let shortened: Result<Vec<Option<Shortened>>, Error> = compared.into_iter().collect();
        Ok(shortened?.into_iter().flatten().collect())
    }

    /// The states that were written last, one by one from the leader: that is what a coordinator's rights allow.
    async fn newest_states(&self) -> Result<Vec<StatusEntry>, Error> {
        let (link, stream) = (self.link(), RUNS.stream);
        let last_seq = extent(link, stream).await?.last_seq;
        let filter = subject::bucket_key(RUNS.name, ">");
        let (mut seq, mut states) = (last_seq.saturating_sub(COMPARED).saturating_add(1), Vec::new());
        while let Some(message) = read_leader(link, stream, Which::Next { seq, next_by_subj: &filter }).await? {
            seq = message.seq.saturating_add(1);
            // What is no state, or is there no more, shows nothing.
            states.extend(value::<StatusEntry>(&message).ok().filter(|_| !message.is_removed()));
            if message.seq >= last_seq {
                break;
            }
        }
        Ok(states)
    }

    /// The number of a run's last decision, 0 where there is none; nothing where it cannot be read.
    pub(crate) async fn last_number(&self, run: &RunId) -> Result<Option<u64>, Error> {
        let last = self.last_decision(&EntityId::from(run)).await?;
        Ok(last.map_or(Some(0), |last| last.decision.ok().map(|decision| decision.n)))
    }

    /// When the message of this sequence in the log was stored; nothing where there is none, or no longer.
    pub(crate) async fn stored_at(&self, seq: u64) -> Result<Option<Timestamp>, Error> {
        let found = read_leader(self.link(), EVENTS, Which::Next { seq, next_by_subj: ">" }).await?;
        Ok(found.filter(|found| found.seq == seq).map(|found| found.at))
    }
}

fn is_shortened(state: &StatusEntry, left: u64, kept_since: Timestamp) -> bool {
    let is_forgotten = left == 0 && state.view.ended_at.is_some_and(|ended| ended < kept_since);
    left < state.n && !is_forgotten
}

#[cfg(test)]
mod tests {
    use rr_schemas::{decision::RunStatus, view::RunView};

    use super::*;

    #[test]
    fn a_history_is_shortened_when_its_state_is_ahead_unless_it_may_have_been_forgotten() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let state = |n, ended_at| {
            let view = RunView {
                run: "r".parse().unwrap(),
                flow: None,
                status: RunStatus::Running,
                started_at: None,
                ended_at,
                jobs: Vec::new(),
                retry_of: None,
                problems: Vec::new(),
            };
            StatusEntry::new(n, view)
        };
        for (n, ended, left, expected) in [
            (3, None, 3, false),
            (3, None, 4, false),
            (3, None, 2, true),
            (3, None, 0, true),
            (0, None, 0, false),
            (3, Some(at(200)), 0, true),
            (3, Some(at(50)), 0, false),
            (3, Some(at(50)), 1, true),
        ] {
            assert_eq!(is_shortened(&state(n, ended), left, at(100)), expected, "{n} {ended:?} {left}");
        }
    }
}
