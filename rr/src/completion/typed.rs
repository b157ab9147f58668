//! What is typed so far, as far as it can be understood.

use std::ffi::OsString;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::cli::{Cli, FlowFormat, GlobalArgs};

/// A command line that is being typed. What is missing or wrong in it is passed over.
#[derive(Debug)]
pub(super) struct Typed(Option<ArgMatches>);

impl Typed {
    /// Understands words, the first of which is the program's name.
    pub(super) fn new(words: &[OsString]) -> Self {
        Self(Cli::command().ignore_errors(true).try_get_matches_from(words).ok())
    }

    /// Flags that say which mesh is meant, among others.
    pub(super) fn global(&self) -> GlobalArgs {
        let read = self.0.as_ref().and_then(|matches| GlobalArgs::from_arg_matches(matches).ok());
        read.unwrap_or_default()
    }

    /// The run, as it is typed.
    pub(super) fn run(&self) -> Option<&str> {
        self.text("run")
    }

    /// The flow file, and how it is read.
    pub(super) fn flow(&self) -> Option<(&str, FlowFormat)> {
        let format = self.verb()?.try_get_one::<FlowFormat>("format").ok().flatten();
        Some((self.text("flow")?, format.copied().unwrap_or(FlowFormat::Auto)))
    }

    fn verb(&self) -> Option<&ArgMatches> {
        Some(self.0.as_ref()?.subcommand()?.1)
    }

    fn text(&self, arg: &str) -> Option<&str> {
        let text = self.verb()?.try_get_one::<String>(arg).ok()??;
        (!text.is_empty()).then_some(text)
    }
}
