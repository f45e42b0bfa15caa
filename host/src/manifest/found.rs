//! Values as they stand in a file: as text for settings, in words for messages.
//!
//! Handed parsed TOML, gives names, places and texts.
//! **Invariant:** a message never repeats more than the beginning of a text.

use toml::de::{DeTable, DeValue};

/// Characters of a found text that a message repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// The entries of a table and of the tables within it: name with dots, offset, and the value as text or what it is.
#[derive(Default)]
pub(super) struct Flat {
    /// In the order of the file.
    pub(super) found: Vec<(String, usize, Result<String, String>)>,
}

impl Flat {
    /// Adds what is in `table`, with `around` before the names.
    pub(super) fn add(&mut self, table: &DeTable<'_>, around: &str) {
        for (name, value) in table {
            let name = format!("{around}{}", name.get_ref());
            let text = match value.get_ref() {
                DeValue::Table(inner) => {
                    self.add(inner, &format!("{name}."));
                    continue;
                }
                DeValue::String(text) => Ok(text.to_string()),
                DeValue::Boolean(flag) => Ok(flag.to_string()),
                DeValue::Integer(number) if number.radix() == 10 => {
                    Ok(number.as_str().trim_start_matches('+').to_owned())
                }
                DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                    .map(|number| number.to_string())
                    .map_err(|_| "a number that is too large".to_owned()),
                DeValue::Float(number) => Ok(number.as_str().trim_start_matches('+').to_owned()),
                other => Err(found(other)),
            };
            self.found.push((name, value.span().start, text));
        }
        self.found.sort_by_key(|(_, offset, _)| *offset);
    }
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
