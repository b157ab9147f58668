//! Rare branches, counted by what the product logs when it takes them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    fmt,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;
use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    span,
};

/// How often something was logged, by its words.
pub type Said = BTreeMap<String, u64>;

/// Lines of which only the error, or the reason, says what happened.
pub(crate) const WITH_ERROR: [&str; 3] = ["turn interrupted", "turn starts over", "message quarantined"];

/// Rare branches by their names, each with the words that are logged when it is taken.
pub(crate) const NAMED: [(&str, &str); 40] = [
    ("append conflict", "turn interrupted: another coordinator has decided"),
    ("append unanswered, read back", "append without an answer"),
    ("server away in a turn", "turn starts over: the server is not available"),
    ("entity loaded", "loaded"),
    ("deadlines looked after", "looked"),
    ("inputs given back", "inputs are given back, they come again"),
    ("offer given back", "given back"),
    ("publish not settled", "what was published there before is not settled"),
    ("partition handed over", "handed over to whom it rather belongs"),
    ("hand-over cut short", "handed over with turns under way"),
    ("pin runs out", "the pin runs out by itself"),
    ("inputs do not come", "inputs do not come"),
    ("effect tried again", "an effect is tried again"),
    ("timer not passed on at once", "a timer that has fired cannot be passed on yet"),
    ("own presence not renewed", "presence is not renewed"),
    ("absence asked after in vain", "the server does not say whether this was renewed"),
    ("offer comes a second time", "offer came a second time"),
    ("claim not answered", "claim not answered yet"),
    ("claim lost", "claim lost"),
    ("report kept for later", "report not stored yet, it is kept"),
    ("reports go through again", "reports go through again"),
    ("worker restarted in an attempt", "worker restarted"),
    ("worker drains", "draining"),
    ("worker joins again", "joined again"),
    ("worker's consumers gone", "the consumers are gone, joining again"),
    ("hosts taken over", "hosts of a worker that is gone are taken over"),
    ("hosts kept by who comes back", "a worker comes back and keeps its hosts"),
    ("lock's wait given up", "not wanted any more"),
    ("time to drain over", "time to drain is over"),
    ("lock lost", "a lock was lost, what runs under it is ended"),
    ("lock not renewed at once", "lock not renewed yet"),
    ("lock not given back", "a lock ran out before it was given back"),
    ("consumer made again", "a consumer was removed; it is made again"),
    ("stream made again", "a stream was removed, with what was in it; it is made again"),
    ("output waits", "output waits"),
    ("forged word put aside", "message quarantined: does not bear the token of its offer"),
    ("garbage put aside", "message quarantined: addressed to"),
    ("nobody's message put aside", "quarantined"),
    ("histories forgotten", "old histories forgotten"),
    ("forged timer put aside", "message quarantined: not fired by the server"),
];

/// The named branches, and how often each was taken.
pub fn named(said: &Said) -> BTreeMap<&'static str, u64> {
    let count = |words: &str| -> u64 {
        // Of a line's error the beginning is enough.
        let end = if words.contains(": ") { ' ' } else { ':' };
        let is_it =
            |said: &str| said == words || said.strip_prefix(words).is_some_and(|rest| rest.starts_with([':', end]));
        said.iter().filter(|(said, _)| is_it(said)).map(|(_, count)| count).sum()
    };
    NAMED.into_iter().map(|(name, words)| (name, count(words))).collect()
}

thread_local! {
    static COUNTS: RefCell<HashMap<Identifier, u64>> = RefCell::new(HashMap::new());
    static WORDS: RefCell<HashMap<Identifier, String>> = RefCell::new(HashMap::new());
    static REASONS: RefCell<Said> = const { RefCell::new(BTreeMap::new()) };
    static AIM: RefCell<Option<Aim>> = const { RefCell::new(None) };
    static PRINTS: Cell<bool> = const { Cell::new(false) };
}

/// Moments so rare that whoever aims at another one takes them, too.
pub(crate) const RARE: [&str; 2] = ["coordinator started", TAKEN_OVER];
/// The one of them in which the worker may come back.
pub(crate) const TAKEN_OVER: &str = "hosts of a worker that is gone are taken over";

/// A moment to come: when something was logged so many times.
#[derive(Debug)]
struct Aim {
    words: &'static str,
    left: u64,
    met: Arc<Met>,
}

/// Tells of a moment that was aimed at.
#[derive(Debug, Default)]
pub(crate) struct Met {
    told: Notify,
    /// Which of the rare ones it is, from 1; 0 for any other.
    rare: AtomicUsize,
}

impl Met {
    /// Waits for it, and says which of those it is that are so rare that everybody takes them, if it is one.
    pub(crate) async fn rare(&self) -> Option<&'static str> {
        self.told.notified().await;
        RARE.get(self.rare.load(Ordering::Relaxed).checked_sub(1)?).copied()
    }
}

/// Tells when these words were logged on this thread for the `nth` time from now on, in place of what was aimed at before.
pub(crate) fn aim(words: &'static str, nth: u64) -> Arc<Met> {
    let met = Arc::<Met>::default();
    AIM.set(Some(Aim { words, left: nth.max(1), met: Arc::clone(&met) }));
    met
}

/// Aims at nothing any more.
pub(crate) fn aim_no_more() {
    AIM.set(None);
}

fn look_out_for(words: &str) {
    AIM.with_borrow_mut(|aim| {
        let rare = RARE.iter().position(|rare| *rare == words).map_or(0, |index| index + 1);
        let Some(Aim { left, met, .. }) = aim.as_mut().filter(|aim| aim.words == words || rare > 0) else { return };
        *left = if rare > 0 { 0 } else { *left - 1 };
        if *left == 0 {
            met.rare.store(rare, Ordering::Relaxed);
            met.told.notify_one();
            *aim = None;
        }
    });
}

/// Counts what is logged on this thread, and prints it on demand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listener;

/// What was counted on this thread since this was asked last.
pub fn take() -> Said {
    let mut said = REASONS.take();
    WORDS.with_borrow(|words| {
        for (callsite, count) in COUNTS.take() {
            if let Some(words) = words.get(&callsite) {
                *said.entry(words.clone()).or_default() += count;
            }
        }
    });
    said
}

/// Whether what is logged on this thread is printed too, on standard error.
pub fn print(prints: bool) {
    PRINTS.set(prints);
}

#[derive(Default)]
struct Words {
    message: String,
    error: String,
    rest: String,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        // A constant that stands in for the message is named as constants are.
        if field.name().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            value.clone_into(&mut self.message);
        } else if field.name() == "reason" {
            value.clone_into(&mut self.error);
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "error" => write!(self.error, "{value:?}"),
            name => write!(self.rest, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::DEBUG && metadata.target().starts_with("rr_")
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::DEBUG)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_non_zero_u64(NonZeroU64::MIN)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let callsite = event.metadata().callsite();
        let prints = PRINTS.get();
        COUNTS.with_borrow_mut(|counts| *counts.entry(callsite.clone()).or_default() += 1);
        let known = WORDS.with_borrow(|words| {
            let words = words.get(&callsite)?;
            look_out_for(words);
            Some(is_with_error(words))
        });
        if known == Some(false) && !prints {
            return;
        }
        let mut words = Words::default();
        event.record(&mut words);
        if prints {
            print_line(event.metadata(), &words);
        }
        if is_with_error(&words.message) {
            let reason = format!("{}: {}", words.message, words.error);
            REASONS.with_borrow_mut(|reasons| *reasons.entry(reason).or_default() += 1);
        }
        if known.is_none() {
            look_out_for(&words.message);
        }
        WORDS.with_borrow_mut(|known| {
            known.entry(callsite).or_insert(words.message);
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

fn is_with_error(words: &str) -> bool {
    WITH_ERROR.contains(&words)
}

#[expect(clippy::print_stderr, reason = "somebody repeats one seed and wants to see it")]
fn print_line(metadata: &Metadata<'_>, words: &Words) {
    let Words { message, error, rest } = words;
    let error = if error.is_empty() { String::new() } else { format!(" error={error}") };
    eprintln!("{:5} {}: {message}{error}{rest}", metadata.level(), metadata.target());
}
