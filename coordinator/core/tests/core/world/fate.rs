//! How hostile a world is.

/// What fate may do to a run.
#[derive(Clone, Copy)]
pub(crate) struct Fate {
    pub(crate) fail: u64,
    pub(crate) lose: u64,
    pub(crate) duplicate: u64,
    pub(crate) unserved: u64,
    pub(crate) vanish: u64,
    pub(crate) give_back: u64,
    pub(crate) cancel: u64,
    pub(crate) reload: u64,
    pub(crate) forge: u64,
    /// Whether who forges lacks the token that he must bear, so that his coordinator passes him over. What is stored has no tokens, either
    /// way: who wants them adds them.
    pub(crate) tokens: bool,
    /// Percent of steps with a signal, whether or not a gate waits for it. None: all of them are given at the start.
    pub(crate) signal: Option<u64>,
}

impl Fate {
    pub(crate) const KIND: Self = Self {
        fail: 0,
        lose: 0,
        duplicate: 0,
        unserved: 0,
        vanish: 0,
        give_back: 0,
        cancel: 0,
        reload: 0,
        forge: 0,
        tokens: false,
        signal: None,
    };
    pub(crate) const HOSTILE: Self = Self {
        fail: 30,
        lose: 12,
        duplicate: 20,
        unserved: 5,
        vanish: 5,
        give_back: 15,
        cancel: 1,
        reload: 10,
        forge: 3,
        tokens: false,
        signal: Some(2),
    };
}
