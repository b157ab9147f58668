//! Arming an entity's timer.
//!
//! Invariant: an armed timer is only ever replaced by one that is no later, whoever does so and whatever they believe of
//! the entity. So a coordinator that others have overtaken can wake an entity once too often, but never too late.
//!
//! Only what this coordinator has armed itself is relied on. A server that is killed forgets that an earlier timer took the
//! place of a later one: where the earlier one has fired meanwhile, the later one is there again, and never fires. Nothing
//! tells it from one that does, so whatever is found is armed anew.

use jiff::Timestamp;
use rr_nats::{Armed, PublishError};
use rr_schemas::id::EntityId;

use crate::{shell::Shell, trouble::TurnError};

/// How often an arming is tried that others get in the way of. Each try that fails means that a timer was armed or has
/// fired in between, and two coordinators at the same entity are rare.
const TRIES: u32 = 4;

/// What a coordinator knows of an entity's timer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Known {
    /// Nothing: look.
    Unclear,
    /// None was armed yet, or it has fired.
    Nothing,
    /// It was armed. Until that time has come, a timer that fires then or earlier is there, or its firing is on its way
    /// as an input.
    Armed(Armed),
}

impl Known {
    /// What is left of it when a timer has fired. One that was not looked at yet may be a new one.
    pub(crate) const fn fired(self) -> Self {
        match self {
            Self::Unclear => Self::Unclear,
            Self::Nothing | Self::Armed(_) => Self::Nothing,
        }
    }

    /// What is left of it at this time. A timer whose time has come may have fired, and another coordinator may have
    /// been told of it.
    pub(crate) fn at(self, clock: Timestamp) -> Self {
        match self {
            Self::Armed(armed) if armed.at <= clock => Self::Unclear,
            known @ (Self::Unclear | Self::Nothing | Self::Armed(_)) => known,
        }
    }

    /// Whether the entity is surely woken by then.
    pub(crate) fn fires_by(self, at: Timestamp) -> bool {
        match self {
            Self::Unclear | Self::Nothing => false,
            Self::Armed(armed) => armed.at <= at,
        }
    }
}

/// Sees to it that an entity is woken at `at` or earlier, and says by which timer.
pub(crate) async fn arm(shell: &Shell, id: &EntityId, known: Known, at: Timestamp) -> Result<Armed, TurnError> {
    let mut there = match known {
        Known::Unclear => shell.mesh.armed(id).await?,
        Known::Nothing => None,
        Known::Armed(armed) => Some(armed),
    };
    for _ in 0..TRIES {
        // Somebody may rely on what is there.
        let at = there.map_or(at, |there| there.at.min(at));
        match shell.mesh.arm(id, at, there).await {
            Err(PublishError::Conflict) => there = shell.mesh.armed(id).await?,
            settled => return Ok(settled?),
        }
    }
    Err(TurnError::Stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed(second: i64) -> Known {
        Known::Armed(Armed { at: at(second), seq: 7 })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_timer_is_relied_on_until_its_time_has_come() {
        for (known, clock, left) in [
            (armed(10), 9, armed(10)),
            (armed(10), 10, Known::Unclear),
            (Known::Nothing, 10, Known::Nothing),
            (Known::Unclear, 10, Known::Unclear),
        ] {
            assert_eq!(known.at(at(clock)), left, "{known:?} at {clock}");
        }
    }

    #[test]
    fn only_what_is_armed_fires_and_only_what_was_seen_is_known_to_be_gone() {
        for (known, by_ten, fired) in [
            (armed(10), true, Known::Nothing),
            (armed(11), false, Known::Nothing),
            (Known::Nothing, false, Known::Nothing),
            (Known::Unclear, false, Known::Unclear),
        ] {
            assert_eq!((known.fires_by(at(10)), known.fired()), (by_ten, fired), "{known:?}");
        }
    }
}
