//! The one reader of JSON's syntax (RFC 8259).
//!
//! Handed text, moves on over one value, name or separator at a time. It keeps no values, and it does not recurse: what
//! is open is one bit for each level.
//! **Invariant:** it moves on only over what is right, and stops only at the boundaries of characters.

use std::ops::Range;

use super::{Fault, JsonError};

/// A place in a text.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// How many levels may still be entered.
    room: usize,
    depth_max: usize,
}

/// The name of a member: where it stands between its quotes, and whether it has escapes.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) range: Range<usize>,
    pub(super) escaped: bool,
}

impl<'a> Scanner<'a> {
    /// Begins at the start of a text.
    pub(super) fn new(text: &'a str, depth_max: usize) -> Self {
        Self {
            text,
            at: 0,
            room: depth_max,
            depth_max,
        }
    }

    /// Begins within a text that is known to be JSON.
    pub(super) fn resume(text: &'a str, at: usize) -> Self {
        let scanner = Self::new(text, usize::MAX);
        Self { at, ..scanner }
    }

    /// Returns the place, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes to where a value is known to end.
    pub(super) fn jump(&mut self, end: usize) {
        self.at = end;
    }

    /// Returns a part of the text; its ends are places where a scanner was.
    pub(super) fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    /// Returns the next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Moves on over whitespace, and returns the byte after it.
    pub(super) fn space(&mut self) -> Option<u8> {
        loop {
            match self.peek()? {
                b' ' | b'\n' | b'\t' | b'\r' => self.at += 1,
                other => return Some(other),
            }
        }
    }

    /// Moves on over one value and the whitespace before it.
    pub(super) fn value(&mut self) -> Result<(), JsonError> {
        let mut open = Open::default();
        loop {
            let whole = match self.space() {
                Some(b'{') if self.first(b'}')? => {
                    open.push(true);
                    self.name()?;
                    false
                }
                Some(b'[') if self.first(b']')? => {
                    open.push(false);
                    false
                }
                // An empty one: `first` went over its end.
                Some(b'{' | b'[') => true,
                other => self.scalar(other).map(|()| true)?,
            };
            if whole && !self.close(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Ends what ends here; returns whether a value follows.
    fn close(&mut self, open: &mut Open) -> Result<bool, JsonError> {
        while let Some(object) = open.last() {
            if self.next(if object { b'}' } else { b']' })? {
                if object {
                    self.name()?;
                }
                return Ok(true);
            }
            open.pop();
        }
        Ok(false)
    }

    /// Enters an array or object, whose bracket is next; returns whether it has anything, or else leaves it.
    pub(super) fn first(&mut self, end: u8) -> Result<bool, JsonError> {
        let (at, depth_max) = (self.at, self.depth_max);
        let room = self.room.checked_sub(1);
        self.room = room.ok_or(JsonError::TooDeep { at, depth_max })?;
        self.at += 1;
        let empty = self.space() == Some(end);
        if empty {
            self.leave();
        }
        Ok(!empty)
    }

    /// Goes on after an item or member; returns whether another follows, or else leaves the array or object.
    pub(super) fn next(&mut self, end: u8) -> Result<bool, JsonError> {
        match self.space() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.leave();
                Ok(false)
            }
            other => Err(self.fault(other, Fault::NoComma)),
        }
    }

    fn leave(&mut self) {
        self.at += 1;
        self.room = self.room.saturating_add(1);
    }

    /// Moves on over a member's name, the colon, and the whitespace before each.
    pub(super) fn name(&mut self) -> Result<Name, JsonError> {
        match self.space() {
            Some(b'"') => self.at += 1,
            other => return Err(self.fault(other, Fault::NoName)),
        }
        let start = self.at;
        let escaped = self.string()?;
        let range = start..self.at - 1;
        match self.space() {
            Some(b':') => self.at += 1,
            other => return Err(self.fault(other, Fault::NoColon)),
        }
        Ok(Name { range, escaped })
    }

    /// Makes sure that nothing but whitespace follows.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        match self.space() {
            None => Ok(()),
            other => Err(self.fault(other, Fault::Trailing)),
        }
    }

    fn scalar(&mut self, first: Option<u8>) -> Result<(), JsonError> {
        match first {
            Some(b'"') => {
                self.at += 1;
                self.string().map(|_| ())
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            other => Err(self.fault(other, Fault::NoValue)),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        let rest = self.rest();
        if rest.starts_with(word) {
            self.at += word.len();
            return Ok(());
        }
        let ended = word.starts_with(rest);
        Err(self.fault((!ended).then_some(0), Fault::NoValue))
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        // A digit after a leading zero is found wrong where a comma or an end must be.
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.fault(self.peek(), Fault::NoDigit));
        }
        Ok(())
    }

    /// Moves on over a string whose opening quote is behind; returns whether it has escapes.
    fn string(&mut self) -> Result<bool, JsonError> {
        let mut escaped = false;
        loop {
            while let Some(eight) = self.rest().first_chunk() {
                let plain = plain(*eight);
                self.at += plain;
                if plain < 8 {
                    break;
                }
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0x20..) => self.at += 1,
                other => return Err(self.fault(other, Fault::Control)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let digits = match self.rest().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            other => return Err(self.fault(other.copied(), Fault::Escape)),
        };
        for place in 2..2 + digits {
            let byte = self.rest().get(place).copied();
            if !byte.is_some_and(|byte| byte.is_ascii_hexdigit()) {
                return Err(self.fault(byte, Fault::Escape));
            }
        }
        self.at += 2 + digits;
        Ok(())
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Makes the error of a byte that is wrong here, or missing.
    fn fault(&self, found: Option<u8>, fault: Fault) -> JsonError {
        let fault = found.map_or(Fault::Ended, |_| fault);
        let at = if found.is_some() {
            self.at
        } else {
            self.text.len()
        };
        JsonError::Syntax { at, fault }
    }
}

/// Counts the bytes before the first quote, backslash or control character, all eight at once.
fn plain(eight: [u8; 8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The topmost bit of each byte that is less than `n`. A borrow may set that of a later byte, too, never of an
    // earlier one, and only the first counts.
    let less = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
    let word = u64::from_le_bytes(eight);
    let quote = less(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = less(word ^ (ONES * u64::from(b'\\')), 1);
    let stops = (less(word, 0x20) | quote | backslash) & (ONES << 7);
    // 64 if there is none.
    (stops.trailing_zeros() / 8) as usize
}

/// The arrays and objects that are open: a bit for each, set for objects.
#[derive(Debug)]
struct Open {
    /// The innermost, the last of them lowest. The topmost set bit is none of them, it marks the end.
    word: u64,
    /// Full words further out.
    outer: Vec<u64>,
}

impl Default for Open {
    fn default() -> Self {
        let outer = Vec::new();
        Self { word: 1, outer }
    }
}

impl Open {
    fn push(&mut self, object: bool) {
        if self.word >> 63 == 1 {
            self.outer.push(self.word);
            self.word = 1;
        }
        self.word = self.word << 1 | u64::from(object);
    }

    /// Returns whether the innermost is an object.
    fn last(&self) -> Option<bool> {
        (self.word != 1).then_some(self.word & 1 == 1)
    }

    fn pop(&mut self) {
        self.word >>= 1;
        if self.word == 1 {
            self.word = self.outer.pop().unwrap_or(1);
        }
    }
}
