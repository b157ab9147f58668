//! Operations on consumers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{LIST_MAX, NAMES_MAX, Outcome, Page, page, read};
use crate::{
    jet::{
        Jet, Said, Turn,
        config::{self, AckPolicy, ConsumerConfig, Deliver, Retention},
        consumer::Consumer,
        refusal::Refusal,
        stream::Stream,
    },
    subject::overlap,
};

/// Consumers of a stream at most, where nothing else is said.
const CONSUMERS_MAX: usize = 1_000;

/// What is to be made.
#[derive(Deserialize)]
struct Asked {
    config: Value,
    #[serde(default)]
    action: String,
}

impl Jet {
    /// An operation on consumers, with the kind of its answer. None where nobody answers.
    pub(super) fn asked_consumer(
        &mut self,
        verb: &str,
        rest: &[&str],
        said: &Said,
        turn: &mut Turn<'_>,
    ) -> Option<(&'static str, Outcome)> {
        let (&name, rest) = match (verb, rest) {
            ("LEADER", ["STEPDOWN", rest @ ..]) => rest.split_first()?,
            _ => rest.split_first()?,
        };
        if self.is_silent(name) {
            return None;
        }
        let consumer = rest.first().copied().unwrap_or_default();
        Some(match verb {
            "NAMES" => ("consumer_names", self.consumer_names(name, said)),
            "LIST" => ("consumer_list", self.consumer_list(name, said, turn)),
            "CREATE" | "DURABLE" => {
                // The filter may stand behind the name.
                let consumer = if verb == "DURABLE" { rest.get(1).copied().unwrap_or_default() } else { consumer };
                ("consumer_create", self.create_consumer(name, consumer, said, turn))
            }
            "INFO" => ("consumer_info", self.consumer_info(name, consumer, turn)),
            "DELETE" => ("consumer_delete", self.delete_consumer(name, consumer, turn)),
            "LEADER" => ("consumer_leader_stepdown", self.step_down(name, consumer, turn)),
            "UNPIN" => ("consumer_unpin", self.unpin_consumer(name, consumer, said, turn)),
            _ => return None,
        })
    }

    fn consumer_names(&mut self, stream: &str, said: &Said) -> Outcome {
        let asked: Page = read(said)?;
        let names = self.stream(stream)?.consumers.keys().map(|name| json!(name)).collect();
        Ok(page("consumers", names, asked.offset, NAMES_MAX))
    }

    fn consumer_list(&mut self, stream: &str, said: &Said, turn: &Turn<'_>) -> Outcome {
        let asked: Page = read(said)?;
        let stream = self.stream(stream)?;
        let infos = stream.consumers.values_mut().map(|consumer| consumer.info(&stream.store, turn)).collect();
        Ok(page("consumers", infos, asked.offset, LIST_MAX))
    }

    fn consumer_info(&mut self, stream: &str, name: &str, turn: &Turn<'_>) -> Outcome {
        let stream = self.stream(stream)?;
        let found = stream.consumers.get_mut(name).ok_or_else(Refusal::consumer_not_found)?;
        Ok(found.info(&stream.store, turn))
    }

    fn create_consumer(&mut self, stream: &str, name: &str, said: &Said, turn: &mut Turn<'_>) -> Outcome {
        let Asked { config: request, action } = read(said)?;
        let named = if name.is_empty() { turn.unique() } else { name.to_owned() };
        let stream = self.stream(stream)?;
        let (told, config) = config::consumer(&request, &named)?;
        check(stream, &named, &config)?;
        match stream.consumers.get_mut(&named) {
            Some(found) if found.told == told => {}
            Some(_) if action == "create" => return Err(Refusal::consumer_exists()),
            Some(found) => {
                may_change(&found.config, &config)?;
                found.update((told, config), &stream.store, turn);
            }
            None if action == "update" => return Err(Refusal::consumer_missing_for_update()),
            None => {
                let most = usize::try_from(stream.config.max_consumers).ok().filter(|most| *most > 0);
                if stream.consumers.len() >= most.unwrap_or(CONSUMERS_MAX) {
                    return Err(Refusal::too_many_consumers());
                }
                let is_copied = stream.agrees() && config.num_replicas != 1;
                let place = (stream.config.name.as_str(), named.as_str(), is_copied);
                let made = Consumer::new(place, (told, config), &stream.store, turn);
                stream.consumers.insert(named.clone(), made);
            }
        }
        let made = stream.consumers.get_mut(&named).ok_or_else(Refusal::consumer_not_found)?;
        Ok(made.info(&stream.store, turn))
    }

    fn delete_consumer(&mut self, stream: &str, name: &str, turn: &mut Turn<'_>) -> Outcome {
        let mut removed = self.stream(stream)?.consumers.remove(name).ok_or_else(Refusal::consumer_not_found)?;
        removed.end_all(Some("Consumer Deleted"), turn);
        Ok(json!({"success": true}))
    }

    fn unpin_consumer(&mut self, stream: &str, name: &str, said: &Said, turn: &mut Turn<'_>) -> Outcome {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Group {
            group: String,
        }
        let asked: Group = read(said)?;
        if asked.group.is_empty() {
            return Err(Refusal::bad_json("consumer group not specified"));
        }
        let stream = self.stream(stream)?;
        let found = stream.consumers.get_mut(name).ok_or_else(Refusal::consumer_not_found)?;
        if !found.config.priority_groups.contains(&asked.group) {
            return Err(Refusal::no_such_group());
        }
        found.unpin();
        found.serve(&stream.store, turn);
        Ok(json!({}))
    }
}

/// Whether a stream can have such a consumer.
fn check(stream: &Stream, name: &str, config: &ConsumerConfig) -> Result<(), Refusal> {
    if !config.filter_subject.is_empty() && !config.filter_subjects.is_empty() {
        return Err(Refusal::both_filters());
    }
    let filters = config.filters();
    let mut rest = filters.as_slice();
    while let Some((first, others)) = rest.split_first() {
        if others.iter().any(|other| overlap(first, other)) {
            return Err(Refusal::filters_overlap());
        }
        rest = others;
    }
    if config.deliver_policy == Deliver::LastPerSubject && filters.is_empty() {
        return Err(Refusal::newest_of_nothing());
    }
    if stream.config.retention != Retention::WorkQueue {
        return Ok(());
    }
    match config.ack_policy {
        AckPolicy::None => return Err(Refusal::needs_explicit()),
        AckPolicy::All => return Err(Refusal::queue_needs_explicit()),
        AckPolicy::Explicit => {}
    }
    if config.deliver_policy != Deliver::All {
        return Err(Refusal::must_deliver_all());
    }
    let mut others = stream.consumers.values().filter(|other| other.name != name);
    if filters.is_empty() {
        return if others.next().is_some() { Err(Refusal::consumer_not_unique()) } else { Ok(()) };
    }
    let is_taken = others.any(|other| {
        other.filters.is_empty()
            || other.filters.iter().any(|taken| filters.iter().any(|filter| overlap(taken, filter)))
    });
    if is_taken { Err(Refusal::consumers_overlap()) } else { Ok(()) }
}

/// What of a consumer can never be changed.
fn may_change(before: &ConsumerConfig, after: &ConsumerConfig) -> Result<(), Refusal> {
    if before.deliver_policy != after.deliver_policy {
        return Err(Refusal::cannot_update("deliver policy"));
    }
    if before.opt_start_seq != after.opt_start_seq {
        return Err(Refusal::cannot_update("start sequence"));
    }
    if before.ack_policy != after.ack_policy {
        return Err(Refusal::cannot_update("ack policy"));
    }
    Ok(())
}
