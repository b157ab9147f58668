//! What coordinators put into the quarantine, and which inputs that is said of.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rr_schemas::{id::RunId, input::Source};

/// How far the clock of the server that leads the log may be ahead of that of the one which leads the quarantine.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// A note in the quarantine of an input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Noted {
    /// The run that its subject names.
    pub run: RunId,
    /// Who may have sent it, as its subject says.
    pub source: Source,
    /// Its sequence in the log.
    pub seq: u64,
    /// When it was put aside; none where nobody knows.
    pub at: Option<Timestamp>,
}

impl Noted {
    /// Whether what was stored then may be what was put aside: not if it is younger.
    fn may_be_of(&self, stored: Option<Timestamp>) -> bool {
        self.at.zip(stored).is_none_or(|(noted, stored)| is_no_older(noted, stored))
    }
}

/// The inputs in the quarantine. A log that has lost its end gives the sequences of what it has lost to others, and the notes on what is
/// lost stay: a sequence alone names no message.
#[derive(Clone, Debug, Default)]
pub struct Quarantine(BTreeMap<u64, Vec<Noted>>);

impl Quarantine {
    /// Takes a note in.
    pub fn insert(&mut self, noted: Noted) {
        self.0.entry(noted.seq).or_default().push(noted);
    }

    /// Whether an input is in it that is said to this run by this sender, has this sequence, and was stored then, where that is known.
    pub fn has(&self, run: &RunId, source: &Source, seq: u64, stored: Option<Timestamp>) -> bool {
        let is_it = |noted: &Noted| noted.run == *run && noted.source == *source && noted.may_be_of(stored);
        self.0.get(&seq).is_some_and(|notes| notes.iter().any(is_it))
    }
}

impl Extend<Noted> for Quarantine {
    fn extend<T: IntoIterator<Item = Noted>>(&mut self, notes: T) {
        notes.into_iter().for_each(|noted| self.insert(noted));
    }
}

/// Whether a note of this time can be one of a message that was stored then: clocks of servers differ a little.
pub fn is_no_older(noted: Timestamp, stored: Timestamp) -> bool {
    stored.duration_since(noted) <= SKEW
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever had the sequence before, in a part of the log that is lost, is another message.
    #[test]
    fn a_note_is_of_one_message() {
        let run = |run: &str| run.parse::<RunId>().unwrap();
        let worker = |worker: &str| Source::Worker(worker.parse().unwrap());
        let at = |secs| Some(Timestamp::from_second(secs).unwrap());
        let mut quarantine = Quarantine::default();
        quarantine.extend([
            Noted { run: run("r1"), source: worker("w1"), seq: 7, at: at(100) },
            Noted { run: run("r2"), source: worker("w1"), seq: 7, at: None },
        ]);
        for (what, of, by, seq, stored, is_in) in [
            ("that very one", "r1", "w1", 7, at(99), true),
            ("by a clock that is ahead", "r1", "w1", 7, at(105), true),
            ("a younger one", "r1", "w1", 7, at(106), false),
            ("of unknown age", "r1", "w1", 7, None, true),
            ("another one of the run", "r1", "w1", 8, at(99), false),
            ("of another worker", "r1", "w2", 7, at(99), false),
            ("of another run, with a note of unknown age", "r2", "w1", 7, at(106), true),
            ("of a run that nothing is noted of", "r3", "w1", 7, at(99), false),
        ] {
            assert_eq!(quarantine.has(&run(of), &worker(by), seq, stored), is_in, "{what}");
        }
    }
}
