//! The model on its own: what it promises to whoever drives it. Whether it answers as the server does is another question,
//! which `tests/e2e/conformance.rs` asks.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod faults;
mod journal;
mod mended;
mod mesh;
mod upkeep;
