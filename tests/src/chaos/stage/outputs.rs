//! Some runs judged one by one, as users do: that reads what they wrote, which nobody does for all of them at once.

use futures::StreamExt as _;
use futures::stream;

use super::{END, Stage};
use crate::chaos::load::Asked;

/// Runs of a play that are judged so, at most; they lie evenly over it.
const JUDGED_MAX: usize = 20;
/// Of these at the same time.
const AT_ONCE: usize = 4;

impl<S> Stage<S> {
    /// Judges some of these runs, where what they wrote is still there.
    pub(super) async fn judge_outputs(&mut self, over: &[Asked]) {
        if !self.keeps_output {
            return;
        }
        let mut over: Vec<_> = over.iter().collect();
        over.sort_by_key(|one| one.wanted);
        let step = over.len().div_ceil(JUDGED_MAX).max(1);
        let verify = |one: &&Asked| self.mesh.rr(["verify", one.run.as_str()]).within(END).run();
        let verified = stream::iter(over.iter().step_by(step).map(verify)).buffered(AT_ONCE);
        let verified: Vec<_> = verified.collect().await;
        for verified in verified {
            // Where something is wrong with some of them, most are whole.
            let is_expected = verified.status.code().is_some_and(|code| code == 0 || self.verdicts.contains(&code));
            self.report.demand(is_expected, || format!("one run by itself: {verified}"));
        }
    }
}
