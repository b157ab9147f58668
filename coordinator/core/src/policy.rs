//! The numbers that decisions depend on and that are not written in a flow.

use rr_schemas::span::Span;
use serde::{Deserialize, Serialize};

/// Time limits of offers and leases. They shape only new deadlines: what a decision says stays as it is said.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// An offer is looked after when it has waited this long; a host that nobody serves is unreachable then. Default
    /// 60s.
    pub offer_expiry: Span,
    /// A running attempt is looked after each time this has passed; equal to the offers' `ack_wait`, so that the
    /// server and the coordinator give up on a worker at the same time. Default 30s.
    pub lease: Span,
    /// A lost task is offered again this often, without using up its attempts. Default 3.
    pub losses_max: u32,
    /// An attempt that has not reported its start this long after its run was stopped never started: workers report
    /// a start after 250 ms. Default 1s.
    pub stop_wait: Span,
    /// An offer that waits in a queue is looked after more and more seldom, but at least this often. Default 10m.
    pub look_max: Span,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            offer_expiry: Span::saturating_from_secs(60),
            lease: Span::saturating_from_secs(30),
            losses_max: 3,
            stop_wait: Span::saturating_from_secs(1),
            look_max: Span::saturating_from_secs(600),
        }
    }
}
