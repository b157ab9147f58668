//! What can be configured of a coordinator.
//!
//! The numbers of the mesh itself (streams, `ack_wait`, pins) belong to the topology and are fixed when it is made.

use rr_core::Policy;
use rr_schemas::span::Span;
use serde::{Deserialize, Serialize};

use crate::token::Seed;

/// Options of a coordinator. Every field has a default that suits a mesh of some thousand workers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Time limits of offers and leases. All coordinators of a mesh should have the same.
    pub policy: Policy,
    /// A coordinator that has not renewed its presence for this long is gone: others prefer its partitions no longer.
    /// It is renewed at a third of it; whole seconds, at least 3. Default 15s.
    pub presence_ttl: Span,
    /// After which time a pull request comes back; only pull requests keep a partition with its coordinator, so this is
    /// at most a third of the mesh's pin timeout. Default 1s.
    pub pull_expires: Span,
    /// How long a coordinator leaves a partition alone that is rather another's, before it stands by for it, and how
    /// long it waits after a hand-over for the other one to take it. Default 500ms.
    pub hesitation: Span,
    /// How long a run may live before its timer is armed and its first status is written; a run that ends sooner costs
    /// neither. Far below the partitions' `ack_wait`, because an input stays unacknowledged meanwhile. Default 250ms,
    /// the precision of the server's timers.
    pub settle_after: Span,
    /// Entities worked on at once in one partition. Each has one request under way most of the time; more of them gain
    /// nothing once the connection is busy. Default 128.
    pub turns_max: usize,
    /// Live entities kept in memory; others are loaded again when something of them is heard. One limit for all
    /// partitions: each may take what the others leave, and keep its equal share in any case. Default 10000.
    pub entities_max: usize,
    /// Tasks of all entities kept in memory, a limit of the same kind, about 100 bytes each. Default 2000000.
    pub tasks_max: u64,
    /// How long a clean stop waits for what is under way. Default 5s.
    pub stop_grace: Span,
    /// How long the history of an ended run is kept. Default 7d.
    pub keep: Span,
    /// What the secrets of runs are drawn from. Default: the system's randomness, anew in each life.
    #[serde(skip)]
    pub seed: Option<Seed>,
    /// How often histories that need not be kept any longer are looked for. Default 1h.
    pub sweep_every: Span,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            presence_ttl: Span::saturating_from_secs(15),
            pull_expires: Span::saturating_from_secs(1),
            hesitation: Span::saturating_from_millis(500),
            settle_after: Span::saturating_from_millis(250),
            turns_max: 128,
            entities_max: 10_000,
            tasks_max: 2_000_000,
            stop_grace: Span::saturating_from_secs(5),
            keep: Span::saturating_from_secs(7 * 24 * 3_600),
            seed: None,
            sweep_every: Span::saturating_from_secs(3_600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_has_its_default() {
        let options: Options = serde_json::from_str(r#"{"settle-after": "1s", "policy": {"lease": "2s"}}"#).unwrap();
        let policy = Policy { lease: Span::saturating_from_secs(2), ..Policy::default() };
        let expected = Options { settle_after: Span::saturating_from_secs(1), policy, ..Options::default() };
        assert_eq!(options, expected);
    }

    #[test]
    fn a_wrong_word_is_refused() {
        for text in [r#"{"settle_after": "1s"}"#, r#"{"turns": 5}"#, r#"{"policy": {"leases": "2s"}}"#] {
            assert!(serde_json::from_str::<Options>(text).is_err(), "{text}");
        }
    }
}
