//! `rr sim`: a seed means the same in every process.

use rr_tests::Sandbox;

#[tokio::test]
async fn a_seed_means_the_same_in_every_process() {
    let sandbox = Sandbox::new().await;
    for args in [["sim", "--seed", "4", "--liveness"], ["sim", "--seed", "5", "--safety"]] {
        let first = sandbox.rr(args).run().await.exits(0).stdout;
        let second = sandbox.rr(args).run().await.exits(0).stdout;
        assert!(first.contains("digest"), "{first}");
        assert_eq!(first, second);
    }
}

#[tokio::test]
async fn many_seeds_end_with_a_table() {
    let sandbox = Sandbox::new().await;
    let run = sandbox.rr(["sim", "--seeds", "10", "--from", "100"]).run().await.exits(0);
    for words in ["Faults", "Branches", "10 seeds, 0 of them failed"] {
        assert!(run.stdout.contains(words), "{}", run.stdout);
    }
}

#[tokio::test]
async fn a_seed_is_one_document_and_has_one_thread() {
    let sandbox = Sandbox::new().await;
    let run = sandbox.rr(["sim", "--seed", "4", "--liveness", "--json"]).run().await.exits(0);
    let told: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&told["seed"], &told["mode"]), (&4.into(), &"liveness".into()), "{told}");
    assert!(told["digest"].is_string() && told["faults"].is_object(), "{told}");
    assert_eq!(told["complaints"], serde_json::json!([]));
    let refused = sandbox.rr(["sim", "--seed", "4", "--jobs", "2"]).run().await.exits(2);
    assert!(refused.stderr.contains("--jobs"), "{}", refused.stderr);
}
