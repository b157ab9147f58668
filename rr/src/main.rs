//! `rr`: one binary with every role.
//!
//! Reading order: `cli` (what can be typed), `exit` (what comes back), `dispatch` (who does it), `commands` (the verbs);
//! `mesh` and `lookup` (which mesh, which run), `histories` (what is stored of runs), `private` and `archive` (meshes of one
//! user), `follow` and `progress` (what is shown while a run goes on); `completion` (what a shell asks while somebody types).

mod archive;
mod cli;
mod commands;
mod completion;
mod config;
mod connection;
mod context;
mod dispatch;
mod environment;
mod error;
mod exit;
mod files;
mod flowfile;
mod follow;
mod histories;
mod ids;
mod local;
mod locks;
mod logging;
mod lookup;
mod mesh;
mod output;
mod printer;
mod private;
mod progress;
mod roles;
mod server;
mod signals;
mod submit;
mod text;

use std::process::ExitCode;

/// Histories, boards and messages are many small things: a fifth of a simulated mesh's time went into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dispatch::run(std::env::args_os()).into()
}
