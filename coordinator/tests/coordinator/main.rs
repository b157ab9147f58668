//! A coordinator against a real nats-server; the tests play the workers.

mod life;
mod support;
mod takeover;
mod time;
