//! Strings with escapes.
//!
//! Handed what stands between a string's quotes, gives its characters, or tells how it compares with a token.
//! **Invariant:** a string with a lone surrogate is equal to no token, and never given as text.

use std::{borrow::Cow, cmp::Ordering};

use super::JsonError;

/// Reads a string whose syntax is checked.
pub(super) fn unescape(raw: &str) -> Result<Cow<'_, str>, JsonError> {
    let Some((plain, mut rest)) = raw.split_once('\\') else {
        return Ok(Cow::Borrowed(raw));
    };
    let mut text = String::with_capacity(raw.len());
    text.push_str(plain);
    loop {
        let at = raw.len() - rest.len() - 1;
        let (code, after) = decode(rest);
        text.push(char::from_u32(code).ok_or(JsonError::Surrogate { at })?);
        let Some((plain, next)) = after.split_once('\\') else {
            text.push_str(after);
            return Ok(Cow::Owned(text));
        };
        text.push_str(plain);
        rest = next;
    }
}

/// Compares a token with a name as it is written, by code points.
pub(super) fn compare(token: &str, raw: &str, escaped: bool) -> Ordering {
    if escaped {
        token.chars().map(u32::from).cmp(Codes(raw))
    } else {
        token.cmp(raw)
    }
}

/// The code points of a string; a lone surrogate is one.
struct Codes<'a>(&'a str);

impl Iterator for Codes<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let mut chars = self.0.chars();
        let first = chars.next()?;
        let (code, rest) = match first {
            '\\' => decode(chars.as_str()),
            plain => (u32::from(plain), chars.as_str()),
        };
        self.0 = rest;
        Some(code)
    }
}

/// Reads one escape, whose backslash is behind, or two that are one character; returns the code point and what follows.
fn decode(escape: &str) -> (u32, &str) {
    let mut chars = escape.chars();
    let code = match chars.next() {
        Some('u') => return pair(chars.as_str()),
        Some('b') => 0x8,
        Some('f') => 0xC,
        Some('n') => 0xA,
        Some('r') => 0xD,
        Some('t') => 0x9,
        // The quote, the backslash and the slash are themselves.
        other => other.map_or(0, u32::from),
    };
    (code, chars.as_str())
}

fn pair(digits: &str) -> (u32, &str) {
    let (high, rest) = unit(digits);
    if let (0xD800..0xDC00, Some(second)) = (high, rest.strip_prefix("\\u"))
        && let (low @ 0xDC00..0xE000, rest) = unit(second)
    {
        return (0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00), rest);
    }
    (high, rest)
}

fn unit(digits: &str) -> (u32, &str) {
    let (four, rest) = digits.split_at_checked(4).unwrap_or_default();
    (u32::from_str_radix(four, 16).unwrap_or_default(), rest)
}
