//! What a host.toml says, key by key, to be compared with what it said before.
//!
//! Handed a text that was read without a problem, gives each key that is in it with its value as TOML has it; of tables with any
//! keys each entry for itself.
//! **Invariant:** what may be a secret is marked as such.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{TURNS, response};
use crate::manifest::Kind;
use crate::reload::{Said, Value};

/// See the module. What cannot be read says nothing.
pub fn said(text: &str) -> Said {
    let mut found = BTreeMap::new();
    let (root, _) = DeTable::parse_recoverable(text);
    for (key, turn) in TURNS {
        let Some(value) = find(root.get_ref(), key.path) else {
            continue;
        };
        let is_secret = matches!(key.kind, Kind::Table { .. }) || key.path == response::STORE.path;
        flatten(key.path, value, &mut |path, text| {
            let value = Value {
                text,
                turn: *turn,
                is_secret,
            };
            found.insert(path, value);
        });
    }
    Said::new(found)
}

fn find<'a, 't>(root: &'a DeTable<'t>, path: &str) -> Option<&'a DeValue<'t>> {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(a, b)| (a, Some(b)));
    let value = root.get(first)?.get_ref();
    match rest {
        None => Some(value),
        Some(rest) => find(value.as_table()?, rest),
    }
}

fn flatten(path: &str, value: &DeValue<'_>, add: &mut impl FnMut(String, String)) {
    match value {
        DeValue::Table(table) => {
            for (name, value) in table {
                flatten(&format!("{path}.{}", name.get_ref()), value.get_ref(), add);
            }
        }
        other => add(path.to_owned(), text(other)),
    }
}

fn text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| text(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        // In a list, such as the keys of those who sign.
        DeValue::Table(table) => {
            let entry = |(name, value): (&Spanned<_>, &Spanned<_>)| {
                format!("{} = {}", name.get_ref(), text(value.get_ref()))
            };
            let entries: Vec<String> = table.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::Plan;

    fn lines(old: &str, new: &str) -> Vec<String> {
        let plan = Plan::of(&said(old), &said(new), &[]);
        plan.lines()
    }

    #[test]
    fn each_key_that_differs_is_told_with_its_values() {
        let old = "brokers = \"a:1\"\nlog = \"info\"\nonly = [\"a\"]\nwatchdog.action = \"exit\"\nstrict = true";
        let new = "brokers = \"b:1\"\nlog = \"debug\"\nonly = [\"a\", \"b\"]\n[watchdog]\naction = \"exit\"";
        assert_eq!(
            lines(old, new),
            [
                "log: changed from \"info\" to \"debug\"",
                "brokers: changed from \"a:1\" to \"b:1\"; needs a restart",
                "only: changed from [\"a\"] to [\"a\", \"b\"]; needs a restart",
                "strict: changed from true to its default; needs a restart",
            ]
        );
    }

    #[test]
    fn tables_of_a_list_are_compared_by_what_is_in_them() {
        let trust = |key: &str| format!("[[trust]]\npublic-key = \"{key}\"\ntenants = [\"a\"]");
        assert_eq!(
            lines(&trust("k"), &trust("l")),
            [
                "trust: changed from [{ public-key = \"k\", tenants = [\"a\"] }] to [{ public-key = \"l\", tenants = [\"a\"] }]"
            ]
        );
        assert_eq!(lines(&trust("k"), &trust("k")), Vec::<String>::new());
    }

    #[test]
    fn values_that_may_be_secrets_are_not_told() {
        let old = "response.store = \"redis://:hunter2@r\"\n[kafka]\nsasl.password = \"hunter2\"";
        let new = "response.store = \"redis://:hunter3@r\"\n[kafka]\nsasl.password = \"hunter3\"\n\"linger.ms\" = 5";
        assert_eq!(
            lines(old, new),
            [
                "kafka.linger.ms: changed (its value is not shown); needs a restart",
                "kafka.sasl.password: changed (its value is not shown); needs a restart",
                "response.store: changed (its value is not shown); needs a restart",
            ]
        );
    }

    #[test]
    fn every_key_has_its_turn() {
        let keys: Vec<&str> = TURNS.iter().map(|(key, _)| key.path).collect();
        let expected: Vec<&str> = super::super::KEYS.iter().map(|key| key.path).collect();
        assert_eq!(keys, expected);
    }
}
