//! Bugs that are planted on demand, so that it can be shown that they are found. Without the feature `planted`, which no
//! program of ours is built with, there are none, and asking for one costs nothing.

/// A bug that can be planted. Each is one line, at the place where it bites.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bug {
    /// Decisions are appended whatever the last one is.
    BlindAppend,
    /// A task is tried once more than it may be.
    OneTryTooMany,
    /// Thresholds are rounded down.
    ThresholdRoundedDown,
    /// One target more is under way than the window lets.
    WindowTooLarge,
    /// The effects of the last decision are not done once more after a take-over.
    EffectsNotRedone,
    /// Inputs are acknowledged before they are answered.
    AcknowledgedFirst,
    /// The report of an earlier attempt counts for the one that is under way.
    LateReportCounts,
    /// A claim that somebody else holds is taken for won.
    ClaimIgnored,
    /// Whoever hears that a timer has fired does not arm the next one.
    TimerNotRearmed,
    /// Whether an attempt was started before is not looked up.
    LedgerIgnored,
    /// An offer that comes a second time is taken for a new one.
    RedeliveryIgnored,
    /// Whoever does not believe an input does not ask whether another coordinator has decided meanwhile.
    OvertakenUnasked,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::BlindAppend,
        Self::OneTryTooMany,
        Self::ThresholdRoundedDown,
        Self::WindowTooLarge,
        Self::EffectsNotRedone,
        Self::AcknowledgedFirst,
        Self::LateReportCounts,
        Self::ClaimIgnored,
        Self::TimerNotRearmed,
        Self::LedgerIgnored,
        Self::RedeliveryIgnored,
        Self::OvertakenUnasked,
    ];
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread, in place of the one that was there.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether a bug is planted on this thread.
#[cfg(feature = "planted")]
pub fn bites(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether a bug is planted: never.
#[cfg(not(feature = "planted"))]
pub const fn bites(_: Bug) -> bool {
    false
}
