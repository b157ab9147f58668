//! Everything at once: real processes of `rr` on real nats-servers, from a user's point of view and under faults.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::format_collect,
    reason = "tests fail by panicking, and read better short"
)]

mod api;
mod backup;
mod bad_input;
mod cbor;
mod chaos;
mod cli;
mod cluster;
mod compat;
mod completion;
mod compose;
mod connect;
mod doctor;
mod examples;
mod full;
mod gates;
mod histories;
mod hostile;
mod interrupt;
mod links;
mod locks;
mod malformed;
mod output;
mod pages;
mod proxy;
mod quarantine;
mod queues;
mod removed;
mod retry;
mod rights;
mod sim;
mod ssh;
mod targets;
mod terminal;
mod wire;
mod workers;
