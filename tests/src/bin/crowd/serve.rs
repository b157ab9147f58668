//! A process with many workers in it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rr_nats::{ConnectOptions, Mesh, connect};
use rr_worker::{
    Handle, Handlers, Options, Worker,
    config::{Hosts, Serves},
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Size;

/// The first argument of such a process.
const WORD: &str = "serve";
/// What it says when all of its workers serve.
pub(crate) const READY: &str = "serve; their joining took";
/// Pause before a server is tried again that did not answer in time.
const AGAIN: Duration = Duration::from_millis(200);

/// A part of the workers: numbers from 1, hosts in the same order.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    url: String,
    dir: PathBuf,
    first: u32,
    last: u32,
    hosts_each: u32,
    hosts: u32,
}

impl Part {
    /// The workers, shared out.
    pub(crate) fn all(size: Size, url: &str, dir: &Path) -> Vec<Self> {
        let each = size.workers.div_ceil(size.processes);
        let firsts = (0..size.processes).map(|n| n * each + 1).take_while(|first| *first <= size.workers);
        firsts
            .map(|first| Self {
                url: url.to_owned(),
                dir: dir.join("workers"),
                first,
                last: (first + each - 1).min(size.workers),
                hosts_each: size.hosts_each(),
                hosts: size.hosts,
            })
            .collect()
    }

    /// What makes this program such a process.
    pub(crate) fn args(&self) -> Vec<String> {
        let Self { url, dir, first, last, hosts_each, hosts } = self;
        let numbers = [first, last, hosts_each, hosts].map(ToString::to_string);
        [WORD.to_owned(), url.clone(), dir.display().to_string()].into_iter().chain(numbers).collect()
    }

    /// What this program was called with, if it is such a process.
    pub(crate) fn given() -> Option<Self> {
        let mut args = std::env::args().skip(1);
        if args.next()? != WORD {
            return None;
        }
        let (url, dir) = (args.next()?, args.next()?.into());
        let mut number = || args.next()?.parse().ok();
        Some(Self { url, dir, first: number()?, last: number()?, hosts_each: number()?, hosts: number()? })
    }

    /// Starts all of them at once, and serves until it is killed.
    pub(crate) async fn serve(self) {
        let began = Instant::now();
        let mut starting = JoinSet::new();
        for n in self.first..=self.last {
            starting.spawn(self.clone().started(n));
        }
        let (mut workers, mut times) = (Vec::new(), Vec::new());
        while let Some(worker) = starting.join_next().await {
            workers.push(worker.expect("a worker that starts"));
            times.push(began.elapsed());
        }
        let (first, middle, last) = (times.first(), times.get(times.len() / 2), times.last());
        let line = format!(
            "{} workers {READY} {first:?} for the first, {middle:?} for half of them, {last:?} for all",
            workers.len()
        );
        drop(writeln!(std::io::stdout(), "{line}"));
        let mut ends = JoinSet::new();
        for mut worker in workers {
            ends.spawn(async move { worker.join().await });
        }
        while let Some(ended) = ends.join_next().await {
            ended.expect("a worker").expect("a worker that goes on");
        }
    }

    async fn started(self, n: u32) -> Handle {
        let name = format!("w{n}");
        let mesh = self.connected(&name).await;
        let (first, last) = ((n - 1) * self.hosts_each + 1, (n * self.hosts_each).min(self.hosts));
        let hosts =
            if first > last { Hosts::None } else { Hosts::Only(format!("h[{first}-{last}]").parse().expect("hosts")) };
        let dir = self.dir.join(&name);
        let queues = vec!["default".parse().expect("a queue")];
        let options = Options { serves: Serves { hosts, queues }, ..Options::new(name.parse().expect("a name"), dir) };
        let handlers = Handlers::new().register("noop".parse().expect("a name"), |_| async { Ok::<(), String>(()) });
        Worker::start(mesh, options, handlers).await.expect("a worker that starts")
    }

    async fn connected(&self, name: &str) -> Mesh {
        let options = ConnectOptions { server: self.url.clone(), name: name.to_owned(), ..ConnectOptions::default() };
        loop {
            // A server with a thousand of them before it may not answer in time.
            if let Ok(link) = connect(&options).await
                && let Ok(mesh) = link.mesh().await
            {
                return mesh;
            }
            sleep(AGAIN).await;
        }
    }
}
