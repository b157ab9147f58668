//! Requests to join that wait, one for each worker.
//!
//! A worker that hears nothing asks again after two seconds. Answered one after the other, the repetitions of a thousand
//! workers would keep a coordinator from ever coming to the new ones: each takes the server longer the more workers there
//! are. So only the last request of a worker counts, at the place in the line that its first one has, and one that comes
//! while the same is being worked on is answered with it.

use std::collections::{HashMap, HashSet, VecDeque};

use rr_schemas::{name::WorkerName, presence::Join};

/// Workers that wait at once. The work queue has room for as many consumers; who comes beyond asks again.
const WAITING_MAX: usize = 20_000;

/// Requests that wait, with where each is answered.
#[derive(Debug)]
pub(super) struct Desk<R> {
    /// Workers in the order in which they are served.
    line: VecDeque<WorkerName>,
    waiting: HashMap<WorkerName, (Join, R)>,
    /// Those that are being served, who are not in the line.
    served: HashSet<WorkerName>,
}

impl<R> Default for Desk<R> {
    fn default() -> Self {
        Self { line: VecDeque::new(), waiting: HashMap::new(), served: HashSet::new() }
    }
}

impl<R> Desk<R> {
    /// Takes a request, in place of an earlier one of the same worker.
    pub(super) fn put(&mut self, join: Join, reply: R) {
        let worker = join.worker.clone();
        let is_known = self.waiting.contains_key(&worker);
        if !is_known && self.waiting.len() >= WAITING_MAX {
            return tracing::warn!(worker.id = %worker, "too many workers join at once; this one asks again");
        }
        self.waiting.insert(worker.clone(), (join, reply));
        if !is_known && !self.served.contains(&worker) {
            self.line.push_back(worker);
        }
    }

    /// The request that is to be served next; [`Desk::done`] must follow.
    pub(super) fn next(&mut self) -> Option<(Join, R)> {
        let worker = self.line.pop_front()?;
        let next = self.waiting.remove(&worker)?;
        self.served.insert(worker);
        Some(next)
    }

    /// A request was served. Hands over the same request where it has come again meanwhile, to be answered alike; another
    /// one of the same worker, or any if this one came to nothing, gets into the line.
    pub(super) fn done(&mut self, join: &Join, is_settled: bool) -> Option<R> {
        self.served.remove(&join.worker);
        let (again, reply) = self.waiting.remove(&join.worker)?;
        if is_settled && again == *join {
            return Some(reply);
        }
        self.put(again, reply);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rr_schemas::presence::Serves;

    fn join(worker: &str, instance: &str) -> Join {
        Join {
            worker: worker.parse().unwrap(),
            instance: instance.parse().unwrap(),
            serves: Serves::default(),
            labels: rr_schemas::flow::select::Labels::default(),
        }
    }

    #[test]
    fn of_each_worker_the_last_request_counts_at_the_place_of_its_first() {
        let mut desk = Desk::default();
        for (worker, instance, reply) in [("a", "i", 1), ("b", "i", 2), ("a", "i", 3), ("a", "j", 4)] {
            desk.put(join(worker, instance), reply);
        }
        assert_eq!(desk.next(), Some((join("a", "j"), 4)));
        assert_eq!(desk.next(), Some((join("b", "i"), 2)));
        assert_eq!(desk.next(), None);
    }

    #[test]
    fn what_is_asked_again_while_it_is_served_is_answered_with_it() {
        let mut desk = Desk::default();
        desk.put(join("a", "i"), 1);
        let (served, _) = desk.next().unwrap();
        desk.put(join("a", "i"), 2);
        desk.put(join("a", "i"), 3);
        assert_eq!(desk.next(), None, "nobody is served twice at once");
        assert_eq!(desk.done(&served, true), Some(3));
        assert_eq!(desk.next(), None);
    }

    #[test]
    fn another_request_of_a_worker_is_served_after_the_first() {
        for (again, is_settled) in [(join("a", "j"), true), (join("a", "i"), false)] {
            let mut desk = Desk::default();
            desk.put(join("a", "i"), 1);
            let (served, _) = desk.next().unwrap();
            desk.put(again.clone(), 2);
            assert_eq!(desk.done(&served, is_settled), None);
            assert_eq!(desk.next(), Some((again, 2)));
        }
    }

    #[test]
    fn the_line_has_an_end() {
        let mut desk = Desk::default();
        for n in 0..=WAITING_MAX {
            desk.put(join(&format!("w{n}"), "i"), n);
        }
        desk.put(join("w0", "i"), 7);
        assert_eq!(std::iter::from_fn(|| desk.next()).count(), WAITING_MAX);
    }
}
