//! What somebody, or chance, does to streams and consumers.

use super::{Jet, Turn, consumer::Consumer, store::Store};

impl Jet {
    fn with(
        &mut self,
        stream: &str,
        consumer: &str,
        turn: &mut Turn<'_>,
        act: impl FnOnce(&mut Consumer, &Store, &mut Turn<'_>) -> bool,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(stream) else { return false };
        stream.consumers.get_mut(consumer).is_some_and(|consumer| {
            let happened = act(consumer, &stream.store, turn);
            consumer.serve(&stream.store, turn);
            happened
        })
    }

    /// A consumer gets another leader.
    pub(crate) fn move_consumer(&mut self, stream: &str, consumer: &str, turn: &mut Turn<'_>) -> bool {
        self.with(stream, consumer, turn, |consumer, _, turn| {
            consumer.step_down(turn);
            true
        })
    }

    /// A pin is free.
    pub(crate) fn move_pin(&mut self, stream: &str, consumer: &str, turn: &mut Turn<'_>) -> bool {
        self.with(stream, consumer, turn, |consumer, _, _| {
            let had_one = consumer.has_pin();
            consumer.unpin();
            had_one
        })
    }

    /// Everything that is not acknowledged comes again.
    pub(crate) fn redeliver(&mut self, stream: &str, consumer: &str, turn: &mut Turn<'_>) -> bool {
        self.with(stream, consumer, turn, |consumer, _, _| {
            consumer.redeliver_all();
            true
        })
    }

    /// Somebody removes a consumer.
    pub(crate) fn remove_consumer(&mut self, stream: &str, consumer: &str, turn: &mut Turn<'_>) -> bool {
        let removed = self.streams.get_mut(stream).and_then(|stream| stream.consumers.remove(consumer));
        removed.is_some_and(|mut removed| {
            removed.end_all(Some("Consumer Deleted"), turn);
            true
        })
    }

    /// Somebody removes a stream.
    pub(crate) fn remove_stream(&mut self, stream: &str, turn: &mut Turn<'_>) -> bool {
        self.streams.remove(stream).is_some_and(|mut removed| {
            removed.consumers.values_mut().for_each(|consumer| consumer.end_all(Some("Consumer Deleted"), turn));
            true
        })
    }

    /// A stream takes nothing, or something again.
    pub(crate) fn set_filled(&mut self, stream: &str, is_filled: bool) -> bool {
        self.streams
            .get_mut(stream)
            .is_some_and(|stream| std::mem::replace(&mut stream.is_filled, is_filled) != is_filled)
    }

    /// Most copies of a stream sleep until this time, in nanoseconds since 1970.
    pub(crate) fn lose_majority(&mut self, stream: &str, until: u64) -> bool {
        let Some(found) = self.streams.get_mut(stream).filter(|stream| stream.is_led()) else { return false };
        found.lose_majority(until);
        true
    }

    /// The copies of a stream are awake, and one of them leads it.
    pub(crate) fn wake(&mut self, stream: &str, turn: &mut Turn<'_>) {
        if let Some(found) = self.streams.get_mut(stream) {
            found.find_majority(turn);
            if !found.is_led() {
                found.led(turn);
            }
        }
    }

    /// A stream has no leader any more.
    pub(crate) fn lose_leader(&mut self, stream: &str, turn: &mut Turn<'_>) -> bool {
        let Some(found) = self.streams.get_mut(stream).filter(|stream| stream.is_led()) else { return false };
        found.lose_leader(turn);
        true
    }
}
