//! Subjects, read. Nothing but the one spelling of each is.

use rr_schemas::{
    flow::Priority,
    host::Host,
    id::{EntityId, Partition, RunId},
    input::Source,
    name::WorkerName,
    offer::Target,
};

/// An input's subject, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct InputSubject {
    pub(crate) partition: Partition,
    pub(crate) entity: EntityId,
    pub(crate) source: Source,
}

impl InputSubject {
    /// Reads `rr.in.<p>.<entity>.<source>…`.
    pub(crate) fn parse(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("rr.in.")?.split('.');
        let partition = Partition(number(tokens.next()?)?);
        let entity = tokens.next()?.parse().ok()?;
        let source = match tokens.next()? {
            "api" => Source::Api,
            "note" => Source::Note,
            "timer" => Source::Timer,
            "w" => Source::Worker(tokens.next()?.parse().ok()?),
            "claim" => Source::Claim {
                task: number(tokens.next()?)?,
                attempt: number(tokens.next()?)?,
                worker: tokens.next()?.parse().ok()?,
                // Earlier versions did not name it.
                instance: tokens.next().map(str::parse).transpose().ok()?,
            },
            _ => return None,
        };
        tokens.next().is_none().then_some(Self { partition, entity, source })
    }
}

/// Reads `rr.ev.<p>.<entity>`.
pub(crate) fn parse_decisions(subject: &str) -> Option<(Partition, EntityId)> {
    parse_entity(subject.strip_prefix("rr.ev.")?)
}

/// Reads `rr.fired.<p>.<entity>`.
pub(crate) fn parse_fired(subject: &str) -> Option<(Partition, EntityId)> {
    parse_entity(subject.strip_prefix("rr.fired.")?)
}

fn parse_entity(tokens: &str) -> Option<(Partition, EntityId)> {
    let (partition, entity) = tokens.split_once('.')?;
    Some((Partition(number(partition)?), entity.parse().ok()?))
}

/// An offer's subject, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct OfferSubject {
    pub(crate) target: Target,
    pub(crate) priority: Priority,
    pub(crate) run: RunId,
    pub(crate) task: u32,
    pub(crate) attempt: u32,
}

impl OfferSubject {
    /// Reads both shapes.
    pub(crate) fn parse(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("rr.work.")?.split('.');
        let (target, priority) = match tokens.next()? {
            "h" => (Target::Host(Host::from_token(tokens.next()?).ok()?), Priority::default()),
            "w" => (Target::Worker(tokens.next()?.parse().ok()?), Priority::default()),
            "q" => {
                let queue = tokens.next()?.parse().ok()?;
                let class = number::<u8>(tokens.next()?)?;
                (Target::Queue(queue), Priority::ALL.into_iter().find(|priority| priority.class() == class)?)
            }
            _ => return None,
        };
        let run = tokens.next()?.parse().ok()?;
        let task = number(tokens.next()?)?;
        let attempt = number(tokens.next()?)?;
        tokens.next().is_none().then_some(Self { target, priority, run, task, attempt })
    }
}

/// Reads `rr.out.<worker>.<run>.<task>`.
pub(crate) fn parse_output(subject: &str) -> Option<(WorkerName, RunId, u32)> {
    let mut tokens = subject.strip_prefix("rr.out.")?.split('.');
    let worker = tokens.next()?.parse().ok()?;
    let run = tokens.next()?.parse().ok()?;
    let task = number(tokens.next()?)?;
    tokens.next().is_none().then_some((worker, run, task))
}

/// Reads `rr.api.join.<worker>`.
pub(crate) fn parse_join(subject: &str) -> Option<WorkerName> {
    subject.strip_prefix("rr.api.join.")?.parse().ok()
}

/// Reads `rr.api.<endpoint>`.
pub(crate) fn parse_endpoint(subject: &str) -> Option<&str> {
    subject.strip_prefix("rr.api.")
}

/// Reads the verb of `$SRV.<verb>…`.
pub(crate) fn parse_discovery(subject: &str) -> Option<&str> {
    subject.strip_prefix("$SRV.")?.split('.').next()
}

/// A number in its one spelling: `+1` and `01` are nobody's.
fn number<T: std::str::FromStr + std::fmt::Display>(token: &str) -> Option<T> {
    let is_plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    if is_plain { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use rr_schemas::input::Holder;

    use super::*;
    use crate::subject::{
        api, claim, decisions, fired, host_durable, join, note, offer, output, report, timer, worker_of_durable,
    };

    fn entity() -> EntityId {
        "r-1_X".parse().unwrap()
    }

    fn worker() -> WorkerName {
        "w-1".parse().unwrap()
    }

    #[test]
    fn an_inputs_subject_says_whose_it_is_and_from_whom() {
        let (partition, entity) = (Partition(11), entity());
        let claimed = |instance: Option<&str>| Source::Claim {
            task: 0,
            attempt: u32::MAX,
            worker: worker(),
            instance: instance.map(|instance| instance.parse().unwrap()),
        };
        let by = Holder { worker: worker(), instance: "i-1".parse().unwrap() };
        for (subject, source) in [
            (api(partition, &entity), Source::Api),
            (note(partition, &entity), Source::Note),
            (timer(partition, &entity), Source::Timer),
            (report(partition, &entity, &worker()), Source::Worker(worker())),
            (claim(partition, &entity, 0, u32::MAX, &by), claimed(Some("i-1"))),
            (format!("rr.in.11.{entity}.claim.0.4294967295.w-1"), claimed(None)),
        ] {
            let read = InputSubject::parse(&subject);
            assert_eq!(read, Some(InputSubject { partition, entity: entity.clone(), source }), "{subject}");
        }
        assert_eq!(parse_decisions(&decisions(partition, &entity)), Some((partition, entity.clone())));
        assert_eq!(parse_fired(&fired(partition, &entity)), Some((partition, entity)));
    }

    #[test]
    fn a_subject_has_one_spelling() {
        for subject in [
            "rr.in.0.r1",
            "rr.in.00.r1.api",
            "rr.in.+1.r1.api",
            "rr.in.65536.r1.api",
            "rr.in..r1.api",
            "rr.in.0..api",
            "rr.in.0.r1.api.",
            "rr.in.0.r1.w",
            "rr.in.0.r1.w.a.b",
            "rr.in.0.r1.claim.1.2",
            "rr.in.0.r1.claim.1.-2.w.x",
            "rr.in.0.r1.claim.1.2.w.x.y",
            "rr.in.0.*.api",
            "rr.ev.0.r1",
        ] {
            assert_eq!(InputSubject::parse(subject), None, "{subject}");
        }
    }

    #[test]
    fn an_offers_subject_says_what_is_offered_whatever_the_host_is_called() {
        let run: RunId = "r1".parse().unwrap();
        let hosts = ["db7", "web1.example.org", "10.0.0.1", "::1", "fe80::1"];
        let targets = hosts.iter().map(|host| Target::Host(host.parse().unwrap()));
        for target in targets.chain([Target::Queue("build-all".parse().unwrap())]) {
            for priority in Priority::ALL {
                let subject = offer(&target, priority, &run, 7, 2);
                assert!(!subject.contains([' ', '*', '>', ':']), "{subject}");
                let priority = if matches!(target, Target::Host(_)) { Priority::Normal } else { priority };
                let read = OfferSubject::parse(&subject);
                let said = OfferSubject { target: target.clone(), priority, run: run.clone(), task: 7, attempt: 2 };
                assert_eq!(read, Some(said), "{subject}");
            }
        }
        assert_eq!(worker_of_durable(&host_durable(&worker())), Some(worker()));
        assert_eq!(parse_output(&output(&worker(), &run, 3)), Some((worker(), run, 3)));
        assert_eq!(parse_join(&join(&worker())), Some(worker()));
    }
}
