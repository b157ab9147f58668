//! A log that has lost its end: what was acknowledged is not there, as after a power failure or the restore of an old copy.
//!
//! A state in the bucket names the decision that it shows, and is written after that decision was stored. So a state that is
//! ahead of its run's history says that the end of the history is gone. A lost end concerns what was newest, so the states are
//! looked at that were written since shortly before the log's last message, and the newest ones in any case.

use std::{collections::VecDeque, time::Duration};

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use rr_schemas::{
    id::{EntityId, RunId},
    view::StatusEntry,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    bucket::{RUNS, value},
    direct::{Which, read_leader},
    error::Error,
    extent::{Extent, extent},
    mesh::Mesh,
    ordered::{Content, From, Ordered, Plan, Step},
    subject::{self, EVENTS},
};

/// Writes of states that are looked at in any case, the newest ones.
const NEWEST: u64 = 128;
/// How long before the log's last message a state may have been written that shows what is lost: a server may lose what it took
/// within two minutes, the log may have grown again before it is looked at, and the clocks of servers differ.
const BEFORE: SignedDuration = SignedDuration::from_mins(5);
/// States that are compared at most, the newest ones: each costs a request, so many of them some seconds.
const COMPARED_MAX: usize = 10_000;
/// How long states are read at most: whoever looks has more to do.
const READ_WITHIN: Duration = Duration::from_secs(8);
/// How long the first of them may take to come: without a majority it never does, and that is for others to say.
const BEGUN_WITHIN: Duration = Duration::from_secs(3);
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

/// What came of comparing states with histories.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compared {
    /// Runs whose histories have lost their ends.
    pub shortened: Vec<Shortened>,
    /// Whether all states were compared that may show such a thing; else there were more than ten thousand, or they did not come in
    /// time.
    pub is_all: bool,
}

/// What is compared of a state.
struct Shown {
    run: RunId,
    n: u64,
    ended_at: Option<Timestamp>,
}

impl Mesh {
    /// Runs whose states are ahead of their histories, among those whose states changed since shortly before the log's last
    /// message, or the one that was seen last, `seen_at`, or among the 128 last changes where that is more. A run that has
    /// ended before `kept_since` and of which nothing is left may have been forgotten on purpose: it is no such run.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn shortened(&self, kept_since: Timestamp, seen_at: Option<Timestamp>) -> Result<Compared, Error> {
        let last_at = extent(self.link(), EVENTS).await?.last_at;
        let since = last_at.into_iter().chain(seen_at).min().and_then(|at| at.saturating_sub(BEFORE).ok());
        let (states, is_all) = self.states_since(since).await?;
        let newest = states.into_iter().map(|state| async move {
            let left = self.last_number(&state.run).await?;
            let left = left.filter(|left| is_shortened(&state, *left, kept_since));
            Ok(left.map(|left| Shortened { run: state.run, shown: state.n, left }))
        });
        let compared: Vec<Result<Option<Shortened>, Error>> =
            stream::iter(newest.collect::<Vec<_>>()).buffered(ASKED_AT_ONCE).collect().await;
        let shortened: Result<Vec<Option<Shortened>>, Error> = compared.into_iter().collect();
        Ok(Compared { shortened: shortened?.into_iter().flatten().collect(), is_all })
    }

    /// The states that were written since then, and the newest ones; and whether these are all.
    async fn states_since(&self, since: Option<Timestamp>) -> Result<(VecDeque<Shown>, bool), Error> {
        let states = extent(self.link(), RUNS.stream).await?;
        if states.first_at.is_none() {
            return Ok((VecDeque::new(), true));
        }
        let filters = vec![subject::bucket_key(RUNS.name, ">")];
        let plan = Plan { stream: RUNS.stream, filters, from: From::Oldest, content: Content::Whole };
        let mut reader = Ordered::behind(self.link(), plan, self.written_before(since, states).await?);
        let begun = Instant::now();
        let (mut states, mut is_all, mut has_read) = (VecDeque::new(), true, false);
        loop {
            let within = if has_read { READ_WITHIN } else { BEGUN_WITHIN };
            let pending = match timeout_at(begun + within, reader.next_of_these()).await {
                Ok(step) => match step? {
                    None => 0,
                    Some(Step::Begin { pending }) => pending,
                    Some(Step::Message(pulled)) => {
                        has_read = true;
                        // What is no state, or is there no more, shows nothing.
                        let entry = value::<StatusEntry>(&pulled.raw).ok().filter(|_| !pulled.raw.is_removed());
                        states.extend(entry.map(|StatusEntry { n, view, .. }| Shown {
                            run: view.run,
                            n,
                            ended_at: view.ended_at,
                        }));
                        pulled.pending
                    }
                },
                Err(_) if has_read => {
                    is_all = false;
                    0
                }
                Err(_) => return Err(Error::Timeout { what: "the states of runs".to_owned() }),
            };
            if states.len() > COMPARED_MAX {
                states.pop_front();
                is_all = false;
            }
            if pending == 0 {
                reader.close().await;
                return Ok((states, is_all));
            }
        }
    }

    /// A sequence of the states up to which all were written before, and none of the newest.
    async fn written_before(&self, since: Option<Timestamp>, states: Extent) -> Result<u64, Error> {
        let Extent { first_seq, last_seq, .. } = states;
        let filter = subject::bucket_key(RUNS.name, ">");
        let mut most = last_seq.saturating_sub(NEWEST);
        let mut least = if since.is_some() { first_seq.saturating_sub(1).min(most) } else { most };
        while least < most {
            let seq = least + (most - least).div_ceil(2);
            match read_leader(self.link(), RUNS.stream, Which::Next { seq, next_by_subj: &filter }).await? {
                Some(found) if since.is_some_and(|since| found.at < since) => least = found.seq.min(most),
                Some(_) | None => most = seq - 1,
            }
        }
        Ok(least)
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

fn is_shortened(state: &Shown, left: u64, kept_since: Timestamp) -> bool {
    let is_forgotten = left == 0 && state.ended_at.is_some_and(|ended| ended < kept_since);
    left < state.n && !is_forgotten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_shortened_when_its_state_is_ahead_unless_it_may_have_been_forgotten() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let state = |n, ended_at| Shown { run: "r".parse().unwrap(), n, ended_at };
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
