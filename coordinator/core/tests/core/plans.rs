//! Plans: where each task runs, and what its worker is told.

use rr_core::Plan;
use rr_schemas::{
    flow::{
        ARG_BYTES_MAX,
        params::{ParamValue, ParamValues},
        select::{Found, FoundTargets},
    },
    host::HOST_CHARS_MAX,
    id::RunId,
    offer::{Command, Target},
};

use super::flows::flow;

fn run() -> RunId {
    "r".parse().unwrap()
}

fn argv(words: &[&str]) -> Command {
    Command::Argv(words.iter().map(|word| (*word).to_owned()).collect())
}

const EVERY_TARGET: &str = r#"{"name":"f","params":{"v":{"default":"7"},"host_of":{"default":"x"}},
    "env":{"FLOW":"{{ v }}"},
    "jobs":[
        {"name":"one","run":["put","{{ v }}","{{ host_of }}"],"queue":"fast","cwd":"/srv/{{ v }}"},
        {"name":"hosts","run":["ping","{{ host }}"],"hosts":"h[1-3]","env":{"AT":"{{ host }}:{{ v }}"}},
        {"name":"some","run":["to","{{ host }}"],"select":{"role":"db"}},
        {"name":"all","shell":{"script":"true","shell":["/bin/bash","-c"]},"all":{"role":"web"},"needs":["one"]},
        {"name":"gate","signal":"go"},
        {"name":"fn","handler":"work"}]}"#;

#[test]
fn each_task_has_its_target_and_its_command() {
    let flow = flow(EVERY_TARGET);
    let found: FoundTargets = [
        ("some".parse().unwrap(), Found::Hosts("d[1-2]".parse().unwrap())),
        ("all".parse().unwrap(), Found::Workers(vec!["w5".parse().unwrap(), "w9".parse().unwrap()])),
    ]
    .into();
    let plan = Plan::with_found(&flow, &ParamValues::default(), &found).unwrap();
    let queue = |name: &str| Target::Queue(name.parse().unwrap());
    let host = |name: &str| Target::Host(name.parse().unwrap());
    let worker = |name: &str| Target::Worker(name.parse().unwrap());
    let bash = || Command::Shell { shell: vec!["/bin/bash".into(), "-c".into()], script: "true".into() };
    let rows = [
        ("one", queue("fast"), argv(&["put", "7", "x"])),
        ("hosts", host("h1"), argv(&["ping", "h1"])),
        ("hosts", host("h2"), argv(&["ping", "h2"])),
        ("hosts", host("h3"), argv(&["ping", "h3"])),
        ("some", host("d1"), argv(&["to", "d1"])),
        ("some", host("d2"), argv(&["to", "d2"])),
        ("all", worker("w5"), bash()),
        ("all", worker("w9"), bash()),
        ("fn", queue("default"), Command::Handler("work".parse().unwrap())),
    ];
    assert_eq!(plan.n_tasks(), 9);
    for (task, (job, target, command)) in (0..).zip(rows) {
        let offer = plan.offer(&run(), task, 2, 3).unwrap();
        assert_eq!((offer.job.as_str(), &offer.target, &offer.command), (job, &target, &command), "task {task}");
        assert_eq!((offer.task, offer.attempt, offer.offer, plan.target(task)), (task, 2, 3, Some(target)));
        assert_eq!(offer.cwd, (job == "one").then(|| "/srv/7".to_owned()));
        let env: Vec<_> = offer.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        match &offer.target {
            Target::Host(host) if job == "hosts" => assert_eq!(env, [format!("AT={host}:7"), "FLOW=7".to_owned()]),
            _ => assert_eq!(env, ["FLOW=7"]),
        }
        let params: Vec<_> = offer.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(params, ["host_of=x", "v=7"]);
    }
    assert!(plan.offer(&run(), 9, 1, 1).is_none() && plan.target(9).is_none() && plan.job_of(9).is_none());
}

/// As long as nobody has looked for what labels stand for, the place of the host stays empty.
#[test]
fn people_are_shown_what_the_first_task_of_a_job_runs() {
    let plan = Plan::new(&flow(EVERY_TARGET), &ParamValues::default()).unwrap();
    let shown: Vec<_> = plan.jobs().iter().map(|job| plan.first_command(job)).collect();
    let bash = Command::Shell { shell: vec!["/bin/bash".into(), "-c".into()], script: "true".into() };
    let expected = [
        Some(argv(&["put", "7", "x"])),
        Some(argv(&["ping", "h1"])),
        Some(argv(&["to", "{{ host }}"])),
        Some(bash),
        None,
        Some(Command::Handler("work".parse().unwrap())),
    ];
    assert_eq!(shown, expected);
}

/// No offer fails because it is too long: such a plan there is not.
#[test]
fn what_becomes_too_long_when_it_is_filled_in_has_no_plan() {
    for (field, room) in [
        (r#""run":["{{ v }}{{ v }}{{ host }}"]"#, (ARG_BYTES_MAX - 1 - HOST_CHARS_MAX) / 2),
        (r#""run":["x"],"cwd":"{{ v }}{{ v }}{{ host }}""#, (ARG_BYTES_MAX - 1 - HOST_CHARS_MAX) / 2),
        (r#""run":["x"],"env":{"A":"{{ v }}{{ v }}"}"#, (ARG_BYTES_MAX - 3) / 2),
    ] {
        let flow =
            flow(&format!(r#"{{"name":"f","params":{{"v":{{}}}},"jobs":[{{"name":"a","hosts":"h1",{field}}}]}}"#));
        let plan = |bytes: usize| {
            let given = [("v".parse().unwrap(), ParamValue::String("v".repeat(bytes)))];
            Plan::new(&flow, &given.into_iter().collect())
        };
        assert!(plan(room).unwrap().offer(&run(), 0, 1, 1).is_some(), "{field}");
        assert!(plan(room + 1).is_err(), "{field}");
    }
}
