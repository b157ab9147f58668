//! The harness of the end-to-end suites: real processes of the real `rr` on a real nats-server.
//!
//! Reading order: [`program`] (the `rr` under test, built once), [`sandbox`] (a user of their own: home, state,
//! configuration), [`process`] (what a sandbox starts), [`mesh`] (a server, coordinators and workers, to be killed),
//! [`cluster`] (the same with three servers), [`single`] (the same with one whose state can be asked for), [`by_hand`] (what no
//! client sends), [`proxy`] (a bad network), [`python`] (packages that are not ours), [`sshd`] (an ssh server), [`verdict`]
//! (a run's stored history, judged), [`wait`] (for a condition, never for a time), [`chaos`] (all of it at once).
//!
//! Invariants: each test has its own directories, server and ports; everything that a test starts is gone when it ends,
//! however it ends; what cannot be started fails the test.
#![expect(clippy::expect_used, clippy::panic, reason = "a harness fails by panicking")]

pub mod by_hand;
pub mod chaos;
pub mod cluster;
pub mod dice;
pub mod http;
pub mod mesh;
pub mod ports;
pub mod process;
pub mod procfs;
pub mod program;
pub mod proxy;
pub mod python;
pub mod sandbox;
pub mod single;
pub mod sshd;
pub mod verdict;
pub mod wait;

pub use by_hand::ByHand;
pub use dice::Dice;
pub use mesh::{TestMesh, Timing};
pub use process::{Output, Running};
pub use proxy::{LINK_BROKE, Proxy, Way};
pub use sandbox::{Call, Sandbox};
pub use sshd::SshServer;
pub use wait::eventually;
