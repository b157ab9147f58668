//! What every command is handed.

use std::path::PathBuf;

use crate::archive::Archive;
use crate::cli::GlobalArgs;
use crate::config::Config;
use crate::environment::Environment;
use crate::error::CliError;
use crate::printer::Printer;

/// The environment, the configuration and the way to print.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The variables of the process.
    pub(crate) environment: Environment,
    /// File, variables and flags together.
    pub(crate) config: Config,
    /// The configuration file that was named as a flag.
    pub(crate) config_file: Option<PathBuf>,
    /// The way to stdout and stderr.
    pub(crate) printer: Printer,
}

impl Context {
    /// Reads the configuration and sets colours.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub(crate) fn new(environment: Environment, flags: &GlobalArgs) -> Result<Self, CliError> {
        let config = Config::load(&environment, flags)?;
        let printer = Printer::new(config.color, flags.json);
        Ok(Self { environment, config, config_file: flags.config.clone(), printer })
    }

    /// Where private meshes and their runs are kept.
    ///
    /// # Errors
    /// Nobody says where.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, CliError> {
        self.config.state_dir(&self.environment)
    }

    /// The private runs of this user.
    ///
    /// # Errors
    /// Nobody says where.
    pub(crate) fn archive(&self) -> Result<Archive, CliError> {
        Ok(Archive::new(&self.state_dir()?))
    }

    /// Who asks, for people: `user@machine`.
    pub(crate) fn who(&self) -> String {
        format!("{}@{}", self.environment.user(), machine())
    }
}

/// The name of this machine.
pub(crate) fn machine() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
