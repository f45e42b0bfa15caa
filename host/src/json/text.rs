//! One JSON value, as it is written.
//!
//! Handed the text of a value that is checked, reads it when asked for what is in it.
//! **Invariant:** no method takes longer than in proportion to the text, or builds more than the string it returns.

use std::{borrow::Cow, fmt, iter::FusedIterator};

use super::{JsonError, Limits, escape::unescape, scan::Scanner, utf8};

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// The text of one JSON value that is checked, without whitespace around it. Equal where the texts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JsonText<'a> {
    raw: &'a str,
}

impl<'a> JsonText<'a> {
    /// Checks a whole document.
    pub fn parse(document: &'a [u8], limits: Limits) -> Result<Self, JsonError> {
        Self::read(utf8(document, limits)?, limits.depth_max)
    }

    /// Checks a whole document that is known to be UTF-8.
    pub(super) fn read(text: &'a str, depth_max: usize) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text, depth_max);
        scanner.space();
        let start = scanner.at();
        scanner.value()?;
        let end = scanner.at();
        scanner.end()?;
        Ok(Self::checked(scanner.slice(start..end)))
    }

    /// Takes a text that is checked.
    pub(super) fn checked(raw: &'a str) -> Self {
        Self { raw }
    }

    /// Returns the text as it stands in the document.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Returns what the value is.
    pub fn kind(&self) -> Kind {
        match self.raw.bytes().next() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            _ => Kind::Number,
        }
    }

    /// Reads a boolean.
    pub fn as_bool(&self) -> Result<bool, JsonError> {
        self.want(self.kind() == Kind::Bool, "a boolean")?;
        Ok(self.raw == "true")
    }

    /// Reads a string; it is copied only if it has escapes. A lone surrogate is an error.
    pub fn as_str(&self) -> Result<Cow<'a, str>, JsonError> {
        let inner = self.raw.strip_prefix('"').and_then(|s| s.strip_suffix('"'));
        self.want(inner.is_some(), "a string")?;
        unescape(inner.unwrap_or_default())
    }

    /// Returns the text of a number, with all its digits.
    pub fn as_number(&self) -> Result<&'a str, JsonError> {
        self.want(self.kind() == Kind::Number, "a number")?;
        Ok(self.raw)
    }

    /// Reads an integer that is written as one: `1.0` and `1e3` are errors.
    pub fn as_i64(&self) -> Result<i64, JsonError> {
        let wanted = "i64";
        let parsed = self.integer(wanted)?.parse();
        parsed.map_err(|_| JsonError::Range { wanted })
    }

    /// Reads an integer that is written as one: `1.0` and `1e3` are errors; `-0` is 0.
    pub fn as_u64(&self) -> Result<u64, JsonError> {
        let wanted = "u64";
        let integer = match self.integer(wanted)? {
            "-0" => "0",
            other => other,
        };
        integer.parse().map_err(|_| JsonError::Range { wanted })
    }

    /// Reads a number as the nearest of 64 bits; an error if that is infinite, as for `1e400`.
    pub fn as_f64(&self) -> Result<f64, JsonError> {
        let wanted = "f64";
        let parsed = self
            .as_number()?
            .parse()
            .ok()
            .filter(|f: &f64| f.is_finite());
        parsed.ok_or(JsonError::Range { wanted })
    }

    fn integer(&self, wanted: &'static str) -> Result<&'a str, JsonError> {
        let number = self.as_number()?;
        if number.contains(['.', 'e', 'E']) {
            return Err(JsonError::NotInteger { wanted });
        }
        Ok(number)
    }

    /// Counts the items of an array or the members of an object as they are written, also those of the same name.
    pub fn len(&self) -> Result<usize, JsonError> {
        match self.kind() {
            Kind::Array => Ok(self.items()?.count()),
            Kind::Object => Ok(self.entries()?.count()),
            found => Err(JsonError::Kind {
                wanted: "an array or object",
                found,
            }),
        }
    }

    /// Returns whether an array or object has nothing in it.
    pub fn is_empty(&self) -> Result<bool, JsonError> {
        match self.kind() {
            Kind::Array => Ok(self.items()?.next().is_none()),
            Kind::Object => Ok(self.entries()?.next().is_none()),
            found => Err(JsonError::Kind {
                wanted: "an array or object",
                found,
            }),
        }
    }

    /// Returns the items of an array. Each is found as it is asked for; what is in an item is read again when the item
    /// is asked for it.
    pub fn items(&self) -> Result<Items<'a>, JsonError> {
        self.want(self.kind() == Kind::Array, "an array")?;
        Ok(Items(Walk::new(self.raw, b']')))
    }

    /// Returns the members of an object: names, which are strings, and values. Each is found as it is asked for.
    ///
    /// They come as they are written; of several with the same name the last counts.
    pub fn entries(&self) -> Result<Entries<'a>, JsonError> {
        self.want(self.kind() == Kind::Object, "an object")?;
        Ok(Entries(Walk::new(self.raw, b'}')))
    }

    fn want(&self, is: bool, wanted: &'static str) -> Result<(), JsonError> {
        let found = self.kind();
        is.then_some(()).ok_or(JsonError::Kind { wanted, found })
    }
}

impl fmt::Display for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.raw)
    }
}

/// The way through an array or object.
#[derive(Debug, Clone)]
struct Walk<'a> {
    scanner: Scanner<'a>,
    end: u8,
    begun: bool,
    ended: bool,
}

impl<'a> Walk<'a> {
    fn new(raw: &'a str, end: u8) -> Self {
        Self {
            scanner: Scanner::new(raw, usize::MAX),
            end,
            begun: false,
            ended: false,
        }
    }

    /// Returns whether another follows. The text is checked, so that no error ends it early.
    fn advance(&mut self) -> Option<()> {
        if self.ended {
            return None;
        }
        let more = if self.begun {
            self.scanner.next(self.end)
        } else {
            self.scanner.first(self.end)
        };
        (self.begun, self.ended) = (true, !more.unwrap_or(false));
        (!self.ended).then_some(())
    }

    fn value(&mut self) -> Option<JsonText<'a>> {
        self.scanner.space();
        let start = self.scanner.at();
        self.scanner.value().ok()?;
        let range = start..self.scanner.at();
        Some(JsonText::checked(self.scanner.slice(range)))
    }
}

/// The items of an array, see [`JsonText::items`].
#[derive(Debug, Clone)]
pub struct Items<'a>(Walk<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = JsonText<'a>;

    fn next(&mut self) -> Option<JsonText<'a>> {
        self.0.advance()?;
        self.0.value()
    }
}

impl FusedIterator for Items<'_> {}

/// The members of an object, see [`JsonText::entries`].
#[derive(Debug, Clone)]
pub struct Entries<'a>(Walk<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (JsonText<'a>, JsonText<'a>);

    fn next(&mut self) -> Option<(JsonText<'a>, JsonText<'a>)> {
        self.0.advance()?;
        let name = self.0.scanner.name().ok()?.range;
        // With its quotes it is a value of its own.
        let name = self
            .0
            .scanner
            .slice(name.start.saturating_sub(1)..name.end + 1);
        Some((JsonText::checked(name), self.0.value()?))
    }
}

impl FusedIterator for Entries<'_> {}
