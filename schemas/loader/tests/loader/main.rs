//! What flow files become, and what is said of those that are wrong.

#[cfg(test)]
mod bad_inputs;
#[cfg(test)]
mod compat;
#[cfg(test)]
mod files;
#[cfg(test)]
mod forms;
#[cfg(test)]
mod helpers;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reading;
mod toml;
