//! A coordinator against a real nats-server; the tests play the workers.

mod aside;
mod closed;
mod forget;
mod lanes;
mod life;
mod missing;
mod relay;
mod retries;
mod shortened;
mod support;
mod takeover;
mod time;
