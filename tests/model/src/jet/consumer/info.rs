//! What the server tells of a consumer.

use serde_json::{Value, json};

use super::{Consumer, Store, Turn};
use crate::jet::{SERVERS, said::written};

impl Consumer {
    /// What the server tells of it.
    pub(crate) fn info(&mut self, store: &Store, turn: &Turn<'_>) -> Value {
        // It may have counted what is gone: then it learns of that now.
        let most = (store.last() + 1).saturating_sub(self.seq);
        self.undelivered = self.undelivered.min(u64::try_from(store.len()).unwrap_or(u64::MAX)).min(most);
        let at = |delivery: u64, seq: u64, last: u64| {
            let mut place = json!({"consumer_seq": delivery, "stream_seq": seq});
            if last > 0
                && let Some(fields) = place.as_object_mut()
            {
                fields.insert("last_active".to_owned(), written(last).into());
            }
            place
        };
        let mut info = json!({
            "stream_name": self.stream,
            "name": self.name,
            "created": written(self.created),
            "config": self.told,
            "delivered": at(self.delivery - 1, self.seq - 1, self.last_delivered),
            "ack_floor": at(self.floor_delivery, self.floor, self.last_acked),
            "num_ack_pending": self.pending.len(),
            "num_redelivered": self.again.len(),
            "num_waiting": self.waiting.iter().filter(|pull| turn.router.has_listener(&pull.reply)).count(),
            "num_pending": self.undelivered,
            "ts": written(turn.now),
        });
        if let Some(fields) = info.as_object_mut().filter(|_| self.is_copied) {
            let leader = SERVERS.get(self.leaders % SERVERS.len());
            fields.insert("cluster".to_owned(), json!({"name": "rr", "leader": leader}));
        }
        if let Some(fields) = info.as_object_mut().filter(|_| !self.config.priority_groups.is_empty()) {
            let groups = self.config.priority_groups.iter().map(|group| match &self.pin {
                Some(pin) => json!({"group": group, "pinned_client_id": pin.id, "pinned_ts": written(pin.since)}),
                None => json!({"group": group, "pinned_ts": written(0)}),
            });
            fields.insert("priority_groups".to_owned(), groups.collect());
        }
        info
    }
}
