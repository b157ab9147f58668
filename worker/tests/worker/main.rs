//! The worker against the real system: processes, files, signals.

#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on fails at once")]

mod process;
mod service;
