//! Everything in the corpus, and a short search from there, the same one each time.

use rr_fuzz::{Fuzz, Target, corpus};

/// Inputs of a search: some seconds of a build without optimisations.
const STEPS: [(Target, u32); 7] = [
    (Target::Flow, 1_500),
    (Target::Hosts, 4_000),
    (Target::Wire, 4_000),
    (Target::Api, 4_000),
    (Target::Export, 4_000),
    (Target::Template, 4_000),
    (Target::Words, 20_000),
];

#[test]
fn nothing_in_the_corpus_or_near_it_breaks_a_reader() {
    for (target, steps) in STEPS {
        let mut fuzz = Fuzz::new(target, 1);
        let entries = corpus::entries(target).unwrap();
        assert!(entries.len() > 5, "{target:?} has a corpus");
        for entry in entries {
            if let Err(failure) = fuzz.feed(&entry.bytes) {
                panic!("{target:?}, {}: {}", entry.file.display(), failure.wrong);
            }
        }
        let known = fuzz.tally();
        for _ in 0..steps {
            if let Err(failure) = fuzz.step() {
                panic!("{target:?}, {:?}: {}", String::from_utf8_lossy(&failure.input), failure.wrong);
            }
        }
        let tally = fuzz.tally();
        println!("{target:?}: {} kinds of answers in the corpus, {} near it", known.answers, tally.answers);
        println!("  {:?}", tally.cost);
        // Of these small languages the corpus has all that is found so soon.
        let is_new = tally.kept > known.kept || matches!(target, Target::Template | Target::Words);
        assert!(known.kept > 0 && is_new, "{target:?}: a search that comes upon nothing new is none");
    }
}
