//! Operations on streams.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{LIST_MAX, NAMES_MAX, Outcome, Page, page, read};
use crate::{
    config::Servers,
    jet::{Jet, Said, Turn, config, refusal::Refusal, stream::Stream},
    subject::{matches, overlap},
};

/// Subjects of a page at most.
const SUBJECTS_MAX: usize = 100_000;

impl Jet {
    /// An operation on streams, with the kind of its answer. None where nobody answers.
    pub(super) fn asked_stream(
        &mut self,
        verb: &str,
        rest: &[&str],
        said: &Said,
        turn: &mut Turn<'_>,
    ) -> Option<(&'static str, Outcome)> {
        let (verb, name) = match (verb, rest) {
            ("LEADER", ["STEPDOWN", name]) => {
                let kind = "stream_leader_stepdown";
                return (!self.is_silent(name)).then(|| (kind, self.step_down(name, "", turn)));
            }
            ("MSG", [verb, name]) => (*verb, *name),
            (_, [name]) => (verb, *name),
            (_, []) => (verb, ""),
            _ => return None,
        };
        if !name.is_empty() && self.is_silent(name) && verb != "DELETE" {
            return None;
        }
        let is_message = rest.len() == 2;
        Some(match (verb, is_message) {
            ("NAMES", false) => ("stream_names", self.stream_names(said)),
            ("LIST", false) => ("stream_list", self.stream_list(said, turn)),
            ("CREATE", false) => ("stream_create", self.create_stream(name, said, turn)),
            ("UPDATE", false) => ("stream_update", self.update_stream(name, said, turn)),
            ("INFO", false) => ("stream_info", self.stream_info(name, said, turn)),
            ("DELETE", false) => ("stream_delete", self.delete_stream(name, turn)),
            ("PURGE", false) => ("stream_purge", self.purge_stream(name, said, turn)),
            ("GET", true) => ("stream_msg_get", self.get_message(name, said)),
            ("DELETE", true) => ("stream_msg_delete", self.delete_message(name, said, turn)),
            _ => return None,
        })
    }

    pub(super) fn stream(&mut self, name: &str) -> Result<&mut Stream, Refusal> {
        self.streams.get_mut(name).ok_or_else(Refusal::stream_not_found)
    }

    fn stream_names(&self, said: &Said) -> Outcome {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Asked {
            offset: usize,
            subject: String,
        }
        let asked: Asked = read(said)?;
        let is_meant = |stream: &&Stream| {
            asked.subject.is_empty() || stream.config.subjects.iter().any(|subject| overlap(subject, &asked.subject))
        };
        let names = self.streams.values().filter(is_meant).map(|stream| json!(stream.config.name)).collect();
        Ok(page("streams", names, asked.offset, NAMES_MAX))
    }

    fn stream_list(&self, said: &Said, turn: &Turn<'_>) -> Outcome {
        let asked: Page = read(said)?;
        let infos = self.streams.values().map(|stream| self.told(stream, turn)).collect();
        Ok(page("streams", infos, asked.offset, LIST_MAX))
    }

    fn told(&self, stream: &Stream, turn: &Turn<'_>) -> Value {
        stream.info(&self.cluster(stream.config.num_replicas, stream.led_before()), turn)
    }

    fn create_stream(&mut self, name: &str, said: &Said, turn: &Turn<'_>) -> Outcome {
        let request: Value = read(said)?;
        let (told, config) = config::stream(&request)?;
        if config.name != name {
            return Err(Refusal::bad_json("stream name in subject does not match request"));
        }
        let did_create = match self.streams.get(name) {
            Some(found) if found.told == told => false,
            Some(_) => return Err(Refusal::stream_exists()),
            None => {
                self.may_take(name, &config.subjects)?;
                if config.num_replicas > 1 && self.servers == Servers::One {
                    return Err(Refusal::no_peers());
                }
                let agrees = self.must_agree(config.num_replicas);
                self.streams.insert(name.to_owned(), Stream::new((told, config), agrees, turn));
                true
            }
        };
        let mut info = self.streams.get(name).map_or(Value::Null, |stream| self.told(stream, turn));
        if let Some(fields) = info.as_object_mut().filter(|_| did_create) {
            fields.insert("did_create".to_owned(), true.into());
        }
        Ok(info)
    }

    /// No other stream takes any of these subjects.
    fn may_take(&self, name: &str, subjects: &[String]) -> Result<(), Refusal> {
        let others = self.streams.values().filter(|stream| stream.config.name != name);
        let taken = others.flat_map(|stream| &stream.config.subjects);
        let is_free = !taken.into_iter().any(|taken| subjects.iter().any(|subject| overlap(taken, subject)));
        if is_free { Ok(()) } else { Err(Refusal::subjects_overlap()) }
    }

    fn update_stream(&mut self, name: &str, said: &Said, turn: &Turn<'_>) -> Outcome {
        let request: Value = read(said)?;
        let (told, config) = config::stream(&request)?;
        self.may_take(name, &config.subjects)?;
        let agrees = self.must_agree(config.num_replicas);
        let found = self.stream(name)?;
        let before = &found.config;
        if before.retention != config.retention {
            return Err(Refusal::update(
                "stream configuration update can not change retention policy to/from workqueue",
            ));
        }
        if before.deny_delete && !config.deny_delete {
            return Err(Refusal::update("stream configuration update can not cancel deny message deletes"));
        }
        if before.deny_purge && !config.deny_purge {
            return Err(Refusal::update("stream configuration update can not cancel deny purge"));
        }
        if before.allow_msg_schedules && !config.allow_msg_schedules {
            return Err(Refusal::update("message schedules can not be disabled"));
        }
        found.update((told, config), agrees, turn);
        Ok(self.streams.get(name).map_or(Value::Null, |stream| self.told(stream, turn)))
    }

    fn stream_info(&self, name: &str, said: &Said, turn: &Turn<'_>) -> Outcome {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Asked {
            offset: usize,
            subjects_filter: String,
        }
        let asked: Asked = read(said)?;
        let stream = self.streams.get(name).ok_or_else(Refusal::stream_not_found)?;
        let mut info = self.told(stream, turn);
        let (mut total, mut limit) = (0, 0);
        if !asked.subjects_filter.is_empty() {
            let subjects = stream.store.subjects();
            let found: Vec<_> =
                subjects.iter().filter(|(subject, _)| matches(&asked.subjects_filter, subject)).collect();
            (total, limit) = (found.len(), if found.is_empty() { 0 } else { SUBJECTS_MAX });
            let shown = found.into_iter().skip(asked.offset).take(limit);
            let shown: Value = shown.map(|(subject, seqs)| (subject.clone(), json!(seqs.len()))).collect();
            if let Some(state) = info.get_mut("state").and_then(Value::as_object_mut).filter(|_| total > 0) {
                state.insert("subjects".to_owned(), shown);
            }
        }
        if let Some(fields) = info.as_object_mut() {
            fields.extend([
                ("total".to_owned(), total.into()),
                ("offset".to_owned(), asked.offset.into()),
                ("limit".to_owned(), limit.into()),
            ]);
        }
        Ok(info)
    }

    fn delete_stream(&mut self, name: &str, turn: &mut Turn<'_>) -> Outcome {
        let mut removed = self.streams.remove(name).ok_or_else(Refusal::stream_not_found)?;
        for consumer in removed.consumers.values_mut() {
            consumer.end_all(Some("Consumer Deleted"), turn);
        }
        Ok(json!({"success": true}))
    }

    fn purge_stream(&mut self, name: &str, said: &Said, turn: &mut Turn<'_>) -> Outcome {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Asked {
            filter: Option<String>,
            seq: u64,
            keep: usize,
        }
        let asked: Asked = read(said)?;
        let below = Some(asked.seq).filter(|seq| *seq > 0);
        let filter = asked.filter.filter(|filter| !filter.is_empty() && filter != ">");
        let purged = self.stream(name)?.purge(filter.as_deref(), below, asked.keep, turn);
        Ok(json!({"success": true, "purged": purged}))
    }

    fn delete_message(&mut self, name: &str, said: &Said, turn: &Turn<'_>) -> Outcome {
        #[derive(Deserialize)]
        struct Asked {
            seq: u64,
        }
        let asked: Asked = read(said)?;
        let stream = self.stream(name)?;
        if stream.config.deny_delete {
            return Err(Refusal::delete_failed("message delete not permitted"));
        }
        if asked.seq > stream.store.last() {
            return Err(Refusal::delete_failed("stream store EOF"));
        }
        let is_gone = asked.seq < stream.store.first();
        match stream.remove(asked.seq, turn) {
            true => Ok(json!({"success": true})),
            false if is_gone => Err(Refusal::delete_failed("no message found")),
            false => Err(Refusal::sequence_not_found(asked.seq)),
        }
    }
}
