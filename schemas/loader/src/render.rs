//! Diagnostics for people: the line, a mark under what is meant, and what to do.

use annotate_snippets::{AnnotationKind, Group, Level as Title, Origin, Renderer, Snippet};

use crate::{
    diagnostic::{Diagnostic, Level},
    source::Source,
};

/// Diagnostics that are shown of a file at most.
pub const SHOWN_MAX: usize = 20;

/// Bytes of a line that is shown at most; of a longer one only the place is named.
const LINE_BYTES_MAX: usize = 4096;

/// Shows what is wrong with a file, in the manner of rustc; ends with a line break unless there is nothing to show.
pub fn render(diagnostics: &[Diagnostic], source: &Source<'_>, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let shown = diagnostics.iter().take(SHOWN_MAX).map(|diagnostic| renderer.render(&[group(diagnostic, source)]));
    let more = diagnostics.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0);
    let parts: Vec<String> = shown.chain(more.map(|more| format!("and {more} more"))).collect();
    if parts.is_empty() { String::new() } else { parts.join("\n\n") + "\n" }
}

fn group<'a>(diagnostic: &'a Diagnostic, source: &Source<'a>) -> Group<'a> {
    let level = match diagnostic.level {
        Level::Error => Title::ERROR,
        Level::Warning => Title::WARNING,
    };
    let mut group = level.primary_title(&diagnostic.message).element(place(diagnostic, source));
    if let Some(help) = &diagnostic.help {
        group = group.element(Title::HELP.message(help));
    }
    group
}

/// The lines that are meant, or where they are.
fn place<'a>(diagnostic: &'a Diagnostic, source: &Source<'a>) -> annotate_snippets::Element<'a> {
    let text = source.readable();
    let spans = diagnostic.span.iter().chain(&diagnostic.also);
    let is_readable = !text.is_empty() && spans.clone().all(|span| line_bytes(text, span.start) <= LINE_BYTES_MAX);
    match (&diagnostic.span, diagnostic.position) {
        (Some(span), _) if is_readable => {
            let also = diagnostic.also.iter();
            let also = also.map(|also| AnnotationKind::Context.span(also.clone()).label("the other place"));
            let meant = AnnotationKind::Primary.span(span.clone());
            Snippet::source(text).path(source.name).annotation(meant).annotations(also).into()
        }
        (_, Some(at)) => Origin::path(source.name).line(at.line).char_column(at.column).into(),
        (_, None) => Origin::path(source.name).into(),
    }
}

/// The length of the line that `at` is on.
fn line_bytes(text: &str, at: usize) -> usize {
    let before = text.get(..at).map_or(0, |before| before.len() - before.rfind('\n').map_or(0, |end| end + 1));
    let after = text.get(at..).map_or(0, |after| after.find('\n').unwrap_or(after.len()));
    before + after
}
