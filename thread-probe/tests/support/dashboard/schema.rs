//! JSON schemas, as far as `dashboards/schema/make-schema` uses them. The crates that know all of them are 40 more to
//! build; a keyword that is not known here is an error, so nothing goes unchecked.

use serde_json::{Map, Value};

/// What is wrong with a value, each with where; nothing if it is valid.
pub(crate) fn errors(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let Some(keywords) = schema.as_object() else {
        return if *schema == Value::Bool(false) { vec![format!("{place} is not allowed")] } else { Vec::new() };
    };
    keywords.iter().flat_map(|(keyword, argument)| keyword_errors(keywords, keyword, argument, value, place)).collect()
}

fn keyword_errors(
    schema: &Map<String, Value>,
    keyword: &str,
    argument: &Value,
    value: &Value,
    place: &str,
) -> Vec<String> {
    let holds = |holds: bool, what: &str| {
        if holds { Vec::new() } else { vec![format!("{place} is {value}: {what} {argument}")] }
    };
    let fields = value.as_object().into_iter().flatten();
    let inside = |name: &str| format!("{place}/{name}");
    match keyword {
        "type" => holds(one_or_more(argument).iter().any(|kind| is_of_type(value, kind)), "not of type"),
        "const" => holds(value == argument, "not"),
        "enum" => holds(one_or_more(argument).contains(value), "none of"),
        "anyOf" => holds(
            one_or_more(argument).iter().any(|schema| errors(schema, value, place).is_empty()),
            "not valid by any of",
        ),
        "required" => {
            let missing = one_or_more(argument)
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| value.is_object() && value.get(name).is_none());
            missing.map(|name| format!("{place} has no {name}")).collect()
        }
        "properties" => fields
            .flat_map(|(name, field)| {
                argument.get(name).map_or_else(Vec::new, |schema| errors(schema, field, &inside(name)))
            })
            .collect(),
        "additionalProperties" => {
            let is_additional = |name: &str| schema.get("properties").and_then(|known| known.get(name)).is_none();
            fields
                .filter(|(name, _)| is_additional(name))
                .flat_map(|(name, field)| errors(argument, field, &inside(name)))
                .collect()
        }
        "items" => {
            let items = value.as_array().into_iter().flatten().enumerate();
            items.flat_map(|(index, item)| errors(argument, item, &inside(&index.to_string()))).collect()
        }
        other => vec![format!("{place}: the schema has {other:?}, which nothing checks")],
    }
}

fn one_or_more(argument: &Value) -> &[Value] {
    argument.as_array().map_or(std::slice::from_ref(argument), Vec::as_slice)
}

fn is_of_type(value: &Value, kind: &Value) -> bool {
    match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => false,
    }
}
