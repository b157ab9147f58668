//! `compose.yaml`, read as it stands and started as processes of this machine: its commands, its configurations and its
//! environment, with addresses and directories exchanged by one rule.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rr_tests::{Running, Sandbox, eventually, http, ports, program};
use serde::Deserialize;

/// How long all of it may take to be there.
const READY: Duration = Duration::from_mins(1);

/// A task on every host and two for the queue, so that both workers have something to do.
const FLOW: &str = r#"
name: composed
slots:
  - - { name: fan, run: ["true"], hosts: "h[1-20]" }
  - - { name: one, run: [sleep, "0.3"] }
    - { name: two, run: [sleep, "0.3"] }
"#;

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    command: Vec<String>,
    restart: String,
    #[serde(default)]
    build: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    healthcheck: Option<Healthcheck>,
}

#[derive(Deserialize)]
struct Healthcheck {
    test: Vec<String>,
}

/// What containers have of their own and processes of one machine share: ports and directories.
struct Places<'s> {
    sandbox: &'s Sandbox,
    names: Vec<String>,
    ports: BTreeMap<(String, u16), u16>,
}

impl Places<'_> {
    /// A text of a service as it must be on this machine: `${NAME:-default}` is filled in; an address of a service, of
    /// the container itself or of all its interfaces becomes one of this machine; a directory that is mounted becomes
    /// one of the sandbox or of the repository.
    fn local(&mut self, name: &str, service: &Service, text: &str) -> String {
        let mut text = filled(text);
        for volume in &service.volumes {
            let parts: Vec<&str> = volume.split(':').collect();
            let [source, target, ..] = parts[..] else { panic!("volume {volume:?}") };
            let source = match source.strip_prefix("./") {
                Some(path) => program::root().join(path),
                None => self.sandbox.dir().join(format!("volume-{source}")),
            };
            text = text.replace(target, source.to_str().unwrap());
        }
        let hosts = self.names.iter().map(|host| (host.clone(), host.clone()));
        let own = ["0.0.0.0", "127.0.0.1"].map(|host| (host.to_owned(), name.to_owned()));
        for (host, owner) in hosts.chain(own).collect::<Vec<_>>() {
            text = self.with_addresses(&text, &host, &owner);
        }
        text
    }

    /// Exchanges `host:port`.
    fn with_addresses(&mut self, text: &str, host: &str, owner: &str) -> String {
        let address = format!("{host}:");
        let mut parts = text.split(&address);
        let mut local = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.find(|char: char| !char.is_ascii_digit()).unwrap_or(part.len());
            let (port, rest) = part.split_at(digits);
            // What was exchanged already is high above.
            match port.parse::<u16>() {
                Ok(port) if port < 10_000 => {
                    let key = (owner.to_owned(), port);
                    let port = *self.ports.entry(key).or_insert_with(ports::free);
                    local += &format!("127.0.0.1:{port}{rest}");
                }
                _ => local += &format!("{host}:{part}"),
            }
        }
        local
    }
}

/// `${NAME:-default}` as it is where nobody sets anything.
fn filled(text: &str) -> String {
    let mut parts = text.split("${");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        // Without a default it would not work from a clean clone.
        let (_name, default) = variable.split_once(":-").unwrap();
        filled += &format!("{default}{rest}");
    }
    filled
}

fn read() -> Compose {
    let text = std::fs::read_to_string(program::root().join("compose.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// Starts a service, once what it depends on is healthy.
async fn start(places: &mut Places<'_>, all: &Compose, name: &str) -> Running {
    let service = &all.services[name];
    for (other, condition) in &service.depends_on {
        assert_eq!(condition["condition"], "service_healthy");
        is_healthy(places, all, other).await;
    }
    let program = match service.image.as_str() {
        "rr" => {
            assert!(program::root().join(service.build.as_deref().unwrap()).join("Dockerfile").is_file());
            program::rr().to_owned()
        }
        image => {
            assert!(image.starts_with("nats:2.15.1"), "{image}");
            program::nats_server().await.path
        }
    };
    let args: Vec<String> = service.command.iter().map(|arg| places.local(name, service, arg)).collect();
    let mut call = places.sandbox.call(Path::new(&program), args);
    for (key, value) in &service.environment {
        let mut value = value.clone();
        if !service.volumes.iter().any(|volume| value.contains(volume.split(':').nth(1).unwrap())) {
            // A container without a volume has its own directories all the same.
            value = value.replace("/var/lib/", &format!("{}/own-{name}/", places.sandbox.dir().display()));
        }
        call = call.env(key, places.local(name, service, &value));
    }
    call.start()
}

async fn is_healthy(places: &mut Places<'_>, all: &Compose, name: &str) {
    let service = &all.services[name];
    let test = &service.healthcheck.as_ref().unwrap().test;
    let url = places.local(name, service, test.last().unwrap());
    eventually(&format!("health of {name}"), READY, async || http::get(&url).await).await;
}

#[tokio::test]
async fn what_compose_starts_runs_flows() {
    let sandbox = Sandbox::new().await;
    let all = read();
    let names = all.services.keys().cloned().collect();
    let mut places = Places { sandbox: &sandbox, names, ports: BTreeMap::new() };
    // In this order everything can be started: servers have no dependencies.
    let mut order: Vec<&String> = all.services.keys().collect();
    order.sort_by_key(|name| all.services[*name].depends_on.len());
    let mut processes = Vec::new();
    for name in order {
        processes.push(start(&mut places, &all, name).await);
    }
    assert_eq!(processes.len(), 7);

    sandbox.write("composed.yaml", FLOW);
    let server = places.local("worker1", &all.services["worker1"], &all.services["worker1"].environment["RR_SERVER"]);
    for process in &mut processes[5..] {
        process.has_written("worker ready", READY).await;
    }
    let told = sandbox.rr(["publish", "composed.yaml", "--wait"]).env("RR_SERVER", &server).run().await.exits(0);
    drop(told);
    for process in &mut processes {
        assert!(process.runs(), "{}", process.stderr());
        process.terminate();
    }
    for process in processes {
        let _output = process.ended(READY).await.exits(0);
    }
}

#[test]
fn nothing_of_compose_is_open_to_others_or_lost_when_it_stops() {
    let all = read();
    for (name, service) in &all.services {
        assert_eq!(service.restart, "unless-stopped", "{name}");
        for port in &service.ports {
            assert!(port.starts_with("127.0.0.1:"), "{name} is open to others: {port}");
        }
        let named = |volume: &&String| !volume.starts_with("./");
        for volume in service.volumes.iter().filter(named) {
            assert!(all.volumes.contains_key(volume.split(':').next().unwrap()), "{volume}");
        }
        if !name.starts_with("coordinator") {
            assert_eq!(service.volumes.iter().filter(named).count(), 1, "{name} keeps nothing");
        }
    }
}
