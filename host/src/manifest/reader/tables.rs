//! Tables of any keys, as texts.
//!
//! **Invariant:** what leaves this file are texts, settings that their clients may have, and names of secrets that are
//! names, or a problem was noted.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::Reader;
use crate::manifest::found::{Flat, Stated};
use crate::manifest::kafka;
use crate::manifest::key::{Key, Kind};
use crate::secrets::Secrets;

impl Reader<'_> {
    /// Reads a table of any keys as texts.
    ///
    /// Tables within it are names with dots: TOML takes `linger.ms = 5` for `ms` in a table `linger`, librdkafka and
    /// the author mean one name.
    pub(crate) fn table(&mut self, key: &'static Key) -> BTreeMap<String, String> {
        self.any_table(key, false).0
    }

    /// As [`Self::table`], and a value may be said by name: `{ env = "NAME" }` or `{ file = "NAME" }`.
    pub(crate) fn texts(&mut self, key: &'static Key) -> (BTreeMap<String, String>, Secrets) {
        self.any_table(key, true)
    }

    fn any_table(
        &mut self,
        key: &'static Key,
        takes_secrets: bool,
    ) -> (BTreeMap<String, String>, Secrets) {
        let (mut texts, mut secrets) = (BTreeMap::new(), Secrets::new());
        let Kind::Table { clients } = key.kind else {
            return (texts, secrets);
        };
        let mut flat = Flat::of(takes_secrets.then_some(self.text));
        if let Some(DeValue::Table(table)) = self.value(key.path).map(Spanned::get_ref) {
            flat.add(table, "");
        }
        let mut offsets = BTreeMap::new();
        for (name, offset, value) in flat.found {
            let is_known = texts.contains_key(&name) || secrets.contains_key(&name);
            let what = match value {
                Stated::Other(found) => Err(format!(
                    "expected a text, a number, true or false, found {found}"
                )),
                Stated::Wrong(why) => Err(why),
                _ if is_known => Err("is given twice".to_owned()),
                Stated::Text(text) => {
                    let fine = clients.map_or(Ok(()), |clients| {
                        kafka::check(clients, &name, &text)
                            .and_then(|()| (self.check_value)(&name, &text))
                    });
                    texts.insert(name.clone(), text);
                    offsets.insert(name.clone(), offset);
                    fine
                }
                // The value is looked at when it is known.
                Stated::Secret(secret) => {
                    let fine = clients.map_or(Ok(()), |clients| kafka::may_set(clients, &name));
                    secrets.insert(name.clone(), secret);
                    fine
                }
            };
            if let Err(what) = what {
                self.entry_problem(key, &name, offset, &what);
            }
        }
        for (name, what) in clients
            .map(|_| kafka::conflicts(&texts))
            .unwrap_or_default()
        {
            let offset = offsets.get(name).copied().unwrap_or(0);
            self.entry_problem(key, name, offset, &what);
        }
        (texts, secrets)
    }

    pub(super) fn entry_problem(&mut self, key: &Key, name: &str, offset: usize, what: &str) {
        let path = format!("{}{}.{name:?}", self.place, key.path);
        self.problems
            .add(self.text, Some(offset), &path, format!("{path}: {what}"));
    }
}
