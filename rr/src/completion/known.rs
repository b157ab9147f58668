//! What there is: in files, in the mesh that is meant, among the private runs.

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use rr_nats::{Error, Mesh};
use rr_schemas::{
    decision::RunStatus,
    flow::params::{Param, ParamType},
    id::RunId,
    name::WorkerName,
    view::RunView,
};
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout_at};

use super::{Kind, typed::Typed};
use crate::connection;
use crate::context::Context;
use crate::environment::Environment;
use crate::flowfile;
use crate::follow;
use crate::mesh::Place;
use crate::text::escape;

/// How long a mesh may take to answer, all in all: somebody waits with a finger on the key.
pub(super) const DEADLINE: Duration = Duration::from_millis(500);
/// Candidates that are shown at most; nobody reads more, and with one letter more there are fewer.
const SHOWN_MAX: usize = 200;

/// Looks up what there is.
#[derive(Debug)]
pub(super) struct Known {
    typed: Typed,
    environment: Environment,
}

/// Something that may be typed, with what it is.
struct Candidate {
    value: String,
    help: Option<String>,
}

impl Candidate {
    fn new(value: &(impl ToString + ?Sized), help: Option<String>) -> Self {
        Self { value: value.to_string(), help }
    }
}

impl Known {
    /// For a command line that is being typed.
    pub(super) fn new(words: &[OsString], environment: Environment) -> Self {
        Self { typed: Typed::new(words), environment }
    }

    /// What fits behind the beginning of a word.
    pub(super) fn candidates(&self, kind: Kind, current: &OsStr) -> Vec<CompletionCandidate> {
        let Some(current) = current.to_str() else { return Vec::new() };
        let candidates = match kind {
            Kind::Run => self.runs(current, |_| true, true),
            Kind::LiveRun => self.runs(current, |status| !status.is_final(), true),
            Kind::EndedRun => self.runs(current, can_be_retried, false),
            Kind::Job => self.jobs(),
            Kind::Host => self.hosts(current),
            Kind::PresentWorker => self.present_workers(),
            Kind::AbsentWorker => self.absent_workers(),
            Kind::Context => self.contexts(),
            Kind::Param => self.params(current),
        };
        let fitting = candidates.into_iter().filter(|candidate| candidate.value.starts_with(current));
        let shown = fitting.take(SHOWN_MAX).enumerate();
        shown
            .map(|(order, candidate)| {
                let help = candidate.help.map(|help| escape(help.as_bytes()).into());
                CompletionCandidate::new(candidate.value).help(help).display_order(Some(order))
            })
            .collect()
    }

    fn context(&self) -> Option<Context> {
        Context::new(self.environment.clone(), &self.typed.global()).ok()
    }

    /// Asks the mesh that is meant, if there is one and it answers in time.
    fn ask<T, F: Future<Output = Option<T>>>(&self, question: impl FnOnce(Mesh, Instant) -> F) -> Option<T> {
        let ctx = self.context()?;
        let place = Place::find(&ctx).ok()??;
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let answer = runtime.block_on(async {
            let deadline = Instant::now() + DEADLINE;
            let asked = async { question(place.connect("completion").await.ok()?, deadline).await };
            timeout_at(deadline, Box::pin(asked)).await.ok()?
        });
        // A name server that is asked in vain must not hold up the end.
        runtime.shutdown_background();
        answer
    }

    /// Runs that begin so and are in a state that fits, the newest first. What a mesh remembers of old ones may take longer
    /// to read than anybody waits, so only the last ten thousand that changed are looked at.
    fn runs(&self, current: &str, fits: impl Fn(RunStatus) -> bool + Sync, with_private: bool) -> Vec<Candidate> {
        let is_meant = |view: &RunView| fits(view.status) && view.run.as_str().starts_with(current);
        let in_mesh = self.ask(|mesh, _| async move {
            let (entries, _) = mesh.recent_statuses(SHOWN_MAX, |entry| is_meant(&entry.view)).await.ok()?;
            Some(entries.into_iter().map(|entry| entry.view).collect::<Vec<_>>())
        });
        let mut views = in_mesh.unwrap_or_default();
        if let Some(archive) = self.context().filter(|_| with_private).and_then(|ctx| ctx.archive().ok()) {
            views.extend(archive.list().into_iter().map(|kept| kept.header.view));
        }
        views.retain(is_meant);
        views.sort_by_key(|view| Reverse(view.started_at));
        views.iter().map(|view| Candidate::new(&view.run, Some(outline(view)))).collect()
    }

    /// The run that is typed: by its id, or by a beginning that only one has.
    fn view(&self) -> Option<RunView> {
        let typed: RunId = self.typed.run()?.parse().ok()?;
        let in_mesh = self.ask(|mesh, _| {
            let typed = typed.clone();
            async move {
                let run =
                    if mesh.has_run(&typed).await.ok()? { typed } else { only(mesh.find_runs(typed.as_str()).await)? };
                let story = follow::story(&mesh, &run).await.ok()?;
                Some(story.history().view())
            }
        });
        in_mesh.or_else(|| {
            let mut kept = self.context()?.archive().ok()?.list();
            kept.retain(|kept| kept.header.view.run.as_str().starts_with(typed.as_str()));
            let exact = kept.iter().position(|kept| kept.header.view.run == typed);
            let found = exact.or_else(|| (kept.len() == 1).then_some(0))?;
            Some(kept.swap_remove(found).header.view)
        })
    }

    fn jobs(&self) -> Vec<Candidate> {
        let jobs = self.view().map(|view| view.jobs).unwrap_or_default();
        jobs.iter().map(|job| Candidate::new(&job.job, Some(job.status.word().to_owned()))).collect()
    }

    /// Hosts of the run; those that are typed already stay before.
    fn hosts(&self, current: &str) -> Vec<Candidate> {
        let typed = current.rfind(',').and_then(|comma| current.get(..=comma)).unwrap_or_default();
        let Some(view) = self.view() else { return Vec::new() };
        let tasks = view.jobs.iter().flat_map(|job| &job.tasks);
        let mut hosts: Vec<String> = tasks.filter_map(|task| Some(task.host.as_ref()?.to_string())).collect();
        hosts.sort();
        hosts.dedup();
        hosts.iter().map(|host| Candidate::new(&format_args!("{typed}{host}"), None)).collect()
    }

    fn present_workers(&self) -> Vec<Candidate> {
        let present = self.ask(|mesh, _| async move { mesh.workers().await.ok() }).unwrap_or_default();
        let mut names: Vec<String> = present.iter().map(|presence| presence.worker.to_string()).collect();
        names.sort();
        names.iter().map(|name| Candidate::new(name, Some("present".to_owned()))).collect()
    }

    fn absent_workers(&self) -> Vec<Candidate> {
        let absent = self.ask(|mesh, _| async move {
            let known = mesh.known_workers().await.ok()?;
            let present = mesh.workers().await.ok()?;
            let is_away = |worker: &WorkerName| !present.iter().any(|presence| presence.worker == *worker);
            Some(known.into_iter().map(|known| known.worker).filter(is_away).collect::<Vec<_>>())
        });
        absent.unwrap_or_default().iter().map(|name| Candidate::new(name, Some("away".to_owned()))).collect()
    }

    fn contexts(&self) -> Vec<Candidate> {
        let names = connection::contexts(&self.environment).into_iter().filter(|name| is_plain(name));
        names.map(|name| Candidate::new(&name, None)).collect()
    }

    /// Names of parameters with their `=`; behind one, its values where they can be listed.
    fn params(&self, current: &str) -> Vec<Candidate> {
        let flow = self.typed.flow().and_then(|(name, format)| flowfile::glance(name, format));
        let Some(flow) = flow else { return Vec::new() };
        match current.split_once('=') {
            None => {
                let named =
                    |(name, param): (_, &Param)| Candidate::new(&format_args!("{name}="), param.description.clone());
                flow.params.iter().map(named).collect()
            }
            Some((name, _)) => {
                let Some((name, param)) = flow.params.iter().find(|(known, _)| known.as_str() == name) else {
                    return Vec::new();
                };
                let values = values(param).into_iter().filter(|value| is_plain(value));
                values.map(|value| Candidate::new(&format_args!("{name}={value}"), None)).collect()
            }
        }
    }
}

/// Whether a text stands for itself in every shell. Any other one would have to be quoted, by the rules of a shell that is
/// not known here; unquoted it would be the shell's to carry out.
fn is_plain(text: &str) -> bool {
    text.chars().all(|char| char.is_alphanumeric() || "._-@+".contains(char))
}

fn values(param: &Param) -> Vec<String> {
    match param.kind {
        ParamType::Bool => vec!["true".to_owned(), "false".to_owned()],
        ParamType::String | ParamType::Int => param.choices.iter().map(ToString::to_string).collect(),
    }
}

/// Whether `rr retry` may find something to do.
const fn can_be_retried(status: RunStatus) -> bool {
    match status {
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::TimedOut => true,
        RunStatus::Queued | RunStatus::Running | RunStatus::Succeeded | RunStatus::Rejected => false,
    }
}

fn only(found: Result<Vec<RunId>, Error>) -> Option<RunId> {
    let mut found = found.ok()?;
    if found.len() == 1 { found.pop() } else { None }
}

/// A run in a few words.
fn outline(view: &RunView) -> String {
    let flow = view.flow.as_ref().map_or("-", |flow| flow.as_str());
    format!("{flow}, {}", view.status.word())
}
