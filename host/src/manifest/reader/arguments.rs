//! Tables of any values, as JSON.
//!
//! **Invariant:** what leaves this file is what the table says, or a problem was noted.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::Reader;
use crate::manifest::found::found;
use crate::manifest::key::Key;

/// A value that JSON does not have.
struct Misfit {
    /// Its name with the tables around it.
    name: String,
    offset: usize,
    found: String,
}

impl Reader<'_> {
    /// Reads a table of any values; an empty one where there is none.
    pub(crate) fn arguments(&mut self, key: &'static Key) -> Map<String, Value> {
        let Some(DeValue::Table(table)) = self.value(key.path).map(Spanned::get_ref) else {
            return Map::new();
        };
        match object(table, "") {
            Ok(arguments) => arguments,
            Err(Misfit {
                name,
                offset,
                found,
            }) => {
                let what = format!("expected a value that JSON has, found {found}");
                self.entry_problem(key, &name, offset, &what);
                Map::new()
            }
        }
    }
}

fn object(table: &DeTable<'_>, around: &str) -> Result<Map<String, Value>, Misfit> {
    let entry = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = name.get_ref();
        let json = json(value, &format!("{around}{name}"))?;
        Ok((name.to_string(), json))
    };
    table.iter().map(entry).collect()
}

fn json(value: &Spanned<DeValue<'_>>, name: &str) -> Result<Value, Misfit> {
    let misfit = || Misfit {
        name: name.to_owned(),
        offset: value.span().start,
        found: found(value.get_ref()),
    };
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Integer(number) => Value::from(whole(number).ok_or_else(misfit)?),
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(Number::from_f64);
            Value::from(number.ok_or_else(misfit)?)
        }
        DeValue::Array(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(place, item)| json(item, &format!("{name}[{place}]")));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(inner) => Value::Object(object(inner, &format!("{name}."))?),
    })
}

fn whole(number: &DeInteger<'_>) -> Option<Number> {
    let (text, radix) = (number.as_str(), number.radix());
    let signed = i64::from_str_radix(text, radix).ok().map(Number::from);
    signed.or_else(|| u64::from_str_radix(text, radix).ok().map(Number::from))
}
