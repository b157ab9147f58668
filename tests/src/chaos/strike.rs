//! Strikes: whether a fault met anything. One that falls into a mesh where nothing is under way proves nothing.

use jiff::Timestamp;

/// Who decides while a fault lasts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meanwhile {
    /// Nobody can, or it is over too soon to say.
    Anything,
    /// Somebody does.
    Decided,
}

/// A fault, from its begin to its end.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    /// When it began.
    pub since: Timestamp,
    /// When it was over.
    pub until: Timestamp,
    /// What must have happened in between.
    pub meanwhile: Meanwhile,
}

/// When a run was under way.
#[derive(Clone, Debug)]
pub struct Life {
    /// When it was wanted.
    pub wanted: Timestamp,
    /// When its decisions were stored, in order.
    pub decided: Vec<Timestamp>,
}

/// The strikes that met nothing, each with what is missing.
#[derive(Debug, Default)]
pub struct InVain {
    /// Those that struck while no run was under way: a moment that is drawn may be one between two runs.
    pub between: Vec<String>,
    /// Those under which nobody decided anything, and somebody should have.
    pub undecided: Vec<String>,
}

/// What the strikes have not met.
pub fn in_vain(strikes: &[Strike], lives: &[Life]) -> InVain {
    let mut found = InVain::default();
    for (n, Strike { since, until, meanwhile }) in strikes.iter().enumerate() {
        let is_met = |life: &Life| life.wanted <= *until && life.decided.last().is_some_and(|last| last >= since);
        let mut decided = lives.iter().flat_map(|life| &life.decided);
        if !lives.iter().any(is_met) {
            found.between.push(format!("fault {n}, {since} to {until}, struck while no run was under way"));
        } else if *meanwhile == Meanwhile::Decided && !decided.any(|at| (since..=until).contains(&at)) {
            found.undecided.push(format!("while fault {n} lasted, {since} to {until}, nothing was decided"));
        }
    }
    found
}

/// Whether too many strikes fell between runs: most must not.
pub const fn are_too_many(between: usize, strikes: usize) -> bool {
    between * 2 > strikes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_must_meet_a_run_and_a_decision_where_there_can_be_one() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let life =
            |wanted, decided: &[i64]| Life { wanted: at(wanted), decided: decided.iter().copied().map(at).collect() };
        let lives = [life(10, &[11, 20]), life(40, &[50])];
        for (since, until, meanwhile, expected) in [
            (12, 14, Meanwhile::Anything, (0, 0)),
            (12, 14, Meanwhile::Decided, (0, 1)),
            (19, 21, Meanwhile::Decided, (0, 0)),
            (5, 10, Meanwhile::Anything, (0, 0)),
            (5, 9, Meanwhile::Anything, (1, 0)),
            (21, 39, Meanwhile::Decided, (1, 0)),
            (51, 60, Meanwhile::Anything, (1, 0)),
        ] {
            let strike = Strike { since: at(since), until: at(until), meanwhile };
            let InVain { between, undecided } = in_vain(&[strike], &lives);
            assert_eq!((between.len(), undecided.len()), expected, "{strike:?}");
        }
    }

    #[test]
    fn most_faults_must_meet_something() {
        for (between, strikes, expected) in
            [(0, 0, false), (0, 1, false), (1, 1, true), (1, 2, false), (2, 3, true), (7, 15, false), (8, 15, true)]
        {
            assert_eq!(are_too_many(between, strikes), expected, "{between} of {strikes}");
        }
    }
}
