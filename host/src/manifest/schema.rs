//! The manifest's keys for editors and for people: a JSON Schema and a Markdown table.
//!
//! Handed nothing but the table of keys, gives texts that lie in docs/.
//! **Invariant:** whatever is said here comes from the table of keys or from the rules for librdkafka's settings.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::manifest::kafka::{self, Clients};
use crate::manifest::{Key, Kind, keys};
use crate::reload::Turn;
use crate::settings;

/// Returns the JSON Schema (draft 2020-12) of `handler.toml`.
pub fn json_schema() -> Value {
    let mut schema = table_schema(keys::KEYS, "");
    if let Some(Value::Object(retry)) = schema.pointer_mut("/properties/retry") {
        retry.extend(list_schema());
    }
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

/// Returns the keys of `host.toml` that change while the host runs, as a Markdown list.
pub fn live_markdown() -> String {
    let live = settings::TURNS
        .iter()
        .filter(|(_, turn)| *turn == Turn::Live);
    let rows = live.map(|(key, _)| format!("- `{}`\n", key.path));
    rows.collect()
}

/// Returns the keys of `tenant.toml` as a Markdown table.
pub fn tenant_markdown() -> String {
    table_of(keys::tenant::TENANT_KEYS)
}

fn table_of(keys: &[&Key]) -> String {
    let mut out = String::from("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    let mut tables_shown = Vec::new();
    for key in keys {
        if let Kind::Like { key: other } = key.kind {
            let tables = alike(keys, other.around());
            if !tables_shown.contains(&other.around()) {
                tables_shown.push(other.around());
                out.push_str(&row_of_tables(&tables, other.around()));
            }
            continue;
        }
        write_row(&mut out, key, "");
    }
    out
}

/// Writes the row of a key, and those of the keys in it where it is a list of tables.
fn write_row(out: &mut String, key: &Key, around: &str) {
    let (expected, default) = (
        key.kind.expected().replace('|', "\\|"),
        key.kind.default_text(),
    );
    let path = format!("{around}{}", key.path);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "| `{path}` | {expected} | {default} | {} |", key.doc);
    let (inner, joint) = match key.kind {
        Kind::Rows { keys } => (keys, "[]."),
        Kind::Named { keys } => (keys, ".NAME."),
        _ => return,
    };
    for key in inner {
        write_row(out, key, &format!("{path}{joint}"));
    }
}

/// A list of waits and the word "list" go together. A table for a kind of failures may have either from `[retry]`.
fn list_schema() -> Map<String, Value> {
    let is_list =
        json!({ "required": ["backoff"], "properties": { "backoff": { "const": "list" } } });
    [
        ("if", is_list),
        ("then", json!({ "required": ["delays-ms"] })),
        ("else", json!({ "properties": { "delays-ms": false } })),
    ]
    .map(|(keyword, schema)| (keyword.to_owned(), schema))
    .into_iter()
    .collect()
}

/// Returns the tables whose keys are like those of the table `original`, in their order.
fn alike(keys: &[&Key], original: &str) -> Vec<&'static str> {
    let mut tables = Vec::new();
    for key in keys {
        if let Kind::Like { key: other } = key.kind
            && other.around() == original
            && !tables.contains(&key.around())
        {
            tables.push(key.around());
        }
    }
    tables
}

/// One row for tables that have the keys of `original` again: key by key they would hide the rest of the page.
fn row_of_tables(tables: &[&str], original: &str) -> String {
    let names: Vec<String> = tables.iter().map(|table| format!("`[{table}]`")).collect();
    format!(
        "| {} | tables with the keys of `[{original}]` | each key that of `[{original}]` | {} |\n",
        names.join(", "),
        keys::retry::ON_DOC,
    )
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
        Kind::TextLists { .. } => {
            let items = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
            json!({ "type": "array", "items": items, "minItems": 1 })
        }
        Kind::Choice { words } => json!({ "enum": words, "default": words.first() }),
        Kind::Whole {
            min, max, default, ..
        } => {
            json!({ "type": "integer", "minimum": min, "maximum": max, "default": default })
        }
        Kind::Wholes { min, max, .. } => {
            let items = json!({ "type": "integer", "minimum": min, "maximum": max });
            json!({ "type": "array", "items": items, "minItems": 1 })
        }
        Kind::Real { min, max, default } => {
            json!({ "type": "number", "minimum": min, "maximum": max, "default": default })
        }
        Kind::Flag { default } => json!({ "type": "boolean", "default": default }),
        Kind::Table { clients } => settings_schema(clients),
        Kind::Arguments => json!({ "type": "object" }),
        Kind::Rows { keys } => json!({ "type": "array", "items": table_schema(keys, "") }),
        Kind::Named { keys } => {
            json!({ "type": "object", "additionalProperties": table_schema(keys, "") })
        }
        Kind::Like { key } => value_schema(key),
    };
    if let Value::Object(object) = &mut schema {
        let has_default = object.get("default").is_some_and(|value| !value.is_null());
        if !has_default || matches!(key.kind, Kind::Like { .. }) {
            object.remove("default");
        }
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
        Kind::Whole { unit, .. } | Kind::Wholes { unit, .. } => format!("{text} In {unit}."),
        Kind::Text { default, .. } if !default.is_empty() => {
            format!("{text} Default: {}.", default.replace('`', ""))
        }
        Kind::Like { key: other } => {
            let default = key.kind.default_text().replace('`', "");
            format!("{} Default: {default}.", description(other))
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
        compare_or_update("OPERATIONS.md", "live", &live_markdown());
        compare_or_update("OPERATIONS.md", "tenant", &tenant_markdown());
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
    fn a_key_of_a_kind_of_failures_has_the_range_of_the_key_that_it_follows() {
        let schema = json_schema();
        let retry = schema.pointer("/properties/retry/properties").unwrap();
        assert_eq!(
            retry["on"]["properties"]["trap"]["properties"]["jitter"],
            json!({
                "type": "number", "minimum": 0.0, "maximum": 1.0,
                "description": "Part of each wait that is left to chance, so that records that failed together do not \
                                return together. Default: that of retry.jitter.",
            })
        );
        assert_eq!(retry["jitter"]["default"], json!(0.2));
        assert!(retry["max-age-ms"].get("default").is_none());
        assert_eq!(
            retry["delays-ms"]["items"],
            json!({ "type": "integer", "minimum": 0, "maximum": 86_400_000 })
        );
        let rule = schema.pointer("/properties/retry/then").unwrap();
        assert_eq!(rule, &json!({ "required": ["delays-ms"] }));
    }

    #[test]
    fn the_table_has_a_row_of_four_cells_for_every_key() {
        for (table, keys) in [
            (markdown(), keys::KEYS),
            (settings_markdown(), settings::KEYS),
        ] {
            let rows: Vec<&str> = table.lines().skip(2).collect();
            let mut left = rows.iter();
            for key in keys {
                if let Kind::Like { .. } = key.kind {
                    let table = format!("`[{}]`", key.around());
                    let shown = rows.iter().filter(|row| row.contains(&table)).count();
                    assert_eq!(shown, 1, "{table}");
                } else {
                    let start = format!("| `{}` | ", key.path);
                    assert!(left.any(|row| row.starts_with(&start)), "{start}");
                }
            }
            for row in rows {
                assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
            }
        }
    }
}
