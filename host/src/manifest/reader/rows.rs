//! Lists of tables, and tables by name.
//!
//! **Invariant:** each table is read by its own keys, and what is wrong in it is named with its place in the list or its name.

use std::mem;

use toml::Spanned;
use toml::de::DeValue;

use super::Reader;
use crate::manifest::found::found;
use crate::manifest::key::{Key, Kind};

impl<'t> Reader<'t> {
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
            self.inner_table(keys, &place, item, |reader| read(reader, offset));
        }
    }

    /// Reads tables by name, each by `read`, which is handed the name and the byte of the file where it stands.
    pub(crate) fn each_named(
        &mut self,
        key: &'static Key,
        mut read: impl FnMut(&mut Self, &str, usize),
    ) {
        let Kind::Named { keys } = key.kind else {
            return;
        };
        let value = self.root.remove(key.path).map(Spanned::into_inner);
        // That something else is there was told before.
        let Some(DeValue::Table(tables)) = value else {
            return;
        };
        for (name, item) in tables {
            let offset = name.span().start;
            let place = format!("{}{}.{}", self.place, key.path, name.get_ref());
            self.inner_table(keys, &place, item, |reader| {
                read(reader, name.get_ref(), offset);
            });
        }
    }

    /// Reads one of them by its own keys.
    fn inner_table(
        &mut self,
        keys: &'static [&'static Key],
        place: &str,
        item: Spanned<DeValue<'t>>,
        read: impl FnOnce(&mut Self),
    ) {
        let offset = item.span().start;
        match item.into_inner() {
            DeValue::Table(table) => {
                let outer_keys = mem::replace(&mut self.keys, keys);
                let outer_place = mem::replace(&mut self.place, format!("{place}."));
                self.refuse_unknown(&table, "");
                let outer = mem::replace(&mut self.root, table);
                read(self);
                self.root = outer;
                self.place = outer_place;
                self.keys = outer_keys;
            }
            other => {
                let what = format!("{place}: expected a table, found {}", found(&other));
                self.problems.add(self.text, Some(offset), place, what);
            }
        }
    }
}
