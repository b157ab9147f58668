//! How processes find a mesh and log in: contexts of the NATS CLI, least rights, machines that start in any order.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use rr_nats::{ConnectOptions, connect};
use rr_tests::{Running, Sandbox, TestMesh, Timing, eventually, program};

const SOON: Duration = Duration::from_secs(20);

fn context(sandbox: &Sandbox, name: &str, json: &str) {
    let dir = sandbox.dir().join("config/nats/context");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(format!("{name}.json")), json).unwrap();
}

#[tokio::test]
async fn contexts_of_the_nats_cli_count_when_they_are_named() {
    let mesh = TestMesh::bare(Timing::Default).await;
    let _coordinator = mesh.coordinator();
    mesh.is_made().await;
    let (user, password, url) = (mesh.address().user(), mesh.address().password(), mesh.address().url());
    let sandbox = Sandbox::new().await;
    context(&sandbox, "prod", &format!(r#"{{"url": "{url}", "user": "{user}", "password": "{password}"}}"#));
    context(&sandbox, "wrong", &format!(r#"{{"url": "{url}", "user": "{user}", "password": "x"}}"#));
    context(&sandbox, "proxy", &format!(r#"{{"url": "{url}", "socks_proxy": "socks5://h:1"}}"#));
    fs::write(sandbox.dir().join("config/nats/context.txt"), "prod").unwrap();
    sandbox.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi], hosts: [h1] }]\n");
    let publish = ["publish", "flow.yaml"];
    // The one that is selected for the NATS CLI is nobody's wish.
    let _none = sandbox.rr(publish).run().await.exits(69).says(&["no mesh"]);
    let _private = sandbox.rr(["run", "flow.yaml"]).run().await.exits(0);
    let published = sandbox.rr(["publish", "flow.yaml", "--context", "prod", "--id", "r1"]).run().await.exits(0);
    assert_eq!(published.stdout, "r1\n");
    let _variable = sandbox.rr(["publish", "flow.yaml", "--id", "r2"]).env("NATS_CONTEXT", "prod").run().await.exits(0);
    let _own = sandbox.rr(["show", "r1"]).env("RR_CONTEXT", "prod").env("NATS_CONTEXT", "gone").run().await.exits(0);
    let why = sandbox.rr(["show", "r1", "--context", "wrong"]).env("RR_PASSWORD", password).run().await;
    let _refused = why.exits(77).says(&["login", "authorization violation"]);
    for (name, says) in
        [("prd", "did you mean \"prod\"?"), ("elsewhere", "there are: prod, proxy, wrong"), ("proxy", "socks_proxy")]
    {
        let _told = sandbox.rr(["ls", "--context", name]).run().await.exits(78).says(&[says]);
    }
    // Who needs no mesh does not look at contexts.
    let _checked = sandbox.rr(["check", "flow.yaml"]).env("NATS_CONTEXT", "gone").run().await.exits(0);
}

/// What a worker `w1` may do and no more.
const PUBLISH: [&str; 11] = [
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.RR_EVENTS",
    "$JS.API.STREAM.INFO.KV_rr-workers",
    "$JS.API.STREAM.MSG.GET.KV_rr-workers",
    "$KV.rr-workers.worker.w1",
    "rr.api.join.w1",
    "$JS.API.CONSUMER.MSG.NEXT.RR_WORK.w-w1",
    "$JS.ACK.RR_WORK.w-w1.>",
    "rr.in.*.*.w.w1",
    "rr.in.*.*.claim.*.*.w1.*",
    "rr.out.w1.>",
];

/// A server whose users are `admin` and the worker `w1`, who may not do `without`.
async fn guarded(sandbox: &Sandbox, without: &str) -> (Running, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let publish: Vec<&str> = PUBLISH.into_iter().filter(|subject| *subject != without).collect();
    let subscribe: Vec<&str> = ["_INBOX_w1.>", "rr.ctl.w1"].into_iter().filter(|subject| *subject != without).collect();
    let configuration = format!(
        "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\nauthorization {{ users: [\n\
         {{ user: admin, password: p }}\n\
         {{ user: w1, password: p, permissions: {{ publish: {{ allow: {publish:?} }}, subscribe: {{ allow: {subscribe:?} }} }} }}\n] }}\n",
        sandbox.path(&format!("js-{port}")).display()
    );
    let file = sandbox.write(&format!("{port}.conf"), configuration);
    let binary = program::nats_server().await;
    let server = sandbox.call(&binary.path, [PathBuf::from("-c"), file]).start();
    let url = format!("127.0.0.1:{port}");
    let admin = ConnectOptions { server: format!("nats://admin:p@{url}"), ..ConnectOptions::default() };
    eventually("the server", SOON, async || connect(&admin).await.map(drop)).await;
    (server, url)
}

#[tokio::test]
async fn a_worker_needs_few_rights_and_one_that_is_missing_is_named() {
    let sandbox = Sandbox::new().await;
    let worker = ["worker", "--name", "w1", "--hosts", "h1", "--inbox-prefix", "_INBOX_w1"];
    let (_server, url) = guarded(&sandbox, "").await;
    let admin = format!("nats://admin:p@{url}");
    let _coordinator = sandbox.rr(["coordinator"]).env("RR_SERVER", &admin).start();
    let mut works = sandbox.rr(worker).env("RR_SERVER", format!("nats://w1:p@{url}")).start();
    works.has_written("worker ready", SOON).await;
    sandbox.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi], hosts: [h1], on_lost: fail }]\n");
    let published = sandbox.rr(["publish", "flow.yaml", "--id", "r1", "--wait"]).env("RR_SERVER", &admin).run().await;
    let _succeeded = published.exits(0);
    let logs = sandbox.rr(["logs", "r1"]).env("RR_SERVER", &admin).run().await.exits(0);
    assert_eq!(logs.stdout, "a h1 | hi\n");
    works.terminate();
    let told = works.ended(SOON).await.exits(0);
    assert!(!told.stderr.contains("permission denied"), "{told}");

    for without in
        ["rr.api.join.w1", "rr.ctl.w1", "$KV.rr-workers.worker.w1", "_INBOX_w1.>", "$JS.API.STREAM.INFO.RR_EVENTS"]
    {
        let (_server, url) = guarded(&sandbox, without).await;
        let _coordinator = sandbox.rr(["coordinator"]).env("RR_SERVER", format!("nats://admin:p@{url}")).start();
        let state = ["--state-dir".to_owned(), sandbox.path(&url).display().to_string(), "--server".to_owned(), url];
        let call = sandbox.rr(worker.map(str::to_owned).into_iter().chain(state));
        let told = call.env("RR_USER", "w1").env("RR_PASSWORD", "p").within(SOON).run().await.exits(77);
        let named = without.trim_end_matches('>');
        assert!(told.stderr.contains("permission denied: ") && told.stderr.contains(named), "{told}");
    }
}

#[tokio::test]
async fn a_worker_waits_for_a_mesh_that_is_made_later() {
    let mut mesh = TestMesh::bare(Timing::Default).await;
    // Not even a server yet.
    let port = mesh.address().port();
    mesh.server().kill().await.unwrap();
    let mut worker = mesh.worker("w1", &["--all-hosts"]);
    worker.has_written(&format!("cannot reach a NATS server at 127.0.0.1:{port}"), SOON).await;
    mesh.server().restart().await.unwrap();
    worker.has_written("waiting for a coordinator to make it", SOON).await;
    let _coordinator = mesh.coordinator();
    worker.has_written("worker ready", SOON).await;
    mesh.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi], hosts: [h1] }]\n");
    let _ran = mesh.rr(["publish", "flow.yaml", "--wait"]).run().await.exits(0);
}
