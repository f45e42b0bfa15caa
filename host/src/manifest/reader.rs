//! Reads TOML by a table of keys and collects everything that is wrong with it.
//!
//! Handed a text and the table, gives values of the kinds that the table promises; whoever builds a manifest or
//! settings asks for them key by key.
//! **Invariant:** a value that leaves this file is within the range of its key, or a problem was noted.

mod arguments;
mod lists;
mod names;
mod rows;
mod tables;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::manifest::found::found;
use crate::manifest::kafka::ValueCheck;
use crate::manifest::key::{Key, Kind};
use crate::manifest::problem::{Problem, Problems, closest, line_of, slip};
use crate::prefix::TopicPrefix;

/// Keys that are of a tenant's table in host.toml and of no other file.
const OF_OPERATOR: [&str; 1] = ["trusted"];

/// A parsed file, its table of keys, and what was found wrong so far.
pub(crate) struct Reader<'t> {
    text: &'t str,
    root: DeTable<'t>,
    keys: &'static [&'static Key],
    check_value: ValueCheck,
    problems: Problems,
    /// What names of topics and groups begin with.
    prefix: TopicPrefix,
    /// Where the table stands that is being read, such as `response[0].`; empty for the file itself.
    place: String,
}

/// A text of the file and where it stands.
pub(crate) struct Text {
    /// The text.
    pub(crate) text: String,
    /// Byte of the file where its value begins.
    pub(crate) offset: usize,
}

impl<'t> Reader<'t> {
    /// Parses `text`; where it is no TOML, the errors of the syntax are the only problems.
    pub(crate) fn new(
        text: &'t str,
        keys: &'static [&'static Key],
        check_value: ValueCheck,
    ) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut problems = Problems::default();
        let mut last_line = 0;
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            // What follows on the same line is mostly a consequence.
            if line_of(text, offset) != last_line {
                last_line = line_of(text, offset);
                let message = error.message().replace('\n', " ");
                problems.add(text, Some(offset), "", format!("not TOML: {message}"));
            }
        }
        if !problems.is_empty() {
            return Err(problems.in_order());
        }
        let mut reader = Self {
            text,
            root: DeTable::new(),
            keys,
            check_value,
            problems,
            prefix: TopicPrefix::default(),
            place: String::new(),
        };
        let root = root.into_inner();
        reader.refuse_unknown(&root, "");
        reader.root = root;
        Ok(reader)
    }

    /// Has names of topics and groups begin with a prefix.
    pub(crate) fn within(mut self, prefix: &TopicPrefix) -> Self {
        self.prefix = prefix.clone();
        self
    }

    /// Returns `value` where nothing is wrong, else all problems in the order of the file.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems.in_order()),
        }
    }

    /// Notes a problem of a key: at a byte of the file, or `None` where something is missing.
    pub(crate) fn problem(&mut self, key: &Key, offset: Option<usize>, what: &str) {
        let path = format!("{}{}", self.place, key.path);
        self.problems
            .add(self.text, offset, &path, format!("{path}: {what}"));
    }

    /// Notes a problem of the table that is being read.
    pub(crate) fn table_problem(&mut self, offset: usize, what: &str) {
        let path = self.place.trim_end_matches('.').to_owned();
        let what = format!("{path}: {what}");
        self.problems.add(self.text, Some(offset), &path, what);
    }

    /// Returns the byte where the value of a key begins, if the file has the key.
    pub(crate) fn offset(&self, key: &Key) -> Option<usize> {
        self.value(key.path).map(|value| value.span().start)
    }

    /// Returns the line of a byte, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        line_of(self.text, offset)
    }

    /// Returns whether the file has the table, be it empty.
    pub(crate) fn has_table(&self, path: &str) -> bool {
        self.value(path)
            .is_some_and(|value| value.get_ref().is_table())
    }

    /// Reads a text, with where it stands.
    pub(crate) fn text(&mut self, key: &'static Key) -> Option<Text> {
        let value = self.value(key.path)?;
        let (offset, text) = (
            value.span().start,
            value.get_ref().as_str().map(str::to_owned),
        );
        if text.is_none() {
            self.mismatch(key, "");
        }
        text.map(|text| Text { text, offset })
    }

    /// Reads a text, or a date of TOML as the text that it was written as.
    pub(crate) fn text_or_date(&mut self, key: &'static Key) -> Option<Text> {
        let value = self.value(key.path)?;
        match value.get_ref() {
            DeValue::Datetime(date) => Some(Text {
                text: date.to_string(),
                offset: value.span().start,
            }),
            _ => self.text(key),
        }
    }

    /// Reads a text as `T`, with the reasons of its `FromStr`.
    pub(crate) fn parsed<T>(&mut self, key: &'static Key) -> Option<T>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let Text { text, offset } = self.text(key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(key, Some(offset), &error.to_string());
                None
            }
        }
    }

    /// Reads a list of texts as `T`s; refuses an empty list and repetitions.
    pub(crate) fn parsed_list<T>(&mut self, key: &'static Key) -> Option<Vec<T>>
    where
        T: std::str::FromStr<Err: std::fmt::Display> + PartialEq + std::fmt::Display,
    {
        self.items(key, |item, list: &[T]| {
            let value = lists::parsed(item)?;
            if list.contains(&value) {
                return Err(format!("{value} is in the list twice"));
            }
            Ok(value)
        })
    }

    /// Reads a list of whole numbers; refuses an empty list.
    pub(crate) fn wholes(&mut self, key: &'static Key) -> Option<Vec<u64>> {
        let Kind::Wholes { unit, min, max, .. } = *key.kind.held() else {
            return None;
        };
        self.items(key, |item, _| {
            whole_in(item, min, max).ok_or_else(|| {
                format!(
                    "expected a whole number of {unit} from {min} to {max}, found {}",
                    found(item)
                )
            })
        })
    }

    /// Reads a list by its items; `read` is handed each with those before it, and says what is wrong with it.
    fn items<T>(
        &mut self,
        key: &'static Key,
        read: impl Fn(&DeValue<'t>, &[T]) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.value(key.path)?;
        let offset = value.span().start;
        let Some(items) = value.get_ref().as_array() else {
            self.mismatch(key, "");
            return None;
        };
        let (mut list, mut wrong) = (Vec::new(), Vec::new());
        for (at, item) in items.iter().enumerate() {
            match read(item.get_ref(), &list) {
                Ok(value) => list.push(value),
                Err(fault) => {
                    wrong.push((item.span().start, format!("{}[{at}]: {fault}", key.path)));
                }
            }
        }
        if items.is_empty() {
            let (path, expected) = (key.path, key.kind.expected());
            let what = format!("{path}: the list is empty, expected {expected}");
            wrong.push((offset, what));
        }
        let fine = wrong.is_empty();
        for (offset, what) in wrong {
            self.problems.add(self.text, Some(offset), key.path, what);
        }
        fine.then_some(list)
    }

    /// Reads one of the words of the key.
    pub(crate) fn choice(&mut self, key: &'static Key) -> Option<&'static str> {
        let Kind::Choice { words } = *key.kind.held() else {
            return None;
        };
        let value = self.value(key.path)?.get_ref();
        let word = words
            .iter()
            .find(|word| value.as_str() == Some(word))
            .copied();
        if word.is_none() {
            let near = value
                .as_str()
                .and_then(|text| closest(text, words.iter().copied()));
            let hint = near
                .map(|near| format!(" (did you mean \"{near}\"?)"))
                .unwrap_or_default();
            self.mismatch(key, &hint);
        }
        word
    }

    /// Reads a whole number, or takes its default.
    pub(crate) fn whole(&mut self, key: &'static Key) -> u64 {
        let Kind::Whole { min, default, .. } = key.kind else {
            return 0;
        };
        self.whole_given(key).or(default).unwrap_or(min)
    }

    /// Reads a whole number that may be left out.
    pub(crate) fn whole_given(&mut self, key: &'static Key) -> Option<u64> {
        let Kind::Whole { min, max, .. } = *key.kind.held() else {
            return None;
        };
        let number = whole_in(self.value(key.path)?.get_ref(), min, max);
        if number.is_none() {
            self.mismatch(key, "");
        }
        number
    }

    /// Reads a number with or without a fraction that may be left out.
    pub(crate) fn real_given(&mut self, key: &'static Key) -> Option<f64> {
        let Kind::Real { min, max, .. } = *key.kind.held() else {
            return None;
        };
        let number = match self.value(key.path)?.get_ref() {
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse::<f64>().ok(),
            _ => None,
        };
        // NaN is in no range.
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.mismatch(key, "");
        }
        number
    }

    /// Reads `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static Key) -> Option<bool> {
        let flag = self.value(key.path)?.get_ref().as_bool();
        if flag.is_none() {
            self.mismatch(key, "");
        }
        flag
    }

    fn value(&self, path: &str) -> Option<&Spanned<DeValue<'t>>> {
        let mut table = &self.root;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let value = table.get(part)?;
            if parts.peek().is_none() {
                return Some(value);
            }
            table = value.get_ref().as_table()?;
        }
        None
    }

    /// Notes that something else was expected than what the file has.
    pub(crate) fn mismatch(&mut self, key: &Key, hint: &str) {
        let Some(value) = self.value(key.path) else {
            return;
        };
        let (offset, found) = (value.span().start, found(value.get_ref()));
        self.problem(
            key,
            Some(offset),
            &format!("expected {}, found {found}{hint}", key.kind.expected()),
        );
    }

    /// Notes every key that the table of keys does not have, and every value where a table is expected.
    fn refuse_unknown(&mut self, table: &DeTable<'t>, around: &str) {
        for (name, value) in table {
            let path = if around.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{around}.{}", name.get_ref())
            };
            let key = self.keys.iter().find(|key| key.path == path);
            let is_table = key.is_some_and(|key| {
                matches!(
                    key.kind,
                    Kind::Table { .. } | Kind::Arguments | Kind::Named { .. }
                )
            });
            let is_around = self.keys.iter().any(|key| key.within(&path).is_some());
            match value.get_ref() {
                // A name with a dot is quoted in the file and no path.
                _ if name.get_ref().contains('.') || (key.is_none() && !is_around) => {
                    self.unknown(name.span().start, &path, around);
                }
                DeValue::Table(inner) if is_around => self.refuse_unknown(inner, &path),
                DeValue::Table(_) => {}
                other if is_around || is_table => {
                    let place = &self.place;
                    let found = found(other);
                    let what = format!("{place}{path}: expected a table, [{path}], found {found}");
                    self.problems
                        .add(self.text, Some(value.span().start), &path, what);
                }
                _ => {}
            }
        }
    }

    fn unknown(&mut self, offset: usize, path: &str, around: &str) {
        let hint = match self.meant(path, around) {
            _ if OF_OPERATOR.contains(&path) => {
                format!("whoever runs the host says that, in host.toml: [tenants.NAME] {path}")
            }
            Some(near) if near == path => "write it without the quotes".to_owned(),
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("known here: {}", self.siblings(around).join(", ")),
        };
        let path = format!("{}{path}", self.place);
        let what = format!("unknown key {path:?} ({hint})");
        self.problems.add(self.text, Some(offset), &path, what);
    }

    /// Returns the path that was probably meant: a name in the same table of which one letter is wrong, else the very name in
    /// another one, else a near one in the same.
    fn meant(&self, path: &str, around: &str) -> Option<String> {
        let name = path
            .strip_prefix(around)
            .map_or(path, |name| name.trim_start_matches('.'));
        // A path in quotes is a name for TOML.
        if self.keys.iter().any(|key| key.path == path) {
            return Some(path.to_owned());
        }
        let own = name.to_lowercase().replace('_', "-");
        let siblings = self.siblings(around);
        let here = |near: &str| match around {
            "" => near.to_owned(),
            _ => format!("{around}.{near}"),
        };
        if let Some(slip) = slip(&own, siblings.iter().copied()) {
            return Some(here(slip));
        }
        if let Some(elsewhere) = self.keys.iter().find(|key| key.name() == own) {
            return Some(elsewhere.path.to_owned());
        }
        let near = closest(name, siblings.iter().copied()).map(here);
        near.or_else(|| self.further_in(&own, around).map(str::to_owned))
    }

    /// Returns the table of this name that is further in than was written: `[retry.on.trap]` for `[retry.trap]`.
    fn further_in(&self, name: &str, around: &str) -> Option<&'static str> {
        let end = format!(".{name}");
        let keys = self.keys.iter().filter(|_| !around.is_empty());
        keys.filter(|key| key.within(around).is_some())
            .map(|key| key.around())
            .find(|table| table.ends_with(&end))
    }

    /// Returns the names that may stand in a table, once each.
    fn siblings(&self, around: &str) -> Vec<&'static str> {
        let mut names = Vec::new();
        for key in self.keys {
            let name = key.within(around).and_then(|rest| rest.split('.').next());
            if let Some(name) = name.filter(|name| !names.contains(name)) {
                names.push(name);
            }
        }
        names
    }
}

/// Returns the number that a value is, if it is whole and in the range.
fn whole_in(value: &DeValue<'_>, min: u64, max: u64) -> Option<u64> {
    let number = match value {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    };
    number.filter(|number| (min..=max).contains(number))
}
