//! Flows for the tests.

use rr_draw::{Dice, Style};
use rr_schemas::flow::Flow;

pub(crate) fn flow(json: &str) -> Flow {
    serde_json::from_str(json).expect("a flow of the tests")
}

/// One job `a` on `n` hosts with more fields.
pub(crate) fn one_job(n: u32, fields: &str) -> Flow {
    let comma = if fields.is_empty() { "" } else { "," };
    flow(&format!(r#"{{"name":"f","jobs":[{{"name":"a","run":["x"],"hosts":"h[1-{n}]"{comma}{fields}}}]}}"#))
}

/// A flow drawn from a seed: slots or a graph, every policy.
pub(crate) fn drawn(dice: &mut Dice) -> Flow {
    rr_draw::drawn(dice, &Style::COMMANDS)
}
