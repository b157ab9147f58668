//! Flow files. What is accepted can be planned or is refused by the plan with reasons, and its full form says the same.

use rr_core::Plan;
use rr_loader::{Format, Level, Loaded, Source, load, render};
use rr_schemas::flow::{Flow, params::ParamValues};

use super::{Answer, demand};

/// Each way to read a file, and the name that it has then.
const WAYS: [(Format, &str); 5] = [
    (Format::Auto, "flow"),
    (Format::Yaml, "flow.yaml"),
    (Format::Json, "flow.json"),
    (Format::Toml, "flow.toml"),
    (Format::Roadrunner, "flow.json"),
];

pub(super) fn feed(input: &[u8]) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    for (format, name) in WAYS {
        let source = Source { name, bytes: input };
        let loaded = load(&source, format);
        whole(&source, &loaded)?;
        let way = format!("{format:?}");
        answers.extend(loaded.diagnostics.iter().take(4).map(|diagnostic| Answer::refused(&way, &diagnostic.message)));
        if let Some(flow) = &loaded.flow {
            answers.push(accepted(&way, flow)?);
        }
    }
    Ok(answers)
}

/// Errors have their place in the file and can be shown, and there is a flow where there is none of them.
fn whole(source: &Source<'_>, loaded: &Loaded) -> Result<(), String> {
    let errors = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.level == Level::Error).count();
    demand(loaded.flow.is_some() == (errors == 0), || format!("{errors} errors, and a flow or none all the same"))?;
    for diagnostic in &loaded.diagnostics {
        let is_inside =
            diagnostic.span.as_ref().is_none_or(|span| span.start <= span.end && span.end <= source.bytes.len());
        demand(is_inside, || format!("{diagnostic:?} lies outside of its file"))?;
    }
    for color in [false, true] {
        let shown = render(&loaded.diagnostics, source, color);
        demand(shown.is_empty() == loaded.diagnostics.is_empty(), || "nothing is shown of what is wrong".to_owned())?;
    }
    Ok(())
}

/// What was read once is read again from its full form, and is the same.
fn accepted(way: &str, flow: &Flow) -> Result<Answer, String> {
    let full = rr_schemas::codec::encode(rr_schemas::codec::Format::Json, flow).map_err(|error| error.to_string())?;
    let again: Flow = rr_schemas::codec::decode(rr_schemas::codec::Format::Json, &full)
        .map_err(|error| format!("its full form is not read: {error}"))?;
    demand(again == *flow, || format!("read as {flow:?}, and from its full form as {again:?}"))?;
    Ok(match Plan::new(flow, &ParamValues::default()) {
        Ok(plan) => {
            demand(plan.n_tasks() <= rr_schemas::flow::TASKS_MAX, || format!("{} tasks", plan.n_tasks()))?;
            Answer::read(way)
        }
        Err(problems) => {
            let first = problems.first().ok_or("refused for no reason")?;
            Answer::refused(way, &first.message)
        }
    })
}
