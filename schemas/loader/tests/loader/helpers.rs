//! What the tests share.

use rr_loader::{Diagnostic, Format, Level, Loaded, Source, load};
use rr_schemas::flow::Flow;

/// Loads a text under the name of a file.
pub(crate) fn load_as(name: &str, text: &str) -> Loaded {
    load(&Source { name, bytes: text.as_bytes() }, Format::Auto)
}

/// The flow of a YAML text that has nothing wrong with it.
pub(crate) fn flow_of(text: &str) -> Flow {
    let loaded = load_as("flow.yaml", text);
    assert_eq!(loaded.diagnostics, [], "{text}");
    loaded.flow.unwrap()
}

/// `error 3:7 what is wrong` for each diagnostic, in their order; the help follows in brackets.
pub(crate) fn lines(loaded: &Loaded) -> Vec<String> {
    loaded.diagnostics.iter().map(line).collect()
}

fn line(diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    let place = diagnostic.position.map_or(String::new(), |at| format!(" {}:{}", at.line, at.column));
    let help = diagnostic.help.as_ref().map_or(String::new(), |help| format!(" [{help}]"));
    format!("{level}{place} {}{help}", diagnostic.message)
}
