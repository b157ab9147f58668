//! The JSON Schema of flow files: that of the model, which is the full form, widened by the short forms.

use rr_schemas::flow::{ATTEMPTS_MAX, Flow};
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Value, json};

/// The JSON Schema of flow files, as text: for editors, and for programs that write flows.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(Flow);
    NotNull.transform(&mut schema);
    let mut schema = schema.to_value();
    for (place, short_form) in short_forms() {
        widen(&mut schema, place, &short_form);
    }
    if let Some(top) = schema.as_object_mut() {
        top.insert("title".to_owned(), json!("flow file of rr"));
    }
    // A value of strings and numbers always has a text.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// What a flow file may have in a place besides the full form.
fn short_forms() -> Vec<(&'static str, Value)> {
    let attempts =
        json!({ "description": "Attempts in total.", "type": "integer", "minimum": 1, "maximum": ATTEMPTS_MAX });
    let none = || json!({ "description": "No limit.", "const": "none" });
    // `[sleep, 5]` is taken as it is written.
    let written = || json!({ "type": ["number", "boolean"] });
    vec![
        (
            "/properties/slots/items",
            json!({ "description": "The jobs of a slot without a name.", "type": "array", "items": { "$ref": "#/$defs/Job" } }),
        ),
        (
            "/properties/params/patternProperties/*",
            json!({ "description": "The default, which says the type too.", "$ref": "#/$defs/ParamValue" }),
        ),
        ("/properties/timeout", none()),
        ("/properties/env/patternProperties/*", written()),
        ("/$defs/Job/properties/timeout", none()),
        ("/$defs/Job/properties/env/patternProperties/*", written()),
        ("/$defs/Job/properties/run/items", written()),
        ("/$defs/Script/properties/shell/items", written()),
        (
            "/$defs/Job/properties/hosts",
            json!({ "description": "Several of them.", "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/HostSet" } }),
        ),
        ("/$defs/Job/properties/shell", json!({ "description": "The script.", "type": "string", "minLength": 1 })),
        ("/$defs/Job/properties/retry", attempts),
    ]
}

/// Lets a place hold another form too. `*` as the last part stands for whatever is there.
fn widen(schema: &mut Value, place: &str, form: &Value) {
    let found = match place.strip_suffix("/*") {
        Some(parent) => {
            schema.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|all| all.values_mut().next())
        }
        None => schema.pointer_mut(place),
    };
    debug_assert!(found.is_some(), "the schema has no {place}");
    let Some(Value::Object(place)) = found else { return };
    let mut full = std::mem::take(place);
    for word in ["description", "default"] {
        if let Some(kept) = full.remove(word) {
            place.insert(word.to_owned(), kept);
        }
    }
    place.insert("anyOf".to_owned(), json!([full, form]));
}

/// A field is left out or has a value: `null` is neither.
struct NotNull;

impl Transform for NotNull {
    fn transform(&mut self, schema: &mut schemars::Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if let Some(Value::Array(types)) = object.get_mut("type") {
            types.retain(|one| one != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        let Some(Value::Array(forms)) = object.get_mut("anyOf") else { return };
        forms.retain(|form| form != &json!({ "type": "null" }));
        if let [Value::Object(only)] = forms.as_mut_slice() {
            let only = std::mem::take(only);
            object.remove("anyOf");
            for (word, value) in only {
                object.entry(word).or_insert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{FLOW_KEYS, JOB_KEYS, PARAM_KEYS, RETRY_KEYS, SCRIPT_KEYS, SLOT_KEYS};

    #[test]
    fn the_schema_knows_the_same_fields_as_the_decoder() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        for (place, keys) in [
            ("/properties", FLOW_KEYS.as_slice()),
            ("/$defs/Slot/properties", &SLOT_KEYS),
            ("/$defs/Job/properties", &JOB_KEYS),
            ("/$defs/Script/properties", &SCRIPT_KEYS),
            ("/$defs/Retry/properties", &RETRY_KEYS),
            ("/$defs/Param/properties", &PARAM_KEYS),
        ] {
            let mut known: Vec<&str> = keys.to_vec();
            known.sort_unstable();
            let mut fields: Vec<&str> =
                schema.pointer(place).unwrap().as_object().unwrap().keys().map(String::as_str).collect();
            fields.sort_unstable();
            assert_eq!(fields, known, "{place}");
        }
    }

    #[test]
    fn every_short_form_has_its_place_and_nothing_is_null() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        for (place, form) in short_forms() {
            let found = match place.strip_suffix("/*") {
                Some(parent) => schema.pointer(parent).unwrap().as_object().unwrap().values().next().unwrap(),
                None => schema.pointer(place).unwrap(),
            };
            assert_eq!(found.pointer("/anyOf/1"), Some(&form), "{place}");
        }
        assert!(!schema.to_string().contains("null"));
    }
}
