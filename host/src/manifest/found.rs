//! Values as they stand in a file: as text for settings, in words for messages.
//!
//! Handed parsed TOML, gives names, places and texts.
//! **Invariant:** a message never repeats more than the beginning of a text.

use toml::de::{DeTable, DeValue};

use crate::secrets::Secret;

/// Characters of a found text that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;
/// What a text has in place of a value that comes from the environment.
const ENV: &str = "env";
/// And from a file.
const FILE: &str = "file";

/// What an entry of a table says.
pub(super) enum Stated {
    /// A text, or what can be written as one.
    Text(String),
    /// Where the text comes from.
    Secret(Secret),
    /// A name of a text that is none; why.
    Wrong(String),
    /// Something else; what.
    Other(String),
}

/// The entries of a table and of the tables within it: name with dots, offset, and what they say.
pub(super) struct Flat<'t> {
    /// In the order of the file.
    pub(super) found: Vec<(String, usize, Stated)>,
    /// The file, where values may be said by name.
    source: Option<&'t str>,
}

impl<'t> Flat<'t> {
    /// Makes an empty one; `source` is the file, where values may be said by name.
    pub(super) fn of(source: Option<&'t str>) -> Self {
        Self {
            found: Vec::new(),
            source,
        }
    }

    /// Adds what is in `table`, with `around` before the names.
    pub(super) fn add(&mut self, table: &DeTable<'_>, around: &str) {
        for (name, value) in table {
            let name = format!("{around}{}", name.get_ref());
            let stated = match value.get_ref() {
                DeValue::Table(inner) if self.is_name(inner, value.span().start) => secret(inner),
                DeValue::Table(inner) => {
                    self.add(inner, &format!("{name}."));
                    continue;
                }
                other => plain(other),
            };
            self.found.push((name, value.span().start, stated));
        }
        self.found.sort_by_key(|(_, offset, _)| *offset);
    }

    /// Returns whether a table names a text. It has to stand in braces: `config.db.file = "x"` is the text of `db.file`.
    fn is_name(&self, table: &DeTable<'_>, start: usize) -> bool {
        let braced = self
            .source
            .is_some_and(|source| source.as_bytes().get(start) == Some(&b'{'));
        braced && (table.contains_key(ENV) || table.contains_key(FILE))
    }
}

fn plain(value: &DeValue<'_>) -> Stated {
    match value {
        DeValue::String(text) => Stated::Text(text.to_string()),
        DeValue::Boolean(flag) => Stated::Text(flag.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => {
            Stated::Text(number.as_str().trim_start_matches('+').to_owned())
        }
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(
                |_| Stated::Other("a number that is too large".to_owned()),
                |number| Stated::Text(number.to_string()),
            ),
        DeValue::Float(number) => Stated::Text(number.as_str().trim_start_matches('+').to_owned()),
        other => Stated::Other(found(other)),
    }
}

/// Reads the name of a text.
fn secret(table: &DeTable<'_>) -> Stated {
    let name = |key| table.get(key).and_then(|value| value.get_ref().as_str());
    let secret = match (name(ENV), name(FILE)) {
        (Some(name), None) if table.len() == 1 => Secret::env(name),
        (None, Some(name)) if table.len() == 1 => Secret::file(name),
        _ => {
            return Stated::Wrong(
                "expected one name in the braces, { env = \"NAME\" } or { file = \"NAME\" }"
                    .to_owned(),
            );
        }
    };
    secret.map_or_else(|error| Stated::Wrong(error.to_string()), Stated::Secret)
}

/// Says what a value is, for messages.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > SHOWN_CHARS_MAX => {
            let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            format!("the text {:?}", format!("{shown}…"))
        }
        DeValue::String(text) => format!("the text {:?}", text.as_ref()),
        DeValue::Integer(number) => match number.radix() {
            2 => format!("0b{}", number.as_str()),
            8 => format!("0o{}", number.as_str()),
            16 => format!("0x{}", number.as_str()),
            _ => number.as_str().to_owned(),
        },
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
