//! Flow files (YAML, JSON, TOML, the original Roadrunner JSON) to the one flow model, errors with positions.
//!
//! Reading order: [`read_file`] (bytes, at most so many), [`load`] (bytes to a flow), [`render`] (what is wrong, for
//! people), [`schema`] (the JSON Schema of flow files). Inside: bytes become a text, the text a tree of nodes with
//! their places, the tree a flow; then the flow is checked and each problem is put at its place in the file.
//!
//! Invariants: a flow comes out only when nothing is wrong with it; everything that is wrong comes out at once; every
//! place lies inside the file; nothing here does I/O but [`read_file`] and [`read_from`].

mod compat;
mod decode;
mod diagnostic;
mod json;
mod node;
mod read;
mod render;
mod schema;
mod source;
mod toml;
mod yaml;

use rr_schemas::flow::Flow;

use crate::source::Syntax;
pub use crate::{
    diagnostic::{Diagnostic, Level, Position},
    read::{ReadError, read_file, read_from},
    render::{SHOWN_MAX, render},
    schema::schema,
    source::Source,
};

/// How a flow file is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// By the file's name and content: `.json` is JSON, and the original Roadrunner's JSON when it has one of its keys;
    /// `.toml` is TOML, everything else is YAML.
    #[default]
    Auto,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// The JSON of the original Roadrunner, whatever keys it has.
    Roadrunner,
}

/// What came of a flow file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loaded {
    /// The flow; none when there is an error.
    pub flow: Option<Flow>,
    /// Errors first, each kind by its place in the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error).count()
    }
}

/// Reads a flow file and checks it whole.
pub fn load(source: &Source<'_>, format: Format) -> Loaded {
    let (flow, diagnostics) = match source.text() {
        Ok(text) => load_text(source, text, format),
        Err(diagnostic) => (None, vec![*diagnostic]),
    };
    let diagnostics = diagnostic::finish(source, diagnostics);
    let is_wrong = diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error);
    Loaded { flow: flow.filter(|_| !is_wrong), diagnostics }
}

fn load_text(source: &Source<'_>, text: &str, format: Format) -> (Option<Flow>, Vec<Diagnostic>) {
    let syntax = match format {
        Format::Yaml => Syntax::Yaml,
        Format::Json => Syntax::Json,
        Format::Toml => Syntax::Toml,
        Format::Auto | Format::Roadrunner => source.syntax(text),
    };
    let mut decoder = decode::Decoder::default();
    let parsed = match syntax {
        Syntax::Yaml => yaml::parse(text),
        Syntax::Json => json::parse(text),
        Syntax::Toml => toml::parse(text),
    };
    let tree = match parsed.and_then(|tree| tree.ok_or_else(|| Box::new(source::empty()))) {
        Ok(tree) => tree,
        Err(diagnostic) => return (None, vec![*diagnostic]),
    };
    decoder.check_keys(&tree);
    let is_roadrunner = match format {
        Format::Roadrunner => true,
        Format::Auto => syntax == Syntax::Json && compat::is_roadrunner(&tree),
        Format::Yaml | Format::Json | Format::Toml => false,
    };
    let flow = if is_roadrunner {
        compat::decode(&mut decoder, &tree, source.flow_name())
    } else {
        decode::flow(&mut decoder, &tree)
    };
    if let Some(flow) = &flow {
        decoder.check(flow);
    }
    (flow, decoder.into_diagnostics())
}
