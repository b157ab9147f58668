//! The time of day, for whoever works on a mesh.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

type Read = dyn Fn() -> Timestamp + Send + Sync;

/// What tells the time of day: the machine, unless somebody gives another. Decisions know only the stream's time; this one
/// is for what is near or far, and for people.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<Read>>);

impl Clock {
    /// The machine's.
    pub const fn system() -> Self {
        Self(None)
    }

    /// Another one: simulated time, a machine whose clock is wrong.
    pub fn given(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.0.as_ref().map_or_else(Timestamp::now, |read| read())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(given)" } else { "Clock(system)" })
    }
}
