//! Whether every delivery of a partition comes here.

use rr_nats::Delivery;

/// The last delivery that was seen.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    pin: Option<String>,
    /// Number of the next delivery; 0 before the first.
    next: u64,
}

impl Continuity {
    /// Takes note of a delivery; says whether none can have gone elsewhere since the one before.
    pub(super) fn holds(&mut self, delivery: &Delivery) -> bool {
        self.follows(delivery.pin.as_deref(), delivery.consumer_seq)
    }

    fn follows(&mut self, pin: Option<&str>, number: u64) -> bool {
        let same_pin = self.pin.as_deref() == pin;
        let holds = same_pin && number == self.next;
        if !same_pin {
            self.pin = pin.map(str::to_owned);
        }
        self.next = number + 1;
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_or_another_pin_breaks_it_once() {
        let mut continuity = Continuity::default();
        for (pin, number, holds) in [
            (Some("a"), 5, false),
            (Some("a"), 6, true),
            (Some("a"), 7, true),
            (Some("a"), 9, false),
            (Some("a"), 10, true),
            (Some("b"), 11, false),
            (Some("b"), 12, true),
            (None, 13, false),
            (Some("b"), 14, false),
            (Some("b"), 14, false),
        ] {
            assert_eq!(continuity.follows(pin, number), holds, "{pin:?} {number}");
        }
    }
}
