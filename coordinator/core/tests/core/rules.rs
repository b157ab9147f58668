//! Each rule, judged from what is stored alone, on runs drawn from seeds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rr_core::{History, Policy};
use rr_draw::Dice;
use rr_schemas::{decision::RunStatus, flow::Flow};
use rr_verify::{
    history::{PolicyOf, Whole, judge_whole},
    records::Extent,
};

use super::{
    flows::drawn,
    world::{Fate, World},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_rule_holds_whatever_the_world_does(seed: u64) {
        let mut dice = Dice(seed);
        let flow = drawn(&mut dice);
        let mut world = World::new(&flow, Fate::HOSTILE, dice);
        let history = world.play();
        judge(&world, &history);
    }

    #[test]
    fn in_a_kind_world_everything_succeeds(seed: u64) {
        let mut dice = Dice(seed);
        let flow = Flow { timeout: None, ..drawn(&mut dice) };
        let mut world = World::new(&flow, Fate::KIND, dice);
        let history = world.play();
        judge(&world, &history);
        prop_assert_eq!(history.view().status, RunStatus::Succeeded);
        prop_assert!(history.view().jobs.iter().all(|job| job.ok == job.targets));
    }
}

fn judge(world: &World, history: &History) {
    let (decisions, inputs, times) = world.stored();
    let judged = judge_whole(&Whole {
        run: history.run().id(),
        decisions: &decisions,
        inputs: &inputs,
        times: &times,
        bad: &BTreeMap::new(),
        unread: &BTreeMap::new(),
        aside: &BTreeSet::new(),
        policy: &Policy::default(),
        policy_of: PolicyOf::Coordinators,
        extent: Extent::Over,
        now: None,
    });
    assert!(judged.violations.is_empty() && judged.truncated.is_none(), "{judged:#?}");
}
