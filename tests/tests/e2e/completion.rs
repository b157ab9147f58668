//! What a shell is told while somebody types.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rr_tests::{Call, Running, Sandbox, eventually, program};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

const SOON: Duration = Duration::from_secs(20);

const FLOW: &str = "name: nightly\nparams:\n  version: { type: string, default: '1', description: What to install }\n  \
                    channel: { type: string, default: beta, choices: [beta, stable, 'two words', '$(touch x)'] }\njobs:\n  \
                    - { name: fetch, run: [echo, hello], hosts: 'db[1-2]' }\n  \
                    - { name: store, run: ['false'], hosts: db3 }\n";

/// What fish is told: candidates with their help. Nothing is ever said on stderr.
async fn told(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    answer(asking(sandbox, words)).await
}

fn asking<'a>(sandbox: &'a Sandbox, words: &[&str]) -> Call<'a> {
    sandbox.rr(["--", "rr"].iter().chain(words)).env("RR_COMPLETE", "fish")
}

async fn answer(call: Call<'_>) -> Vec<String> {
    let told = call.run().await.exits(0);
    assert_eq!(told.stderr, "");
    told.stdout.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect()
}

/// An `rr up` in which `nightly-1` has failed and `nightly-2` goes on.
async fn mesh_with_runs(sandbox: &Sandbox) -> Running {
    let mut up = sandbox.rr(["up", "--all-hosts"]).start();
    up.has_written("mesh at", SOON).await;
    sandbox.write("flow.yaml", FLOW);
    sandbox.write("endless.yaml", "{name: endless, jobs: [{name: wait, run: [sleep, '600'], hosts: h1}]}");
    let _failed = sandbox.rr(["publish", "flow.yaml", "--id", "nightly-1", "--wait"]).run().await.exits(1);
    let _live = sandbox.rr(["publish", "endless.yaml", "--id", "nightly-2"]).run().await.exits(0);
    let both = ["nightly-2\tendless, running", "nightly-1\tnightly, failed"];
    eventually("both runs", SOON, async || {
        let told = told(sandbox, &["show", "night"]).await;
        if told == both { Ok(()) } else { Err(told.join("; ")) }
    })
    .await;
    up
}

#[tokio::test]
async fn runs_jobs_hosts_and_workers_of_the_mesh_are_offered_where_they_fit() {
    let sandbox = Sandbox::new().await;
    let _up = mesh_with_runs(&sandbox).await;
    for (words, candidates) in [
        (&["watch", "nightly-1"][..], &["nightly-1\tnightly, failed"][..]),
        (&["cancel", ""], &["nightly-2\tendless, running"]),
        (&["retry", "--failed", ""], &["nightly-1\tnightly, failed"]),
        (&["logs", "nightly-1", "--job", ""], &["fetch\tsucceeded", "store\tfailed"]),
        (&["logs", "nightly-1", "--host", ""], &["db1", "db2", "db3"]),
        (&["logs", "nightly-1", "--host", "db1,db"], &["db1,db1", "db1,db2", "db1,db3"]),
        (&["logs", "night", "--job", ""], &[]),
        (&["worker", "forget", ""], &[]),
    ] {
        assert_eq!(told(&sandbox, words).await, candidates, "{words:?}");
    }
    let workers = told(&sandbox, &["worker", "drain", ""]).await;
    assert!(matches!(&workers[..], [one] if one.ends_with("\tpresent")), "{workers:?}");
}

#[tokio::test]
async fn files_are_enough_for_contexts_parameters_and_private_runs() {
    let sandbox = Sandbox::new().await;
    sandbox.write("flow.yaml", FLOW);
    let contexts = sandbox.dir().join("config/nats/context");
    fs::create_dir_all(&contexts).unwrap();
    for name in ["prod", "proof", "test", "not plain"] {
        fs::write(contexts.join(format!("{name}.json")), "{}").unwrap();
    }
    let _ran = sandbox.rr(["run", "flow.yaml", "--id", "kept"]).run().await.exits(1);
    for (words, candidates) in [
        (&["--context", "pro"][..], &["prod", "proof"][..]),
        (&["run", "flow.yaml", "--set", ""], &["channel=", "version=\tWhat to install"]),
        (&["run", "flow.yaml", "--set", "channel="], &["channel=beta", "channel=stable"]),
        (&["run", "nothing.yaml", "--set", ""], &[]),
        (&["run", "-", "--set", ""], &[]),
        (&["show", ""], &["kept\tnightly, failed"]),
        (&["retry", ""], &[]),
        (&["logs", "ke", "--job", "st"], &["store\tfailed"]),
        (&["logs", "kept", "--host", ""], &["db1", "db2", "db3"]),
    ] {
        assert_eq!(told(&sandbox, words).await, candidates, "{words:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_passed_over_in_silence_and_soon() {
    let sandbox = Sandbox::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("nats://{}", silent.local_addr().unwrap());
    for (name, value) in [
        ("RR_SERVER", silent.as_str()),
        ("RR_SERVER", "nats://127.0.0.1:1"),
        ("RR_SERVER", "this is no address"),
        ("RR_CONTEXT", "nobody"),
        ("RR_CONFIG", "/nowhere.yaml"),
        ("RR_WORKER__CAPACITY", "many"),
    ] {
        let asked = Instant::now();
        for words in [&["show", ""][..], &["logs", "r", "--job", ""], &["worker", "drain", ""]] {
            assert_eq!(answer(asking(&sandbox, words).env(name, value)).await, [""; 0], "{name} {value}");
        }
        assert!(asked.elapsed() < SOON, "{name} {value}");
        let verbs = answer(asking(&sandbox, &["wat"]).env(name, value)).await;
        assert!(matches!(&verbs[..], [watch] if watch.starts_with("watch\t")), "{verbs:?}");
        let _script = sandbox.rr(["completions", "bash"]).env(name, value).run().await.exits(0);
    }
    assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
    assert!(!sandbox.state().exists(), "nothing is written");
}

/// Somebody at a terminal with bash.
struct Typist {
    terminal: File,
    seen: Arc<Mutex<String>>,
    _bash: Running,
}

impl Typist {
    fn new(sandbox: &Sandbox) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = Path::new(name.to_str().unwrap());
        let screen = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let bash = sandbox.call(Path::new("bash"), ["--norc", "--noprofile", "-i"]).env("TERM", "dumb");
        let bash = bash.env("PS1", "? ").stdin_from(path).stdout(screen.try_clone().unwrap()).stderr(screen).start();
        let terminal = File::from(master);
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut reader, written) = (terminal.try_clone().unwrap(), Arc::clone(&seen));
        tokio::task::spawn_blocking(move || {
            let mut bytes = [0; 1024];
            // The read fails when bash has ended.
            while let Ok(n) = reader.read(&mut bytes) {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { terminal, seen, _bash: bash }
    }

    /// Types, and waits until the screen shows the text.
    async fn types(&mut self, keys: &str, shows: &str) {
        self.seen.lock().unwrap().clear();
        self.terminal.write_all(keys.as_bytes()).unwrap();
        eventually(&format!("{shows:?} after {keys:?}"), SOON, async || {
            let seen = self.seen.lock().unwrap().clone();
            if seen.contains(shows) { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

#[tokio::test]
async fn bash_completes_what_is_typed() {
    const CLEAR: char = '\u{15}';
    let sandbox = Sandbox::new().await;
    let _up = mesh_with_runs(&sandbox).await;
    let contexts = sandbox.dir().join("config/nats/context");
    fs::create_dir_all(&contexts).unwrap();
    fs::write(contexts.join("prod.json"), "{}").unwrap();
    sandbox.write("a file.yaml", FLOW);
    let mut typist = Typist::new(&sandbox);
    let rr = program::rr().parent().unwrap().display();
    typist.types(&format!("PATH='{rr}':$PATH; source <(rr completions bash) && echo so\\urced\n"), "sourced").await;
    for (keys, shows) in [
        ("rr canc\t", "rr cancel "),
        ("rr watch nightly-1\t", "rr watch nightly-1 "),
        ("rr cancel \t", "rr cancel nightly-2 "),
        ("rr logs nightly-1 --job fe\t", "--job fetch "),
        ("rr --context=p\tls", "rr --context=prod ls"),
        ("rr run flow.yaml --set vers\tX", "--set version=X"),
        ("rr run flow.yaml --set channel=s\tX", "--set channel=stable X"),
        ("rr --server nats://127.0.0.1:1 canc\t", "nats://127.0.0.1:1 cancel "),
        ("rr check a\t", "rr check a\\ file.yaml "),
    ] {
        typist.types(&format!("{CLEAR}{keys}"), shows).await;
    }
    typist.types(&format!("{CLEAR}exit\n"), "exit").await;
}
