//! A model of nats-server with JetStream: seeded, in memory, driven by tokio's clock and by nothing else.
//!
//! Under a paused clock hours pass in moments, and the same seed brings the same history. [`Model::client`] is a
//! [`Transport`](rr_nats::transport::Transport), so everything that speaks to a server through `rr-nats` can speak to the model.
//! [`Fault`] and [`Chances`] name what goes wrong, when whoever drives it says so.
//!
//! Reading order: `model` (the handle and its driver), `world` (what happens next), `link` (the way of a message), `router`
//! (core NATS), `api`, `stream`, `consumer` (JetStream).
//!
//! Invariants: no time, randomness or order but by clock and seed; what the model answers is what nats-server 2.15.1 answers
//! (`tests/e2e/conformance.rs` compares them).

mod client;
mod config;
mod fault;
mod jet;
mod journal;
mod link;
mod model;
mod router;
mod subject;
mod world;

pub use client::ModelClient;
pub use config::{ModelConfig, Servers};
pub use fault::{BY_CHANCE, Chances, Counts, Fault};
pub use journal::Noted;
pub use model::Model;
