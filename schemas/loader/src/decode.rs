//! Nodes to the model, by hand: each field is taken by name, what is wrong is noted and replaced by something harmless,
//! and the reading goes on, so that everything wrong is found at once.
//!
//! A replaced value is *tainted*: what the check of the flow says about it or about what surrounds it is a consequence
//! of what has been said already, and is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use rr_schemas::{
    flow::{
        Flow,
        check::{self, Problem, did_you_mean},
    },
    text::Echo,
};

use crate::{
    diagnostic::{Diagnostic, Level},
    node::{Entry, Kind, Node},
};

mod flow;
mod job;
mod value;

pub(crate) use flow::flow;
#[cfg(test)]
pub(crate) use flow::{FLOW_KEYS, PARAM_KEYS, SLOT_KEYS};
#[cfg(test)]
pub(crate) use job::{JOB_KEYS, RETRY_KEYS, SCRIPT_KEYS};
pub(crate) use job::{host_sets, new_job};

/// What has been found so far.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    diagnostics: Vec<Diagnostic>,
    /// Where each part of the model stands in the file, by JSON pointer into the model.
    spans: BTreeMap<String, Range<usize>>,
    /// Pointers to what could not be read.
    tainted: BTreeSet<String>,
    /// Names made up so far for what has none.
    made_up: usize,
}

/// A map whose keys are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Map<'n> {
    entries: &'n [Entry],
    span_start: usize,
}

/// A value, where it goes in the model, and what messages call it.
#[derive(Clone, Debug)]
pub(crate) struct Field<'n> {
    pub(crate) at: String,
    pub(crate) what: &'static str,
    pub(crate) node: &'n Node,
}

/// What becomes of a key that nothing knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unknown {
    Error,
    Warning,
}

impl Decoder {
    /// Notes keys that stand in a map twice, anywhere in the tree; the first of them is read.
    pub(crate) fn check_keys(&mut self, tree: &Node) {
        let mut open = vec![tree];
        while let Some(node) = open.pop() {
            match &node.kind {
                Kind::Scalar(_) => {}
                Kind::List(items) => open.extend(items),
                Kind::Map(entries) => {
                    open.extend(entries.iter().map(|entry| &entry.value));
                    let mut first: BTreeMap<&str, &Range<usize>> = BTreeMap::new();
                    for Entry { key, key_span, .. } in entries {
                        if let Some(first) = first.get(key.text.as_str()) {
                            let message = format!("duplicate key {}", Echo::new(&key.text));
                            let also = Some((*first).clone());
                            self.diagnostics.push(Diagnostic::error(message).at(key_span.clone()).also(also));
                        } else {
                            first.insert(&key.text, key_span);
                        }
                    }
                }
            }
        }
    }

    /// Checks the flow that came out, and puts each problem at its place in the file.
    pub(crate) fn check(&mut self, flow: &Flow) {
        if self.tainted.contains("/params") {
            return;
        }
        let is_name = |at: &String| at.ends_with("/name") && at.contains("/jobs/");
        let names_are_known = !self.tainted.iter().any(|at| is_name(at) || at == "/jobs");
        for problem in check::check(flow) {
            let is_consequence = self.is_tainted(&problem.at) || problem.at.contains("/needs") && !names_are_known;
            if !is_consequence {
                let diagnostic = self.place(problem);
                self.diagnostics.push(diagnostic);
            }
        }
    }

    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let is_wrong = self.diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error);
        debug_assert!(is_wrong || self.tainted.is_empty(), "nothing is replaced without a word: {:?}", self.tainted);
        self.diagnostics
    }

    fn place(&self, problem: Problem) -> Diagnostic {
        let also = problem.also.map(|also| self.span_of(&also));
        Diagnostic::error(problem.message).at(self.span_of(&problem.at)).also(also).maybe_help(problem.help)
    }

    /// Where a part of the model stands, or the nearest part around it that stands in the file.
    fn span_of(&self, at: &str) -> Range<usize> {
        let mut at = at;
        loop {
            if let Some(span) = self.spans.get(at) {
                return span.clone();
            }
            match at.rsplit_once('/') {
                Some((parent, _)) => at = parent,
                None => return 0..0,
            }
        }
    }

    /// Whether something at `at`, around it or in it could not be read.
    fn is_tainted(&self, at: &str) -> bool {
        let around = at.match_indices('/').map(|(end, _)| at.get(..end).unwrap_or_default());
        let inside = format!("{at}/");
        around.chain([at]).any(|at| self.tainted.contains(at))
            || self.tainted.range(inside.clone()..).next().is_some_and(|next| next.starts_with(&inside))
    }

    pub(crate) fn taint(&mut self, at: impl Into<String>) {
        self.tainted.insert(at.into());
    }

    pub(crate) fn is_read(&self, at: &str) -> bool {
        !self.tainted.contains(at)
    }

    /// Notes where a part of the model stands.
    pub(crate) fn record(&mut self, at: impl Into<String>, node: &Node) {
        if !node.span.is_empty() {
            self.spans.insert(at.into(), node.span.clone());
        }
    }

    pub(crate) fn note(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Notes that a field cannot be read, at its place or at a part of it.
    pub(crate) fn fail(&mut self, field: &Field<'_>, span: Range<usize>, message: String, help: Option<String>) {
        self.taint(field.at.clone());
        self.diagnostics.push(Diagnostic::error(message).at(span).maybe_help(help));
    }

    /// Notes that a field is of the wrong type.
    pub(crate) fn wrong_type(&mut self, field: &Field<'_>, expected: &str) {
        let found = field.node.found();
        let is_scalar = matches!(field.node.kind, Kind::Scalar(_));
        let quote = is_scalar && found != "nothing" && found != "string" && expected.contains("string");
        let hint = if quote { " (quote it)" } else { "" };
        let message = format!("{}: expected {expected}, found {found}{hint}", field.what);
        // A value that is not there is shown at its key.
        let span = if field.node.span.is_empty() { self.span_of(&field.at) } else { field.node.span.clone() };
        self.fail(field, span, message, None);
    }

    /// The field as a map, with every key that is not among the known ones noted.
    pub(crate) fn map<'n>(&mut self, field: &Field<'n>, known: &[&str], unknown: Unknown) -> Option<Map<'n>> {
        let map = self.any_map(field)?;
        for entry in map.entries.iter().filter(|entry| !known.contains(&entry.key.text.as_str())) {
            let help = did_you_mean(&entry.key.text, known.iter().copied());
            let message = format!("unknown field {}", Echo::new(&entry.key.text));
            let diagnostic = match unknown {
                Unknown::Error => Diagnostic::error(message),
                Unknown::Warning => Diagnostic::warning(message),
            };
            let meant =
                known.iter().find(|known| help.as_ref().is_some_and(|help| help.contains(&format!("\"{known}\""))));
            if let (Some(meant), Unknown::Error) = (meant, unknown) {
                // What would be missed for this misspelling is not missing.
                self.taint(format!("{}/{meant}", field.at));
            }
            self.diagnostics.push(diagnostic.at(entry.key_span.clone()).maybe_help(help));
        }
        Some(map)
    }

    /// The field as a map with any keys.
    pub(crate) fn any_map<'n>(&mut self, field: &Field<'n>) -> Option<Map<'n>> {
        self.record(field.at.clone(), field.node);
        let Kind::Map(entries) = &field.node.kind else {
            self.wrong_type(field, "map");
            return None;
        };
        Some(Map { entries, span_start: field.node.span.start })
    }

    /// The items of a list.
    pub(crate) fn list<'n>(&mut self, field: &Field<'n>) -> Option<Vec<Field<'n>>> {
        self.record(field.at.clone(), field.node);
        let Kind::List(items) = &field.node.kind else {
            self.wrong_type(field, "list");
            return None;
        };
        let field = |(index, node)| Field { at: format!("{}/{index}", field.at), what: field.what, node };
        let items: Vec<Field<'n>> = items.iter().enumerate().map(field).collect();
        for item in &items {
            self.record(item.at.clone(), item.node);
        }
        Some(items)
    }

    /// The value under a key of a map that stands at `at` in the model.
    pub(crate) fn get<'n>(&mut self, map: Map<'n>, at: &str, key: &'static str) -> Option<Field<'n>> {
        let entry = map.entries.iter().find(|entry| entry.key.text == key)?;
        let field = Field { at: format!("{at}/{key}"), what: key, node: &entry.value };
        // A value that is not there has no place; its key has.
        let span = if field.node.span.is_empty() { &entry.key_span } else { &field.node.span };
        self.spans.insert(field.at.clone(), span.clone());
        Some(field)
    }

    /// The value under a key that has to be there.
    pub(crate) fn require<'n>(&mut self, map: Map<'n>, at: &str, key: &'static str) -> Option<Field<'n>> {
        let field = self.get(map, at, key);
        let pointer = format!("{at}/{key}");
        if field.is_none() && self.is_read(&pointer) {
            let start = map.span_start;
            // At the first key, if there is one: a block map begins in no visible way.
            let span = map.entries.first().map_or(start..start + 1, |entry| entry.key_span.clone());
            self.diagnostics.push(Diagnostic::error(format!("missing field \"{key}\"")).at(span));
        }
        if field.is_none() {
            self.taint(pointer);
        }
        field
    }
}

impl<'n> Map<'n> {
    pub(crate) fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key.text == key)
    }
}
