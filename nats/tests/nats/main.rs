//! The tests of this crate, against a real nats-server: one that is missing fails them.
#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

mod mesh;
mod server;
mod support;
