//! The judge is judged: clean histories pass, and each way of breaking one is found and named by the right rule.
//!
//! [`written`] breaks one history that was made by hand, [`drawn`] breaks the histories of random worlds (those of the core's
//! own properties), [`recorded`] those of real meshes, in the same ways, [`log`] breaks what stands around them: beginnings,
//! ends, what is beside the log; [`limits`] has histories that name more than there is, [`newer`] such as other versions and
//! other configurations leave.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    clippy::expect_used,
    reason = "tests fail by panicking, and read better short"
)]

mod answers;
mod causes;
mod chunks;
mod drawn;
mod ends;
mod events;
mod extended;
#[path = "../../../coordinator/core/tests/core/flows.rs"]
#[expect(dead_code, reason = "others of its flows are the core's")]
mod flows;
mod follows;
mod limits;
mod log;
mod looked;
mod newer;
mod overlap;
mod reading;
mod recorded;
mod shown;
mod story;
mod taken;
mod told;
#[path = "../../../coordinator/core/tests/core/world.rs"]
#[expect(dead_code, reason = "others of its ways are the core's")]
mod world;
mod written;

/// What the world asks of the core's tests of retries.
mod retries {
    use rr_core::Run;
    use rr_schemas::retry::{Again, Carried};

    pub(crate) fn carried(old: &Run, again: Again) -> Carried {
        let given = old.signals().filter(|(_, given)| *given).map(|(signal, _)| signal.clone());
        Carried { run: old.id().clone(), tasks: old.carried(again), signals: given.collect() }
    }
}
