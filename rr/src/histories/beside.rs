//! What stands beside the log and is judged with it: states, the quarantine, offers.
//!
//! Invariant: it is read before the log, so whatever it shows has been decided by then.

use bytes::Bytes;
use rr_nats::copies::OfferNow;
use rr_nats::{Copied, Mesh, Quarantined, copies};
use rr_schemas::id::RunId;
use rr_schemas::view::StatusEntry;
use rr_verify::stream::{Beside, Noted, Says, Shown, Waiting};

use super::file::{Kind, Line};
use crate::error::CliError;
use crate::mesh;

/// How subjects begin of what a coordinator put into the quarantine.
const BY_COORDINATOR: &str = "rr.bad.coordinator.";

/// What stands beside the log, as an export has it.
#[derive(Debug, Default)]
pub(crate) struct Besides {
    /// The messages, in the order of an export.
    pub(crate) lines: Vec<Line>,
    beside: Beside,
    /// Offers of which only the subjects are known.
    pub(crate) n_unread: usize,
}

impl Besides {
    /// As the judge takes it.
    pub(crate) fn into_beside(self) -> Beside {
        self.beside
    }

    /// Takes a message of an export in.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn take(&mut self, line: &Line) -> Result<(), String> {
        match line.kind {
            Kind::State => {
                // A state of a newer rr that cannot be read shows nothing.
                if let Ok(entry) = serde_json::from_slice::<StatusEntry>(&line.copied.payload) {
                    self.beside.shown.insert(entry.view.run.clone(), Shown::from(&entry));
                }
            }
            Kind::Bad => {
                let header = |name| line.copied.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value);
                let seq = header(copies::BAD_SEQ).and_then(|seq| seq.parse().ok());
                // Workers put offers aside, and may not say of inputs that nobody believed them.
                if let (Some((run, source)), Some(seq)) =
                    (header(copies::BAD_SUBJECT).and_then(|of| copies::input_of(of)), seq)
                    && line.copied.subject.starts_with(BY_COORDINATOR)
                {
                    let at = line.copied.raw().ok().map(|raw| raw.at);
                    self.beside.aside.insert(Noted { run, source, seq, at });
                }
            }
            Kind::Offer => {
                let now = copies::offer_now(&line.copied)
                    .ok_or_else(|| format!("{:?} is no subject of an offer", line.copied.subject))?;
                self.take_offer(waiting(now));
            }
            Kind::Event | Kind::Output => {}
        }
        Ok(())
    }

    fn take_offer(&mut self, (run, waiting): (RunId, Waiting)) {
        self.n_unread += usize::from(waiting.says == Says::Unread);
        self.beside.offers.entry(run).or_default().push(waiting);
    }
}

/// Reads what stands beside the log of a mesh, of one run or of all. `keeps`: whether an export is to have it.
///
/// # Errors
/// The mesh cannot be read.
pub(crate) async fn gather(mesh: &Mesh, run: Option<&RunId>, keeps: bool) -> Result<Besides, CliError> {
    let told = |error: rr_nats::Error| mesh::told(&error);
    let mut besides = Besides::default();
    let wanted = |of: &RunId| run.is_none_or(|run| run == of);
    let mut lines = Vec::new();
    if keeps {
        let states = mesh.copy_statuses(&wanted).await.map_err(told)?;
        lines.extend(states.into_iter().map(|copied| Line { kind: Kind::State, copied }));
    } else if let Some(run) = run {
        let entry = mesh.status(run).await.map_err(told)?;
        besides.beside.shown.extend(entry.iter().map(|entry| (run.clone(), Shown::from(entry))));
    } else {
        let shown = &mut besides.beside.shown;
        let take = |entry: StatusEntry, _| {
            shown.insert(entry.view.run.clone(), Shown::from(&entry));
        };
        mesh.each_status(take).await.map_err(told)?;
    }
    let bad = mesh.all_quarantined().await.map_err(told)?;
    let is_wanted = |bad: &&Quarantined| copies::run_of(&bad.subject).is_some_and(|of| wanted(&of));
    lines.extend(bad.iter().filter(is_wanted).map(|bad| Line { kind: Kind::Bad, copied: of_quarantined(bad) }));
    if keeps {
        let line = |copied| Some(Line { kind: Kind::Offer, copied });
        lines.extend(offers(mesh, run, line).await?);
    } else {
        for offer in offers(mesh, run, |copied| copies::offer_now(&copied).map(waiting)).await? {
            besides.take_offer(offer);
        }
    }
    for line in &lines {
        // What was made here is right.
        if let Err(reason) = besides.take(line) {
            tracing::warn!(reason, "passed over");
        }
    }
    if keeps {
        besides.lines = lines;
    }
    Ok(besides)
}

/// Offers that exist, made into something one by one: a queue may be long. Watchers may not read their bodies, and get subjects alone;
/// whatever else goes wrong is told, for what was not looked at would pass as right.
async fn offers<T: Send>(
    mesh: &Mesh,
    run: Option<&RunId>,
    make: impl Fn(Copied) -> Option<T> + Send + Sync,
) -> Result<Vec<T>, CliError> {
    let mut found = Vec::new();
    match mesh.each_offer(run, |copied| found.extend(make(copied))).await {
        Ok(()) => Ok(found),
        Err(error @ rr_nats::Error::Denied { .. }) => {
            tracing::debug!(%error, "only the subjects of offers are read");
            let subjects = mesh.offer_subjects(run).await.map_err(|error| mesh::told(&error))?;
            Ok(subjects.into_iter().filter_map(|subject| make(bare(subject))).collect())
        }
        Err(error) => Err(mesh::told(&error)),
    }
}

fn waiting(now: OfferNow) -> (RunId, Waiting) {
    let OfferNow { run, task, attempt, target, priority, offer, is_unreadable } = now;
    let says = offer.map_or(Says::Unread, |offer| Says::of(offer, is_unreadable));
    (run, Waiting { task, attempt, target, priority, says })
}

fn of_quarantined(bad: &Quarantined) -> Copied {
    let mut headers = vec![
        (copies::BAD_SUBJECT.to_owned(), bad.subject.clone()),
        (copies::BAD_SEQ.to_owned(), bad.was.to_string()),
        (copies::BAD_REASON.to_owned(), bad.reason.clone()),
    ];
    headers.sort();
    let (subject, time) = (format!("rr.bad.{}", bad.finder), bad.at.to_string());
    Copied { subject, seq: bad.seq, time, headers, payload: Bytes::new() }
}

/// Something of which only the subject is known.
const fn bare(subject: String) -> Copied {
    Copied { subject, seq: 0, time: String::new(), headers: Vec::new(), payload: Bytes::new() }
}

#[cfg(test)]
mod tests {
    use rr_schemas::input::Source;

    use super::*;

    /// What a coordinator put aside is the input of that subject and sequence, stored no later.
    #[test]
    fn a_note_is_of_one_message() {
        let line = |finder: &str, subject: &str| {
            let headers = [(copies::BAD_SUBJECT, subject), (copies::BAD_SEQ, "7"), (copies::BAD_REASON, "no JSON")];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let (subject, time) = (format!("rr.bad.{finder}"), "2026-01-01T00:00:09Z".to_owned());
            Line { kind: Kind::Bad, copied: Copied { subject, seq: 1, time, headers, payload: Bytes::new() } }
        };
        let (run, worker) = ("r1".parse().unwrap(), Source::Worker("w1".parse().unwrap()));
        for (what, line, seq, stored, is_in) in [
            ("it", line("coordinator.c1", "rr.in.0.r1.w.w1"), 7, "2026-01-01T00:00:08Z", true),
            ("a younger one", line("coordinator.c1", "rr.in.0.r1.w.w1"), 7, "2026-01-01T00:01:00Z", false),
            ("another one", line("coordinator.c1", "rr.in.0.r1.w.w1"), 8, "2026-01-01T00:00:08Z", false),
            ("another run's", line("coordinator.c1", "rr.in.0.r2.w.w1"), 7, "2026-01-01T00:00:08Z", false),
            ("another worker's", line("coordinator.c1", "rr.in.0.r1.w.w2"), 7, "2026-01-01T00:00:08Z", false),
            ("a worker's word", line("worker.w1", "rr.in.0.r1.w.w1"), 7, "2026-01-01T00:00:08Z", false),
            ("no input", line("coordinator.c1", "rr.ev.0.r1"), 7, "2026-01-01T00:00:08Z", false),
        ] {
            let mut besides = Besides::default();
            besides.take(&line).unwrap();
            let stored = Some(stored.parse().unwrap());
            assert_eq!(besides.into_beside().aside.has(&run, &worker, seq, stored), is_in, "{what}");
        }
    }

    /// Of an offer that a newer build has made its subject is known.
    #[test]
    fn an_offer_that_this_build_cannot_read_is_told_from_what_nobody_believes() {
        let (run, worker) = ("r1".parse::<RunId>().unwrap(), "w1");
        let offer = |v: u16, task: u32, command: &str| {
            format!(
                r#"{{"v":{v},"kind":"rr.offer","from":"coordinator:offer","to":"r1","body":{{"run":"r1","flow":"f","job":"a",
                "task":{task},"attempt":1,"offer":1,"target":{{"worker":"{worker}"}},"command":{command},"later":[]}}}}"#
            )
        };
        let argv = r#"{"argv":["x"]}"#;
        for (what, payload, word) in [
            ("with a field of a later version", offer(1, 0, argv), "this"),
            ("of a later version", offer(2, 0, argv), "newer"),
            ("with a command of a later version", offer(1, 0, r#"{"image":"x"}"#), "newer"),
            ("of another task", offer(1, 1, argv), "odd"),
            ("no offer", "hello".to_owned(), "odd"),
            ("its subject alone", String::new(), "unread"),
        ] {
            let (subject, time) = (format!("rr.work.w.{worker}.r1.0.1"), "2026-01-01T00:00:00Z".to_owned());
            let copied = Copied { subject, seq: 1, time, headers: Vec::new(), payload: payload.into_bytes().into() };
            let mut besides = Besides::default();
            besides.take(&Line { kind: Kind::Offer, copied }).unwrap();
            let found = match &besides.into_beside().offers[&run][..] {
                [Waiting { says: Says::This { .. }, .. }] => "this",
                [Waiting { says: Says::Newer(_), .. }] => "newer",
                [Waiting { says: Says::Odd(_), .. }] => "odd",
                [Waiting { says: Says::Unread, .. }] => "unread",
                other => panic!("{what}: {other:?}"),
            };
            assert_eq!(found, word, "{what}");
        }
    }
}
