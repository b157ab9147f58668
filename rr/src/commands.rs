//! One function for each verb.

mod bench;
mod cancel;
mod check;
mod coordinator;
mod guard;
mod hosts;
mod init;
mod logs;
mod ls;
mod plan;
mod publish;
mod run;
mod show;
mod unit;
mod up;
mod watch;
mod why;
mod worker;

pub(crate) use bench::bench;
pub(crate) use cancel::cancel;
pub(crate) use check::check;
pub(crate) use coordinator::coordinator;
pub(crate) use guard::guard;
pub(crate) use hosts::hosts;
pub(crate) use init::init;
pub(crate) use logs::logs;
pub(crate) use ls::ls;
pub(crate) use plan::plan;
pub(crate) use publish::publish;
pub(crate) use run::run;
pub(crate) use show::show;
pub(crate) use up::up;
pub(crate) use watch::{EventView, watch};
pub(crate) use why::why;
pub(crate) use worker::worker;
