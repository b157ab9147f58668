//! The environment of the process, read once.
//!
//! Invariant: nothing else in `rr` asks the system for a variable or for the clock; both are handed down from here.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use jiff::Timestamp;

/// Every variable as it was when the process started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads it from the system.
    pub(crate) fn read() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value of a variable; an empty one counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Every variable whose name and value are text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
    }

    /// All of it, as commands of the user see it.
    pub(crate) fn all(&self) -> &BTreeMap<OsString, OsString> {
        &self.0
    }

    /// `$XDG_STATE_HOME/rr`, else `~/.local/state/rr`.
    pub(crate) fn state_dir(&self) -> Option<PathBuf> {
        self.xdg("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("rr"))
    }

    /// `$XDG_CONFIG_HOME/rr`, else `~/.config/rr`.
    pub(crate) fn config_dir(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("rr"))
    }

    /// The same of the NATS CLI.
    pub(crate) fn nats_config_dir(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("nats"))
    }

    /// The user's name, for people who look at a run.
    pub(crate) fn user(&self) -> String {
        let name = self.get("USER").or_else(|| self.get("LOGNAME"));
        name.map_or_else(|| "somebody".to_owned(), |name| name.to_string_lossy().chars().take(64).collect())
    }

    /// A relative path in an XDG variable is to be ignored, says its specification.
    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let given = self.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        given.or_else(|| self.get("HOME").map(|home| PathBuf::from(home).join(below_home)))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The time of day, for people; decisions never see it.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn directories_follow_the_xdg_variables() {
        for (variables, state, config) in [
            ([("HOME", "/h"), ("X", "")], Some("/h/.local/state/rr"), Some("/h/.config/rr")),
            ([("HOME", "/h"), ("XDG_STATE_HOME", "/s")], Some("/s/rr"), Some("/h/.config/rr")),
            ([("HOME", "/h"), ("XDG_CONFIG_HOME", "relative")], Some("/h/.local/state/rr"), Some("/h/.config/rr")),
            ([("HOME", ""), ("XDG_STATE_HOME", "/s")], Some("/s/rr"), None),
        ] {
            let environment = variables.into_iter().collect::<Environment>();
            assert_eq!(environment.state_dir(), state.map(Into::into), "{variables:?}");
            assert_eq!(environment.config_dir(), config.map(Into::into), "{variables:?}");
        }
    }
}
