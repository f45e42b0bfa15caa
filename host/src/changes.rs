//! What changes with a new revision of a handler, in words for its operator.
//!
//! Handed what a revision consists of, gives a [`Face`]; two of them give the list of differences.
//! **Invariant:** of texts for components and settings of clients only the names are told: some are passwords.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::secrets::HIDDEN;

/// The tables of a manifest that hold what may be secret.
const SECRET: [&str; 2] = ["config", "kafka"];

/// What stands around a date of TOML where there are none, as in JSON.
const DATE: &str = "$__toml_private_datetime";

/// What can be seen of a revision from outside: keys of its manifest, hooks, imports, code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Face(BTreeMap<String, Trait>);

#[derive(Clone, PartialEq, Eq)]
enum Trait {
    /// It is there or not.
    Present,
    /// A value for all to see.
    Shown(String),
    /// A value of which it is told only that it changed.
    Hidden(String),
}

impl fmt::Debug for Trait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "is there",
            Self::Shown(text) => text,
            Self::Hidden(_) => HIDDEN,
        })
    }
}

impl Face {
    /// Reads the keys of a manifest that is valid.
    pub fn of_manifest(text: &str) -> Self {
        let mut face = Self::default();
        if let Ok(table) = toml::from_str::<Value>(text) {
            face.add(String::new(), &table, false);
        }
        face
    }

    /// Adds things of a kind, such as hooks.
    #[must_use]
    pub fn with<'a>(mut self, kind: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter();
        self.0
            .extend(names.map(|name| (format!("{kind} {name}"), Trait::Present)));
        self
    }

    /// Adds something that is known by its digest.
    #[must_use]
    pub fn with_digest(mut self, name: &str, digest: &str) -> Self {
        self.0
            .insert(name.to_owned(), Trait::Hidden(digest.to_owned()));
        self
    }

    /// Returns whether both have the same things of a kind.
    pub fn has_same(&self, kind: &str, other: &Self) -> bool {
        let of_kind = |(name, _): &(&String, &Trait)| {
            let rest = name.strip_prefix(kind);
            rest.is_some_and(|rest| rest.starts_with(' '))
        };
        let (own, theirs) = (self.0.iter(), other.0.iter());
        own.filter(of_kind).eq(theirs.filter(of_kind))
    }

    /// Lists what is new here against `old`, what is gone and what differs, in the order of the names.
    pub fn since(&self, old: &Self) -> Vec<String> {
        let gone = old.0.keys().filter(|name| !self.0.contains_key(*name));
        let mut names: Vec<&String> = self.0.keys().chain(gone).collect();
        names.sort();
        let told = |name: &String| match (old.0.get(name), self.0.get(name)) {
            (None, Some(Trait::Shown(new))) => Some(format!("+{name} = {new}")),
            (None, _) => Some(format!("+{name}")),
            (_, None) => Some(format!("-{name}")),
            (Some(old), Some(new)) if old == new => None,
            (Some(Trait::Shown(old)), Some(Trait::Shown(new))) => {
                Some(format!("{name}: {old} → {new}"))
            }
            _ => Some(format!("{name}: changed")),
        };
        names.into_iter().filter_map(told).collect()
    }

    /// Lists the names of what differs, in their order.
    pub fn differing<'a>(&'a self, old: &'a Self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self
            .0
            .keys()
            .chain(old.0.keys())
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| self.0.get(*name) != old.0.get(*name));
        names
    }

    fn add(&mut self, path: String, value: &Value, is_secret: bool) {
        match value.get(DATE).unwrap_or(value) {
            Value::Object(table) => {
                for (key, value) in table {
                    let is_secret = is_secret || SECRET.contains(&key.as_str());
                    let dot = if path.is_empty() { "" } else { "." };
                    self.add(format!("{path}{dot}{key}"), value, is_secret);
                }
            }
            Value::Array(rows) if rows.iter().any(Value::is_object) => {
                for (at, row) in rows.iter().enumerate() {
                    self.add(format!("{path}[{at}]"), row, is_secret);
                }
            }
            other => {
                let text = other.to_string();
                let of = if is_secret {
                    Trait::Hidden
                } else {
                    Trait::Shown
                };
                self.0.insert(path, of(text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "topics = [\"orders\"]\nlimits.deadline-ms = 100\nconfig.password = \"old\"\n\
                       [[middleware]]\ncomponent = \"a.wasm\"\nconfig.key = \"old\"\n";

    #[test]
    fn what_is_new_gone_or_different_is_told_and_no_secret() {
        let old = Face::of_manifest(OLD)
            .with("hook", ["on-message", "on-error"])
            .with("import", ["wasi:logging"])
            .with_digest("code", "1");
        let new = "topics = [\"orders\", \"more\"]\nretry.max-attempts = 3\nconfig.password = \"new\"\n\
                   kafka.producer.\"sasl.password\" = \"secret\"\n\
                   [[middleware]]\ncomponent = \"a.wasm\"\nconfig.key = \"new\"\n[[middleware]]\ncomponent = \"b.wasm\"\n";
        let new = Face::of_manifest(new)
            .with("hook", ["on-message", "on-bulk"])
            .with("import", ["wasi:logging"])
            .with_digest("code", "2");
        assert_eq!(
            new.since(&old),
            [
                "code: changed",
                "config.password: changed",
                "+hook on-bulk",
                "-hook on-error",
                "+kafka.producer.sasl.password",
                "-limits.deadline-ms",
                "middleware[0].config.key: changed",
                "+middleware[1].component = \"b.wasm\"",
                "+retry.max-attempts = 3",
                "topics: [\"orders\"] → [\"orders\",\"more\"]",
            ]
        );
    }

    #[test]
    fn things_of_a_kind_are_the_same_by_name_and_value() {
        let face = |grant: &str, digest: &str, hook: &str| {
            let face = Face::default().with("tenant's", [grant]);
            let face = face.with("hook", [hook]);
            face.with_digest("tenant's kafka.sasl.password", digest)
        };
        let one = face("produce a", "1", "on-message");
        assert!(one.has_same("tenant's", &face("produce a", "1", "on-error")));
        assert!(!one.has_same("tenant's", &face("produce b", "1", "on-message")));
        assert!(!one.has_same("tenant's", &face("produce a", "2", "on-message")));
        assert!(!one.has_same("tenant's", &Face::default()));
    }

    #[test]
    fn a_date_is_told_as_it_was_written() {
        let new = Face::of_manifest("start = 2026-01-31T00:00:00Z");
        assert_eq!(
            new.since(&Face::default()),
            ["+start = \"2026-01-31T00:00:00Z\""]
        );
    }

    proptest! {
        #[test]
        fn as_much_is_told_on_the_way_there_as_back(
            old in proptest::collection::btree_map("[a-c]{1,2}", 0..3, 0..5),
            new in proptest::collection::btree_map("[a-c]{1,2}", 0..3, 0..5),
        ) {
            let face = |keys: &BTreeMap<String, i32>| {
                let lines: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                Face::of_manifest(&lines.join("\n"))
            };
            let (old_face, new_face) = (face(&old), face(&new));
            let there = new_face.since(&old_face);
            prop_assert_eq!(there.len(), old_face.since(&new_face).len());
            prop_assert_eq!(there.is_empty(), old == new);
            prop_assert_eq!(there.len(), new_face.differing(&old_face).len());
        }
    }
}
