//! Core NATS: who listens on what.

use std::collections::BTreeMap;

use crate::subject::matches;

/// A client, by the order in which they came.
pub(crate) type ClientId = u64;
/// A subscription of a client.
pub(crate) type Sid = u64;

#[derive(Clone, Debug)]
struct Listener {
    client: ClientId,
    sid: Sid,
    subject: String,
    group: Option<String>,
}

/// Who listens on what.
#[derive(Debug, Default)]
pub(crate) struct Router {
    /// By the first two tokens, where both are literal; else by nothing.
    listeners: BTreeMap<String, Vec<Listener>>,
}

/// The first two tokens, where they are fixed.
fn bucket(subject: &str) -> &str {
    let mut dots = subject.match_indices('.').map(|(at, _)| at);
    let (Some(_), second) = (dots.next(), dots.next()) else { return "" };
    let head = second.and_then(|end| subject.get(..end)).unwrap_or(subject);
    if head.contains(['*', '>']) { "" } else { head }
}

impl Router {
    pub(crate) fn add(&mut self, client: ClientId, sid: Sid, subject: &str, group: Option<&str>) {
        let listener = Listener { client, sid, subject: subject.to_owned(), group: group.map(str::to_owned) };
        self.listeners.entry(bucket(subject).to_owned()).or_default().push(listener);
    }

    pub(crate) fn remove(&mut self, client: ClientId, sid: Sid) {
        self.retain(|listener| (listener.client, listener.sid) != (client, sid));
    }

    pub(crate) fn remove_client(&mut self, client: ClientId) {
        self.retain(|listener| listener.client != client);
    }

    fn retain(&mut self, keep: impl Fn(&Listener) -> bool) {
        self.listeners.retain(|_, listeners| {
            listeners.retain(&keep);
            !listeners.is_empty()
        });
    }

    fn found(&self, subject: &str) -> impl Iterator<Item = &Listener> {
        let head = bucket(subject);
        let fixed = self.listeners.get(head).filter(|_| !head.is_empty()).into_iter().flatten();
        let free = self.listeners.get("").into_iter().flatten();
        fixed.chain(free).filter(move |listener| matches(&listener.subject, subject))
    }

    /// Whether anybody listens on a subject.
    pub(crate) fn has_listener(&self, subject: &str) -> bool {
        self.found(subject).next().is_some()
    }

    /// Everybody to whom a message goes: all who listen alone, and one of each group.
    pub(crate) fn receivers(&self, subject: &str, rng: &mut fastrand::Rng) -> Vec<(ClientId, Sid)> {
        let mut receivers = Vec::new();
        let mut groups: BTreeMap<(&str, &str), Vec<(ClientId, Sid)>> = BTreeMap::new();
        for Listener { client, sid, subject, group } in self.found(subject) {
            match group {
                None => receivers.push((*client, *sid)),
                Some(group) => groups.entry((subject, group)).or_default().push((*client, *sid)),
            }
        }
        receivers.extend(groups.values().filter_map(|members| members.get(rng.usize(..members.len())).copied()));
        receivers
    }
}

#[cfg(test)]
mod tests {
    use super::Router;

    #[test]
    fn a_message_goes_to_all_who_listen_alone_and_to_one_of_each_group() {
        let mut router = Router::default();
        router.add(1, 1, "a.b", None);
        router.add(2, 1, "a.*", None);
        router.add(3, 1, "*.b", Some("g"));
        router.add(4, 1, "*.b", Some("g"));
        router.add(5, 1, "a.c", None);
        let mut rng = fastrand::Rng::with_seed(1);
        let mut members = [0, 0];
        for _ in 0..100 {
            let receivers = router.receivers("a.b", &mut rng);
            assert_eq!(receivers.get(..2), Some(&[(1, 1), (2, 1)][..]).filter(|_| receivers.len() == 3));
            members[usize::from(receivers[2] == (4, 1))] += 1;
        }
        assert!(members.iter().all(|count| *count > 20), "{members:?}");
        router.remove_client(1);
        router.remove(2, 1);
        assert_eq!(router.receivers("a.b", &mut rng).len(), 1);
        assert!(!router.has_listener("x") && router.has_listener("a.c"));
    }
}
