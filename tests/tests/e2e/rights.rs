//! Rights: every role with exactly what `rr init --auth` gives it, on a server with exactly that configuration.

mod doctor;
mod roles;
mod stolen;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, Event, HeaderMap, ServerError};
use rr_nats::{ConnectOptions, Mesh, connect};
use rr_schemas::decision::RunStatus;
use rr_schemas::id::RunId;
use rr_tests::{Call, Running, Sandbox, Timing, eventually, ports, program, verdict::Verdict};

const SOON: Duration = Duration::from_secs(30);
/// How long a run may take of which a server dies: what was on its way to a worker comes again after 30 s.
const END: Duration = Duration::from_mins(2);
/// An answer that is not there by then does not come.
const SILENCE: Duration = Duration::from_millis(700);

/// A server, or a cluster of three, with the users of `rr init --auth`: an admin, a coordinator, two workers, a
/// publisher, a watcher.
struct Guarded {
    sandbox: Sandbox,
    servers: Vec<Running>,
    url: String,
}

impl Guarded {
    async fn start() -> Self {
        Self::start_servers(1).await
    }

    async fn start_servers(n: usize) -> Self {
        let sandbox = Sandbox::new().await;
        let ports: Vec<u16> = (0..n).map(|_| ports::free()).collect();
        let urls: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let url = urls.join(",");
        let roles =
            ["admin=admin", "coordinator=c1", "worker=w1:default", "worker=w9:default", "publisher=p", "watcher=v"];
        let mut args = vec!["init", "--auth", "--out", "auth", "--server", &url];
        args.extend(roles.iter().flat_map(|role| ["--role", *role]));
        let written = sandbox.rr(args.clone()).run().await.exits(0);
        for seed in seeds(&sandbox.path("auth")) {
            assert!(!written.stdout.contains(&seed) && !written.stderr.contains(&seed), "a seed is printed: {written}");
        }
        let _again = sandbox.rr(args).run().await.exits(73).says(&["is there already"]);
        let binary = program::nats_server().await;
        let routes: Vec<u16> = if n == 1 { Vec::new() } else { (0..n).map(|_| ports::free()).collect() };
        let mut servers = Vec::new();
        for (n, port) in ports.iter().enumerate() {
            let store = sandbox.dir().join(format!("nats{n}"));
            let mut settings = format!(
                "server_name: n{n}\nlisten: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n\
                 include \"auth/rr-auth.conf\"\n",
                store.display()
            );
            if let Some(own) = routes.get(n) {
                let all: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
                settings.push_str(&format!(
                    "cluster {{ name: rr, listen: \"127.0.0.1:{own}\", routes: [{}] }}\n",
                    all.join(", ")
                ));
            }
            let file = sandbox.write(&format!("nats-server{n}.conf"), settings);
            servers.push(sandbox.call(&binary.path, ["--config".into(), file.into_os_string()]).start());
        }
        let guarded = Self { sandbox, servers, url };
        eventually("server", SOON, async || guarded.link("admin").await.map(drop)).await;
        guarded
    }

    /// The same with its mesh, a coordinator, and the worker `w1` on h1 and the queue.
    async fn with_mesh() -> (Self, Running, Running) {
        Self::start().await.serving().await
    }

    async fn serving(self) -> (Self, Running, Running) {
        let guarded = self;
        let _made = guarded.rr("admin", &["init", "--partitions", "2"]).run().await.exits(0);
        let coordinator = guarded.rr("c1", &["coordinator"]).start();
        let mut worker = guarded.rr("w1", &["worker", "--hosts", "h1", "--capacity", "8"]).start();
        worker.has_written("worker ready", SOON).await;
        (guarded, coordinator, worker)
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.sandbox.path("auth").join(format!("{name}.{kind}"))
    }

    fn rr(&self, user: &str, args: &[&str]) -> Call<'_> {
        let config = self.file(user, "yaml").display().to_string();
        let args = ["--config".to_owned(), config].into_iter().chain(args.iter().map(|arg| (*arg).to_owned()));
        self.sandbox.rr(args.collect::<Vec<_>>())
    }

    async fn link(&self, user: &str) -> Result<rr_nats::Link, String> {
        let options = ConnectOptions {
            server: self.url.clone(),
            nkey: Some(self.file(user, "nk")),
            inbox_prefix: Some(format!("_INBOX_{user}")),
            ..ConnectOptions::default()
        };
        connect(&options).await.map_err(|error| error.to_string())
    }

    async fn mesh(&self) -> Mesh {
        self.link("admin").await.unwrap().mesh().await.unwrap()
    }

    /// A client that is not ours, with a user's key.
    async fn raw(&self, user: &str) -> Raw {
        let seed = std::fs::read_to_string(self.file(user, "nk")).unwrap().trim().to_owned();
        let refused = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&refused);
        let options = async_nats::ConnectOptions::with_nkey(seed)
            .custom_inbox_prefix(format!("_INBOX_{user}"))
            .request_timeout(Some(SILENCE))
            .event_callback(move |event| {
                if let Event::ServerError(ServerError::Other(text)) = event {
                    told.lock().unwrap().push(text);
                }
                std::future::ready(())
            });
        let client = options.connect(self.url.as_str()).await.unwrap();
        Raw { client, refused }
    }

    async fn ended(&self, run: &str) -> RunStatus {
        let (mesh, run): (Mesh, RunId) = (self.mesh().await, run.parse().unwrap());
        eventually("end of the run", END, async || match mesh.status(&run).await {
            Ok(Some(entry)) if entry.view.status.is_final() => Ok(entry.view.status),
            other => Err(format!("{other:?}")),
        })
        .await
    }
}

/// What only its user may know: the content of every key file there.
fn seeds(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let keys = files.filter(|file| file.extension().is_some_and(|extension| extension == "nk"));
    let seeds: Vec<String> = keys.map(|key| std::fs::read_to_string(key).unwrap().trim().to_owned()).collect();
    assert!(!seeds.is_empty() && seeds.iter().all(|seed| seed.starts_with("SU")), "{seeds:?}");
    seeds
}

/// A client that is not ours.
struct Raw {
    client: Client,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    /// What is answered, if anything is.
    async fn ask(&self, subject: &str, headers: &[(&str, String)], body: impl Into<Vec<u8>>) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.as_str());
        }
        let answer = self.client.request_with_headers(subject.to_owned(), map, body.into().into()).await.ok()?;
        Some(String::from_utf8_lossy(&answer.payload).into_owned())
    }

    /// Sends with a reply subject of somebody else's.
    async fn send(&self, subject: &str, reply: &str, body: impl Into<Vec<u8>>) {
        let body: Vec<u8> = body.into();
        self.client.publish_with_reply(subject.to_owned(), reply.to_owned(), body.into()).await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// Whether the server has refused this (`Publish`, `Subscription`) on that subject, by its name.
    fn is_refused(&self, what: &str, subject: &str) -> bool {
        let violation = format!("Violation for {what} to \"{subject}\"");
        self.refused.lock().unwrap().iter().any(|text| text.contains(&violation))
    }
}

#[tokio::test]
async fn every_role_does_its_work_with_its_rights() {
    let (guarded, coordinator, worker) = Guarded::with_mesh().await;
    works(&guarded, coordinator, worker).await;
}

#[tokio::test]
async fn every_role_does_its_work_in_a_cluster_of_three() {
    let (mut guarded, mut coordinator, worker) = Guarded::start_servers(3).await.serving().await;
    coordinator.has_written("copies=3", SOON).await;
    // Two are enough for everything, whoever is asked.
    guarded.servers[1].kill().await;
    works(&guarded, coordinator, worker).await;
}

async fn works(guarded: &Guarded, coordinator: Running, worker: Running) {
    let again = guarded.rr("admin", &["init", "--partitions", "2"]).run().await.exits(0);
    assert!(!again.stdout.contains("made") && again.stdout.contains("there stream RR_EVENTS"), "{again}");
    guarded.sandbox.write(
        "flow.yaml",
        "name: f\njobs:\n  - { name: a, shell: \"echo hi; sleep 0.6\", hosts: [h1] }\n  - { name: b, run: [echo, q] }\n  \
         - { name: c, run: [echo, once], on_lost: fail }\n  \
         - { name: d, shell: \"test $RR_ATTEMPT -ge 2\", retry: { attempts: 2, delay: 1s } }\n",
    );
    let _stored = guarded.rr("p", &["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    assert_eq!(guarded.ended("r1").await, RunStatus::Succeeded);
    let logs = guarded.rr("v", &["logs", "r1"]).run().await.exits(0);
    assert!(logs.stdout.contains("a h1 | hi\n") && logs.stdout.contains("once\n"), "{logs}");
    let histories = [&["verify"][..], &["verify", "r1"], &["export", "r1", "--output"], &["replay", "r1"]];
    for args in [&["show", "r1"][..], &["ls"], &["watch", "r1"], &["why", "r1"]].into_iter().chain(histories) {
        let _seen = guarded.rr("v", args).run().await.exits(0);
    }
    guarded.sandbox.write("long.yaml", "name: f\njobs: [{ name: a, run: [sleep, '60'], hosts: [h1] }]\n");
    let _stored = guarded.rr("p", &["publish", "long.yaml", "--id", "r2"]).run().await.exits(0);
    let mesh = guarded.mesh().await;
    eventually("a state of r2", END, async || match mesh.status(&"r2".parse().unwrap()).await {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let _cancelled = guarded.rr("p", &["cancel", "r2"]).run().await.exits(0);
    assert_eq!(guarded.ended("r2").await, RunStatus::Cancelled);
    for run in ["r1", "r2"] {
        Verdict::of(&mesh, &run.parse().unwrap(), Timing::Default).await;
    }
    for running in [worker, coordinator] {
        running.terminate();
        let told = running.ended(SOON).await.exits(0);
        assert!(!told.stderr.contains("permission denied"), "{told}");
    }
}

#[tokio::test]
async fn who_may_not_read_the_bodies_of_offers_is_told_that_they_were_not_looked_at() {
    let (guarded, _coordinator, _worker) = Guarded::with_mesh().await;
    guarded.sandbox.write("flow.yaml", "name: f\njobs: [{ name: a, run: [\"true\"], hosts: [h7, h8] }]\n");
    let _stored = guarded.rr("p", &["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    let (mesh, run) = (guarded.mesh().await, "r1".parse().unwrap());
    eventually("both offers", SOON, async || match mesh.offers(&run).await {
        Ok(offers) if offers.len() == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let unread = "only the subjects were looked at, because their bodies may not be read: 2";
    for args in [&["verify"][..], &["verify", "r1"]] {
        let _told = guarded.rr("v", args).run().await.exits(0).says(&[unread]);
        let whole = guarded.rr("admin", args).run().await.exits(0);
        assert!(!whole.stderr.contains("only the subjects"), "{whole}");
    }
    let exported = guarded.rr("v", &["export", "r1"]).run().await.exits(0).says(&["may not be read: 2"]);
    guarded.sandbox.write("r1.jsonl", &exported.stdout);
    let _told = guarded.sandbox.rr(["verify", "r1.jsonl"]).run().await.exits(0).says(&[unread]);
}

#[tokio::test]
async fn a_refusal_names_the_subject_and_is_no_timeout() {
    let guarded = Guarded::start().await;
    guarded.sandbox.write("flow.yaml", "name: f\njobs: [{ name: a, run: [echo, hi], hosts: [h1] }]\n");
    let no_mesh = guarded.rr("c1", &["coordinator"]).run().await.exits(77);
    let _names = no_mesh.says(&["permission denied: $JS.API.STREAM.CREATE.", "rr init"]);
    let _names = guarded.rr("p", &["init"]).run().await.exits(77).says(&["permission denied: $JS.API.STREAM.INFO."]);
    let _made = guarded.rr("admin", &["init", "--partitions", "2"]).run().await.exits(0);
    let _coordinator = guarded.rr("c1", &["coordinator"]).start();
    for (user, args, subject) in [
        ("v", &["publish", "flow.yaml", "--id", "r1"][..], "publish to rr.in."),
        ("w1", &["publish", "flow.yaml"], "$JS.API.STREAM.MSG.GET.KV_rr-runs"),
        ("p", &["publish", "flow.yaml", "--wait"], "$JS.API.CONSUMER.CREATE.RR_EVENTS."),
        ("p", &["coordinator"], "$JS.API."),
        ("w1", &["worker", "--name", "w9", "--hosts", "h1"], "$KV.rr-workers.worker.w9"),
        ("p", &["worker", "--name", "p", "--hosts", "h1"], "$JS.API.STREAM.INFO.KV_rr-workers"),
        ("w1", &["ls"], "$JS.API.CONSUMER.CREATE.KV_rr-runs."),
    ] {
        let told = guarded.rr(user, args).within(SOON).run().await.exits(77);
        assert!(told.stderr.contains("permission denied: ") && told.stderr.contains(subject), "{subject}: {told}");
    }
    let inbox = guarded.rr("w1", &["worker", "--hosts", "h1", "--inbox-prefix", "_INBOX"]).run().await.exits(77);
    let _names = inbox.says(&["permission denied: subscribe to _INBOX."]);
}

#[tokio::test]
async fn a_coordinator_may_make_again_what_somebody_removes() {
    let (guarded, mut coordinator, _worker) = Guarded::with_mesh().await;
    coordinator.has_written("the mesh is looked after", SOON).await;
    let js = async_nats::jetstream::new(guarded.raw("admin").await.client);
    for (stream, durable) in [("RR_EVENTS", "p0"), ("RR_TIMERS", "timers")] {
        let handle = js.get_stream(stream).await.unwrap();
        handle.delete_consumer(durable).await.unwrap();
        eventually(durable, SOON, async || handle.consumer_info(durable).await).await;
    }
    for stream in ["RR_TIMERS", "RR_WORK", "RR_OUTPUT", "RR_QUARANTINE", "KV_rr-runs", "KV_rr-workers", "KV_rr-locks"] {
        js.delete_stream(stream).await.unwrap();
        eventually(stream, SOON, async || js.get_stream(stream).await).await;
    }
    guarded.sandbox.write("flow.yaml", "{ name: f, jobs: [{ name: j, run: [\"true\"], hosts: h1 }] }");
    let _id = guarded.rr("p", &["publish", "flow.yaml", "--id", "r1"]).run().await.exits(0);
    assert_eq!(guarded.ended("r1").await, RunStatus::Succeeded);
}
