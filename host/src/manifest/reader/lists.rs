//! Lists of lists.
//!
//! **Invariant:** in what leaves this file no list is empty and nothing stands twice.

use std::fmt::Display;
use std::str::FromStr;

use toml::de::DeValue;

use super::Reader;
use crate::manifest::found::found;
use crate::manifest::key::Key;

impl Reader<'_> {
    /// Reads a list of lists of texts as `T`s; refuses empty lists and repetitions.
    pub(crate) fn parsed_lists<T>(&mut self, key: &'static Key) -> Option<Vec<Vec<T>>>
    where
        T: FromStr<Err: Display> + PartialEq + Display,
    {
        self.items(key, |item, before: &[Vec<T>]| {
            let Some(texts) = item.as_array() else {
                return Err(format!("expected a list, found {}", found(item)));
            };
            if texts.is_empty() {
                return Err("the list is empty".to_owned());
            }
            let mut list = Vec::new();
            for text in texts {
                let value = parsed(text.get_ref())?;
                if list.contains(&value) || before.iter().flatten().any(|other| *other == value) {
                    return Err(format!("{value} is named twice"));
                }
                list.push(value);
            }
            Ok(list)
        })
    }
}

/// Parses an item that has to be a text.
pub(super) fn parsed<T: FromStr<Err: Display>>(text: &DeValue<'_>) -> Result<T, String> {
    match text.as_str() {
        Some(text) => text.parse().map_err(|error: T::Err| error.to_string()),
        None => Err(format!("expected a text, found {}", found(text))),
    }
}
