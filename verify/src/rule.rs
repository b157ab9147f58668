//! The invariants by their names and numbers: whoever adds one adds it here, and the compiler says where else.

/// The invariants that can be judged from a history.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rule {
    /// I1: the first decision brings the run into being, numbers have no gap, and each decision holds the hash of the
    /// one before.
    Chain,
    /// I2: an attempt is decided once.
    DecidedOnce,
    /// I3: whoever is said to have ended an attempt has said so himself, in an earlier input.
    Cause,
    /// I4: a job starts only after everything that it needs has succeeded.
    Order,
    /// I5: a job is called good exactly when enough of its targets are.
    Threshold,
    /// I6: never more targets under way than the job's window, and waves do not overlap.
    Window,
    /// I7: what runs at once by the words of workers keeps the window, too.
    Overlap,
    /// I8: attempts and offers of a task count up by one, one attempt at a time.
    Count,
    /// I9: attempts and losses stop at their limits, and a retry waits its time.
    Retry,
    /// I10: what a worker has reported as ended is decided, or noted as late; nothing is forgotten.
    Heard,
    /// I36: what a worker has given back it has not started, and it has said so itself.
    Returned,
    /// I11: a run ends once, and nothing but late reports follows.
    End,
    /// I15: once a run is being stopped, nothing new starts.
    Stop,
    /// I16: a run that is not over waits for something that can be named.
    Waits,
    /// I34: at the end each target is ok, failed, unreachable or not started, and nothing else.
    Conservation,
    /// I35: events stand in the order of their causes, and their times come from the stream.
    Time,
    /// I17: no deadline and no input is left without an answer for long.
    Liveness,
    /// I25: what is concluded from somebody's absence was seen, and a worker's own task runs on that worker.
    Presence,
    /// I27: an outcome says what exit code and signal say, as the worker has reported them.
    Outcome,
    /// I30: what is stored of an attempt's output and what was dropped add up to what it wrote.
    Output,
    /// I32: nothing follows from what cannot be read or believed.
    Readable,
    /// I33: what waits in the work queue was offered by a decision.
    Offered,
    /// I37: the state that people see of a run is one that its history has had.
    Projection,
    /// I38: a claimed attempt starts at most once, and only by who has won its claim.
    Claim,
}

impl Rule {
    /// Every one.
    pub const ALL: [Self; 24] = [
        Self::Chain,
        Self::DecidedOnce,
        Self::Cause,
        Self::Order,
        Self::Threshold,
        Self::Window,
        Self::Overlap,
        Self::Count,
        Self::Retry,
        Self::Heard,
        Self::End,
        Self::Stop,
        Self::Waits,
        Self::Liveness,
        Self::Presence,
        Self::Outcome,
        Self::Output,
        Self::Readable,
        Self::Offered,
        Self::Conservation,
        Self::Time,
        Self::Returned,
        Self::Projection,
        Self::Claim,
    ];

    /// Its number in `docs/invariants.md`.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Chain => "I1",
            Self::DecidedOnce => "I2",
            Self::Cause => "I3",
            Self::Order => "I4",
            Self::Threshold => "I5",
            Self::Window => "I6",
            Self::Overlap => "I7",
            Self::Count => "I8",
            Self::Retry => "I9",
            Self::Heard => "I10",
            Self::Returned => "I36",
            Self::End => "I11",
            Self::Stop => "I15",
            Self::Waits => "I16",
            Self::Conservation => "I34",
            Self::Time => "I35",
            Self::Liveness => "I17",
            Self::Presence => "I25",
            Self::Outcome => "I27",
            Self::Output => "I30",
            Self::Readable => "I32",
            Self::Offered => "I33",
            Self::Projection => "I37",
            Self::Claim => "I38",
        }
    }
}
