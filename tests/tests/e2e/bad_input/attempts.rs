//! What shows only when an attempt starts: values of parameters, programs and directories that are not there.

use rr_schemas::{
    report::Outcome,
    view::{AttemptView, RunView},
};
use rr_tests::Sandbox;

/// Runs a flow of one task and returns its attempts.
async fn attempts(sandbox: &Sandbox, fields: &str, exit: i32) -> Vec<AttemptView> {
    sandbox.write("flow.yaml", format!("name: f\njobs:\n  - {{ name: a, retry: 3, {fields} }}\n"));
    let ran = sandbox.rr(["run", "flow.yaml", "--json"]).run().await.exits(exit);
    let mut view: RunView = serde_json::from_str(&ran.stdout).unwrap();
    view.jobs.remove(0).tasks.remove(0).attempts
}

#[tokio::test]
async fn a_value_is_one_argument_whatever_it_holds() {
    let sandbox = Sandbox::new().await;
    sandbox.write("flow.yaml", "name: f\nparams: { date: { type: string } }\njobs:\n  - { name: a, run: [printf, '%s|', '{{ date }}', end] }\n");
    for (n, value) in ["; rm -rf /", "$(id)", "`id`", "a\nb", "@/etc/passwd", "{{ date }}", "a b  c", "", "*", "\"'\\"]
        .iter()
        .enumerate()
    {
        let id = format!("r{n}");
        let set = format!("date={value}");
        let _ran = sandbox.rr(["run", "flow.yaml", "--id", &id, "--set", &set]).run().await.exits(0);
        let logs = sandbox.rr(["logs", &id, "--raw"]).run().await.exits(0);
        assert_eq!(logs.stdout, format!("{value}|end|"));
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named_and_not_tried_again() {
    let sandbox = Sandbox::new().await;
    sandbox.write("plain.sh", "#!/bin/sh\n");
    for (program, reason) in [("no-such-program", "no such"), ("./plain.sh", "not executable"), ("/", "start \"/\"")] {
        let tried = attempts(&sandbox, &format!("run: [{program}]"), 1).await;
        let [only] = tried.as_slice() else { panic!("{tried:?}") };
        let told = only.reason.as_deref().unwrap_or_default().to_lowercase();
        assert!(only.outcome == Some(Outcome::Failed) && told.contains(reason), "{program}: {only:?}");
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_refused() {
    let sandbox = Sandbox::new().await;
    sandbox.write("file", "");
    for cwd in ["/no/such/directory", "gone", "file"] {
        let tried = attempts(&sandbox, &format!("run: [touch, started], cwd: {cwd}"), 1).await;
        let last = tried.last().unwrap();
        assert!(
            last.outcome == Some(Outcome::Refused) && last.reason.as_deref().unwrap_or_default().contains("directory"),
            "{last:?}"
        );
    }
    assert!(!sandbox.path("started").exists());
}
