//! The manifest's keys for editors and for people: a JSON Schema and a Markdown table.
//!
//! Handed nothing but the table of keys, gives texts that lie in docs/.
//! **Invariant:** whatever is said here comes from the table of keys or from the rules for librdkafka's settings.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::manifest::kafka::{self, Clients};
use crate::manifest::{Key, Kind, keys};
use crate::settings;

/// Returns the JSON Schema (draft 2020-12) of `handler.toml`.
pub fn json_schema() -> Value {
    let mut schema = table_schema(keys::KEYS, "");
    let ways = ["topics", "pattern", "regex"].map(|way| json!({ "required": [way] }));
    if let Value::Object(object) = &mut schema {
        object.insert("oneOf".to_owned(), json!(ways));
        object.insert("$defs".to_owned(), json!({ "setting": setting_schema() }));
    }
    let mut root = Map::new();
    root.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".to_owned(), json!("handler.toml of kafka-wasm-host"));
    if let Value::Object(object) = schema {
        root.extend(object);
    }
    Value::Object(root)
}

/// Returns the keys of `handler.toml` as a Markdown table.
pub fn markdown() -> String {
    table_of(keys::KEYS)
}

/// Returns the keys of `host.toml` as a Markdown table.
pub fn settings_markdown() -> String {
    table_of(settings::KEYS)
}

fn table_of(keys: &[&Key]) -> String {
    let mut out = String::from("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in keys {
        let (expected, default) = (
            key.kind.expected().replace('|', "\\|"),
            key.kind.default_text(),
        );
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | {expected} | {default} | {} |",
            key.path, key.doc
        );
    }
    out
}

/// Returns the schema of one table: its own keys, and the tables in it.
fn table_schema(keys: &[&Key], around: &str) -> Value {
    let mut properties = Map::new();
    for key in keys {
        match key
            .within(around)
            .and_then(|rest| rest.split_once('.').or(Some((rest, ""))))
        {
            None => {}
            Some((name, "")) => {
                properties.insert(name.to_owned(), value_schema(key));
            }
            Some((name, _)) if properties.contains_key(name) => {}
            Some((name, _)) => {
                let path = if around.is_empty() {
                    name.to_owned()
                } else {
                    format!("{around}.{name}")
                };
                properties.insert(name.to_owned(), table_schema(keys, &path));
            }
        }
    }
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn value_schema(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Text { .. } => json!({ "type": "string", "minLength": 1 }),
        Kind::Texts { .. } => {
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1, "uniqueItems": true })
        }
        Kind::Choice { words } => json!({ "enum": words, "default": words.first() }),
        Kind::Whole {
            min, max, default, ..
        } => {
            json!({ "type": "integer", "minimum": min, "maximum": max, "default": default })
        }
        Kind::Real { min, max, default } => {
            json!({ "type": "number", "minimum": min, "maximum": max, "default": default })
        }
        Kind::Flag { default } => json!({ "type": "boolean", "default": default }),
        Kind::Table { clients } => settings_schema(clients),
    };
    if let Value::Object(object) = &mut schema {
        object.insert("description".to_owned(), json!(description(key)));
    }
    schema
}

fn settings_schema(clients: Option<Clients>) -> Value {
    let setting = json!({ "$ref": "#/$defs/setting" });
    let Some(clients) = clients else {
        return json!({ "type": "object", "additionalProperties": setting });
    };
    let refused: Map<String, Value> = kafka::refused(clients)
        .map(|(name, why)| {
            (
                name.to_owned(),
                json!({ "not": {}, "description": format!("Cannot be set: {why}.") }),
            )
        })
        .collect();
    json!({ "type": "object", "properties": refused, "additionalProperties": setting })
}

/// One setting; a table stands for a name with a dot that is not quoted.
fn setting_schema() -> Value {
    json!({
        "type": ["string", "number", "boolean", "object"],
        "additionalProperties": { "$ref": "#/$defs/setting" },
    })
}

/// Returns the key's sentences, with the unit and a default that no schema keyword can say.
fn description(key: &Key) -> String {
    let text = key.doc.replace('`', "");
    match key.kind {
        Kind::Whole { unit, .. } => format!("{text} In {unit}."),
        Kind::Text { default, .. } if !default.is_empty() => {
            format!("{text} Default: {}.", default.replace('`', ""))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_schema_in_docs_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/handler.schema.json");
        let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &schema).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == schema,
            "docs/handler.schema.json is not what the keys say; run UPDATE_DOCS=1 cargo test"
        );
    }

    /// Compares what stands between the markers `name` of a page of docs/ with `table`.
    fn compare_or_update(page: &str, name: &str, table: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs")
            .join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        let (begin, end) = (
            format!("<!-- {name}:begin -->\n"),
            format!("<!-- {name}:end -->"),
        );
        let (before, rest) = text.split_once(&begin).unwrap();
        let (found, after) = rest.split_once(&end).unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
            return;
        }
        assert!(
            found == table,
            "the table {name} of docs/{page} is not what the keys say; run cargo xtask docs"
        );
    }

    #[test]
    fn the_tables_in_docs_are_up_to_date() {
        compare_or_update("HANDLERS.md", "keys", &markdown());
        compare_or_update("OPERATIONS.md", "settings", &settings_markdown());
    }

    #[test]
    fn the_schema_has_every_key_with_its_range_and_default() {
        let schema = json_schema();
        for key in keys::KEYS {
            let pointer = format!("/properties/{}", key.path.replace('.', "/properties/"));
            let found = schema
                .pointer(&pointer)
                .unwrap_or_else(|| panic!("{pointer} is missing"));
            assert!(found["description"].is_string(), "{pointer}");
        }
        let deadline = schema
            .pointer("/properties/limits/properties/deadline-ms")
            .unwrap();
        assert_eq!(
            deadline,
            &json!({
                "type": "integer", "minimum": 1, "maximum": 3_600_000, "default": 1000,
                "description": "Time that one call of the component may take. In milliseconds.",
            })
        );
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["oneOf"][0], json!({ "required": ["topics"] }));
        let consumer = schema
            .pointer("/properties/kafka/properties/consumer/properties")
            .unwrap();
        assert_eq!(
            consumer["group.id"],
            json!({ "not": {}, "description": "Cannot be set: use `group`." })
        );
        assert!(consumer.get("acks").is_none());
    }

    #[test]
    fn the_table_has_a_row_of_four_cells_for_every_key() {
        for (table, keys) in [
            (markdown(), keys::KEYS),
            (settings_markdown(), settings::KEYS),
        ] {
            let rows: Vec<&str> = table.lines().skip(2).collect();
            assert_eq!(rows.len(), keys.len());
            for (row, key) in rows.iter().zip(keys) {
                assert!(row.starts_with(&format!("| `{}` | ", key.path)), "{row}");
                assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
            }
        }
    }
}
