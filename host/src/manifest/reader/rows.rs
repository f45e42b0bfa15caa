//! Lists of tables.
//!
//! **Invariant:** each table is read by its own keys, and what is wrong in it is named with its place in the list.

use std::mem;

use toml::Spanned;
use toml::de::DeValue;

use super::Reader;
use crate::manifest::found::found;
use crate::manifest::key::{Key, Kind};

impl Reader<'_> {
    /// Reads a list of tables, each by `read`, which is handed the byte of the file where the table begins.
    pub(crate) fn each_row(&mut self, key: &'static Key, mut read: impl FnMut(&mut Self, usize)) {
        let Kind::Rows { keys } = key.kind else {
            return;
        };
        if let Some(value) = self.value(key.path)
            && !value.get_ref().is_array()
        {
            return self.mismatch(key, &format!(" (write [[{}]])", key.path));
        }
        let value = self.root.remove(key.path).map(Spanned::into_inner);
        let Some(DeValue::Array(items)) = value else {
            return;
        };
        for (at, item) in items.into_iter().enumerate() {
            let offset = item.span().start;
            let place = format!("{}{}[{at}]", self.place, key.path);
            match item.into_inner() {
                DeValue::Table(table) => {
                    let outer_keys = mem::replace(&mut self.keys, keys);
                    let outer_place = mem::replace(&mut self.place, format!("{place}."));
                    self.refuse_unknown(&table, "");
                    let outer = mem::replace(&mut self.root, table);
                    read(self, offset);
                    self.root = outer;
                    self.place = outer_place;
                    self.keys = outer_keys;
                }
                other => {
                    let what = format!("{place}: expected a table, found {}", found(&other));
                    self.problems.add(self.text, Some(offset), &place, what);
                }
            }
        }
    }
}
