//! Templates. What is read says what was written, and is filled in within its limit.

use rr_schemas::flow::template::{RenderError, Template, TemplateError};

use super::{Answer, demand, text};

pub(super) fn feed(input: &[u8]) -> Result<Vec<Answer>, String> {
    let text = text(input);
    let template: Template = match text.parse() {
        Ok(template) => template,
        Err(error) => {
            let error: TemplateError = error;
            demand(error.offset() <= text.len(), || format!("{error} at byte {}", error.offset()))?;
            return Ok(vec![Answer::refused("template", &error.to_string())]);
        }
    };
    demand(template.as_str() == text, || format!("{:?} was written", template.as_str()))?;
    let n_names = template.names().count();
    demand(template.is_literal() == (n_names == 0), || format!("{n_names} names"))?;
    // What is filled in is never read again: a value may look like a name.
    let long = "{{ x }}".repeat(1_000);
    let mut answers = Vec::new();
    for value in ["", "{{ x }}", &long] {
        match template.render(&|_| Some(value)) {
            Ok(filled) => {
                let n_values = filled.matches("{{ x }}").count();
                demand(value.is_empty() || n_values >= n_names, || format!("{n_values} of {n_names} values are left"))?;
                answers.push(Answer::read("template"));
            }
            Err(RenderError::TooLong { .. }) => answers.push(Answer::refused("template", "too long")),
            Err(error @ RenderError::Unknown(_)) => return Err(error.to_string()),
        }
    }
    let unknown = template.render(&|_| None);
    demand(unknown.is_err() || template.is_literal(), || "a name that nobody knows is filled in".to_owned())?;
    Ok(answers)
}
