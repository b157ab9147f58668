//! The rules of the core: tables of single rules, and a simulated world that is as hostile as the real one.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking, and read better short"
)]

mod backoff;
mod believed;
mod effects;
mod flows;
mod gates;
mod history;
mod illegal;
mod limits;
mod looks;
mod open;
mod plans;
mod retries;
mod returned;
mod rules;
mod stage;
mod states;
mod tables;
mod waits;
mod world;
