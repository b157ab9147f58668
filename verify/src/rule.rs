//! The invariants by their names and numbers: whoever adds one adds it to the list below, and nowhere else; where a rule is looked at
//! one by one, the compiler says so, and a test demands that the new one can be broken.

/// Makes the enum, the list of all of it and the numbers of one list, so that none of them can lack a rule.
macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $id:literal,)+) => {
        /// The invariants that can be judged from a history.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Rule {
            $($(#[$doc])* $rule,)+
        }

        impl Rule {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$rule),+];

            /// Its number in `docs/invariants.md`.
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$rule => $id,)+
                }
            }
        }
    };
}

rules! {
    /// I1: the first decision brings the run into being, numbers have no gap, and each decision holds the hash of the
    /// one before.
    Chain = "I1",
    /// I2: an attempt is decided once.
    DecidedOnce = "I2",
    /// I3: whoever is said to have ended an attempt has said so himself, in an earlier input.
    Cause = "I3",
    /// I4: a job starts only after everything that it needs has succeeded.
    Order = "I4",
    /// I5: a job is called good exactly when enough of its targets are.
    Threshold = "I5",
    /// I6: never more targets under way than the job's window, and waves do not overlap.
    Window = "I6",
    /// I7: what runs at once by the words of workers keeps the window, too.
    Overlap = "I7",
    /// I8: attempts and offers of a task count up by one, one attempt at a time.
    Count = "I8",
    /// I9: attempts and losses stop at their limits, and a retry waits its time.
    Retry = "I9",
    /// I10: what a worker has reported as ended is decided, or noted as late; nothing is forgotten.
    Heard = "I10",
    /// I36: what a worker has given back it has not started, and it has said so itself.
    Returned = "I36",
    /// I11: a run ends once, and nothing but late reports follows.
    End = "I11",
    /// I15: once a run is being stopped, nothing new starts.
    Stop = "I15",
    /// I16: a run that is not over waits for something that can be named.
    Waits = "I16",
    /// I34: at the end each target is ok, failed, unreachable or not started, and nothing else.
    Conservation = "I34",
    /// I35: events stand in the order of their causes, and their times come from the stream.
    Time = "I35",
    /// I17: no deadline and no input is left without an answer for long.
    Liveness = "I17",
    /// I25: what is concluded from somebody's absence was seen, and a worker's own task runs on that worker.
    Presence = "I25",
    /// I27: an outcome says what exit code and signal say, as the worker has reported them.
    Outcome = "I27",
    /// I30: what is stored of an attempt's output and what was dropped add up to what it wrote.
    Output = "I30",
    /// I32: nothing follows from what cannot be read or believed.
    Readable = "I32",
    /// I33: what waits in the work queue was offered by a decision.
    Offered = "I33",
    /// I37: the state that people see of a run is one that its history has had.
    Projection = "I37",
    /// I38: a claimed attempt starts at most once, and only by who has won its claim.
    Claim = "I38",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A number that two rules had would name neither.
    #[test]
    fn every_rule_has_a_number_of_its_own() {
        let ids: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
        let is_number = |id: &&str| id.strip_prefix('I').is_some_and(|n| n.parse::<u8>().is_ok());
        assert!(ids.iter().all(is_number), "{ids:?}");
    }
}
