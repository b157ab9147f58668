//! Signals: what the gates of a flow wait for.

use std::collections::BTreeSet;

use super::{Flow, check::did_you_mean};
use crate::name::Name;

/// Signals that a text names at most; more help nobody.
const NAMED_MAX: usize = 10;

impl Flow {
    /// The signals that its gates wait for.
    pub fn signals(&self) -> BTreeSet<&Name> {
        self.all_jobs().filter_map(|(_, job)| job.signal.as_ref()).collect()
    }
}

/// Why giving this signal would do nothing, to a run whose gates wait for these; none where one waits for it.
pub fn unknown(signal: &Name, signals: &BTreeSet<&Name>) -> Option<String> {
    if signals.contains(signal) {
        return None;
    }
    if signals.is_empty() {
        return Some("no job of it waits for a signal".to_owned());
    }
    let hint = did_you_mean(signal.as_str(), signals.iter().map(|name| name.as_str())).unwrap_or_else(|| {
        let named: Vec<&str> = signals.iter().take(NAMED_MAX).map(|name| name.as_str()).collect();
        format!("its signals: {}{}", named.join(", "), if signals.len() > NAMED_MAX { " and more" } else { "" })
    });
    Some(format!("no job of it waits for signal \"{signal}\" ({hint})"))
}

#[cfg(test)]
mod tests {
    use super::{BTreeSet, Name, unknown};

    #[test]
    fn a_signal_that_nobody_waits_for_is_told_with_what_may_be_meant() {
        let names: Vec<Name> = ["approved", "tested"].map(|name| name.parse().unwrap()).into();
        let all: BTreeSet<&Name> = names.iter().collect();
        for (signal, signals, text) in [
            ("tested", &all, None),
            ("aproved", &all, Some("no job of it waits for signal \"aproved\" (did you mean \"approved\"?)")),
            ("go", &all, Some("no job of it waits for signal \"go\" (its signals: approved, tested)")),
            ("go", &BTreeSet::new(), Some("no job of it waits for a signal")),
        ] {
            assert_eq!(unknown(&signal.parse().unwrap(), signals).as_deref(), text);
        }
    }
}
