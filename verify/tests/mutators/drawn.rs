//! Histories of random worlds, broken in every way that has a rule. The rule must be the first that is named.

mod aside;
mod attempts;
mod jobs;
mod looks;
mod overlap;
mod reports;
mod retries;
mod structure;

use rr_draw::Dice;
use rr_verify::{
    Rule,
    stream::{Finding, PolicyOf},
};

use crate::story::Story;

/// Breaks a history in one way; false where it has nothing of the kind.
pub(crate) type Mutator = fn(&mut Story, &mut Dice) -> bool;

/// Every way, with the rule that it breaks.
pub(crate) fn ways() -> impl Iterator<Item = (&'static str, Rule, Mutator)> {
    structure::ALL
        .into_iter()
        .chain(attempts::ALL)
        .chain(jobs::ALL)
        .chain(looks::ALL)
        .chain(overlap::ALL)
        .chain(reports::ALL)
        .chain(retries::ALL)
        .chain(aside::ALL)
}

/// Histories that each way is tried on.
const SEEDS: u64 = 300;
/// Histories that each way must have found something to break in.
const BROKEN_MIN: u32 = 5;
/// Histories that each way breaks at most, the first ones from a place of its own on: all are broken by some.
const BROKEN_MAX: u32 = 50;
/// One of so many of them is read by somebody who does not know the coordinators' policy, too: that costs as much once more.
const READ_EVERY: u32 = 5;

/// The way that looks like a loss of the log where offers bear tokens.
const LOSS_EXPLAINS: &str = "an offer waits whose number nobody has made";

#[test]
fn what_a_hostile_world_leaves_behind_is_clean() {
    for seed in 0..SEEDS {
        let story = Story::drawn(seed);
        for policy_of in [PolicyOf::Coordinators, PolicyOf::Reader] {
            let found = story.judged_by(policy_of).findings;
            assert!(found.is_empty(), "seed {seed}: {found:#?}");
        }
    }
}

#[test]
fn the_right_rule_is_named_first_whatever_is_broken() {
    let stories: Vec<Story> = (0..SEEDS).map(Story::drawn).collect();
    let mut wrong = Vec::new();
    for (n, (what, rule, break_it)) in ways().enumerate() {
        let (mut n_broken, mut n_with_tokens) = (0, 0);
        for (seed, story) in (0..).zip(&stories).cycle().skip(n * 7).take(stories.len()) {
            if n_broken == BROKEN_MAX {
                break;
            }
            let mut broken = story.clone();
            if !break_it(&mut broken, &mut Dice(seed)) {
                continue;
            }
            broken.bear_tokens_again(story);
            n_broken += 1;
            n_with_tokens += u32::from(broken.has_tokens());
            wrong.extend(misjudged(what, &broken, rule).map(|found| format!("{what}, seed {seed}: {found}")));
            if n_broken % READ_EVERY == 1 {
                let found = misread(what, &broken, rule);
                wrong.extend(found.map(|found| format!("{what}, seed {seed}, by a reader: {found}")));
            }
        }
        if n_with_tokens < BROKEN_MIN || what == LOSS_EXPLAINS && n_broken < n_with_tokens + BROKEN_MIN {
            wrong.push(format!("{what} has nothing to break: {n_broken}, and {n_with_tokens} of them with tokens"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n{}",
        wrong.len(),
        wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n")
    );
}

/// The rule is the first to be named.
pub(crate) fn misjudged(what: &str, broken: &Story, rule: Rule) -> Option<String> {
    let findings = broken.judged().findings;
    let first = broken.first_broken();
    let is_told = first == Some(rule) || is_told_as_loss(what, broken, &findings);
    (!is_told).then(|| format!("{rule:?} is not {first:?}: {:?}", findings.first()))
}

/// What `rr verify` does not know is how long the coordinators wait, and how many losses they bear. What these could explain is said to be
/// not whole, or another rule is named for what follows from it; everything else is broken as well.
pub(crate) fn misread(what: &str, broken: &Story, rule: Rule) -> Option<String> {
    let findings = broken.judged_by(PolicyOf::Reader).findings;
    let first = broken.first_broken_by(PolicyOf::Reader);
    let is_told = first == Some(rule)
        || matches!(rule, Rule::Retry | Rule::Liveness) && !findings.is_empty()
        || is_told_as_loss(what, broken, &findings);
    (!is_told).then(|| format!("{rule:?} is not {first:?}: {:?}", findings.first()))
}

/// What only a coordinator can have made, for it bears its token, shows that the log has lost the decision: that is told, and no rule
/// is named. Nothing else may pass as that.
fn is_told_as_loss(what: &str, broken: &Story, findings: &[Finding]) -> bool {
    let is_loss = |finding: &Finding| matches!(finding, Finding::Incomplete { reason, .. } if reason.starts_with("its history is truncated: an offer of"));
    what == LOSS_EXPLAINS && broken.has_tokens() && findings.len() == 1 && findings.iter().all(is_loss)
}

/// Whoever adds a rule adds a way to break it.
#[test]
fn every_rule_has_a_way_to_break_it() {
    let ways: Vec<Rule> = ways().map(|(_, rule, _)| rule).collect();
    for rule in Rule::ALL {
        assert!(ways.contains(rule), "{rule:?}");
    }
}
