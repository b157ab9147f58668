//! Each rule, judged from the log alone, on runs drawn from seeds.

use proptest::prelude::*;
use rr_core::{History, Policy};
use rr_draw::Dice;
use rr_schemas::{decision::RunStatus, flow::Flow};

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
    let violations = rr_verify::records::judge(history.run().id(), &world.log, &Policy::default());
    assert!(violations.is_empty(), "{violations:#?}");
}
