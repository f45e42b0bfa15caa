//! Which offsets above a committed position are complete, as text for the metadata of the commit.
//!
//! Handed the completed runs of one partition, gives the text for the metadata field of Kafka's `OffsetCommit`
//! request; handed that text and the committed offset after a restart or a rebalance, gives the offsets to skip.
//! **Invariant:** a map decodes to itself or not at all: damaged text, or text of another commit, is an error.

use std::{iter, ops::Range};

use base64::{DecodeError, Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// How long the metadata of a commit may be, by the default of the broker's `offset.metadata.max.bytes`.
///
/// Even in the worst case there is room for any pattern within 24,360 offsets from the first completed one on; for any
/// 305 completed offsets; for any 169 runs, or 1,018 runs of up to 127 offsets with up to 16,383 open before each. A
/// broker refuses what is longer. It may be left out of the map: it is only handled again.
pub const METADATA_BYTES_MAX: usize = 4096;

/// What the texts of all versions begin with.
const FAMILY: &str = "kwh";
const PREFIX: &str = "kwh1:";
const FORM_RUNS: u8 = 0;
const FORM_BITS: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
/// All but the body: the prefix, the form, two numbers, the checksum, and what base64 rounds up.
const HEAD_BYTES_MAX: usize = 32;
/// How long the body surely may be.
const BODY_BYTES_MAX: usize = (METADATA_BYTES_MAX - PREFIX.len()) / 4 * 3 - HEAD_BYTES_MAX;

/// Why the metadata of a commit gives no map. The remedy is always to go on without one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Not a text of this host.
    #[error("the metadata does not begin with `{FAMILY}`: another program wrote it")]
    Foreign,
    /// A text of another version of this host, or a damaged one.
    #[error("the metadata does not begin with `{PREFIX}`: its version is unknown")]
    Version,
    /// Characters or a length that base64 does not have.
    #[error("the metadata's base64 is damaged: {0}")]
    Base64(#[from] DecodeError),
    /// Not the bytes that were written.
    #[error("the metadata's checksum does not match its bytes")]
    Checksum,
    /// The bytes end within a number, or one is missing.
    #[error("the metadata ends where a number must follow")]
    Truncated,
    /// Neither run lengths nor a bitset.
    #[error("the metadata's form {0} is unknown")]
    Form(u8),
    /// The map of another commit: it starts at the first offset, the second is committed.
    #[error("the metadata's map starts at offset {0}, but offset {1} is committed")]
    Base(i64, i64),
    /// A number, or the end of a run, does not fit.
    #[error("the metadata has a number of more than 64 bits, or a run beyond the last offset")]
    Overflow,
    /// What no map is written as.
    #[error("the metadata has an empty run, or a bitset that begins or ends with nothing")]
    EmptyRun,
}

/// The completed offsets of a partition from a base on, the committed position.
///
/// Its text is `kwh1:` and unpadded base64 of: a form byte, the base, the length of the first open run, the body, and
/// a CRC-32 of all these (little endian). Numbers are LEB128. The body is the shorter of two forms: the lengths of the
/// runs that follow, done and open in turn, or a bitset of the offsets that follow, the lowest bit first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetMap {
    base: i64,
    /// Ascending, not empty, and never adjacent.
    runs: Vec<Range<i64>>,
}

impl OffsetMap {
    /// Makes a map with nothing completed.
    pub fn new(base: i64) -> Self {
        let runs = Vec::new();
        Self { base, runs }
    }

    /// Makes a map of completed runs, which must ascend; what lies below `base` is cut.
    ///
    /// An offset that the log does not have (compaction, transaction markers) may count as completed: fewer runs make
    /// a shorter text. A run that does not ascend is cut, too: its records are handled again, none is lost.
    pub fn from_runs(base: i64, runs: impl IntoIterator<Item = Range<i64>>) -> Self {
        let mut map = Self::new(base);
        runs.into_iter().for_each(|run| map.push(run));
        map
    }

    /// Makes the map of what an owner of the partition settled from `base` on, joined with what `earlier` owners completed
    /// where it did not get. The base moves on where the record there is one of these.
    pub fn joined(
        base: i64,
        settled: impl IntoIterator<Item = Range<i64>>,
        earlier: &Self,
    ) -> Self {
        let mut map = Self::from_runs(base, settled.into_iter().chain(earlier.runs()));
        if map.contains(base) {
            map.base = map.runs.remove(0).end;
        }
        map
    }

    fn push(&mut self, run: Range<i64>) {
        let start = run.start.max(self.end());
        match self.runs.last_mut() {
            _ if start >= run.end => {}
            Some(last) if last.end == start => last.end = run.end,
            _ => self.runs.push(start..run.end),
        }
    }

    /// Returns whether the record at `offset` is completed; of those below the base the map knows nothing.
    pub fn contains(&self, offset: i64) -> bool {
        let place = self.runs.partition_point(|run| run.end <= offset);
        self.runs.get(place).is_some_and(|run| run.start <= offset)
    }

    /// Returns the committed position below which the map knows nothing.
    pub fn base(&self) -> i64 {
        self.base
    }

    /// Leaves the last runs out until the text is no longer than `max` bytes. Their records are handled again.
    pub fn shorten(&mut self, max: usize) {
        while self.encoded_len() > max {
            self.runs.truncate(self.runs.len() / 8 * 7);
        }
    }

    /// Every map fits that reaches no further than so many offsets from its base: as a bitset.
    pub const SPAN_THAT_FITS: u64 = BODY_BYTES_MAX as u64 * 8;

    /// Returns whether every map fits into [`METADATA_BYTES_MAX`] that has at most `open` open offsets, or open runs, among
    /// `span` from its base on.
    pub fn surely_fits(open: usize, span: u64) -> bool {
        if span <= Self::SPAN_THAT_FITS {
            return true;
        }
        // An open run and a completed one take turns. Their lengths come to the span together, and take most room where
        // all are alike, since the bytes of a length grow ever slower.
        let lengths = open as u64 * 2;
        let bytes_each =
            u64::from(u64::BITS - (span / lengths.max(1)).leading_zeros()).div_ceil(7) + 1;
        lengths * bytes_each <= BODY_BYTES_MAX as u64
    }

    /// Returns whether nothing is completed.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns the offset after the last completed one, the base if there is none.
    pub fn end(&self) -> i64 {
        self.runs.last().map_or(self.base, |run| run.end)
    }

    /// Returns the completed runs, ascending.
    pub fn runs(&self) -> impl Iterator<Item = Range<i64>> {
        self.runs.iter().cloned()
    }

    /// Writes the map as text; an empty map is empty text, as if there were no metadata.
    pub fn encode(&self) -> String {
        let Some((form, first, _)) = self.form() else {
            return String::new();
        };
        let mut bytes = vec![form];
        bytes.extend(self.head(first));
        match form {
            FORM_RUNS => bytes.extend(self.lengths(first).flat_map(varint)),
            _ => bytes.extend((first..self.end()).step_by(8).map(|at| self.bits(at))),
        }
        seal(bytes)
    }

    fn bits(&self, at: i64) -> u8 {
        // Saturation is harmless: `i64::MAX` is never in a map, for no run can end after it.
        let done = (0..8).filter(|bit| self.contains(at.saturating_add(*bit)));
        done.fold(0, |byte, bit| byte | 1 << bit)
    }

    /// Returns the length of the text in bytes, without writing it.
    pub fn encoded_len(&self) -> usize {
        self.form().map_or(0, |(_, first, length)| {
            let bytes = 1 + self.head(first).count() + length + CHECKSUM_BYTES;
            PREFIX.len() + (bytes * 4).div_ceil(3)
        })
    }

    /// Returns the form with the shorter body, the first completed offset and the length of the body.
    fn form(&self) -> Option<(u8, i64, usize)> {
        let first = self.runs.first()?.start;
        let runs = self.lengths(first).flat_map(varint).count();
        // A bitset may be longer than memory is; then the runs are shorter anyway.
        match usize::try_from(self.end().abs_diff(first).div_ceil(8)) {
            Ok(bits) if bits < runs => Some((FORM_BITS, first, bits)),
            _ => Some((FORM_RUNS, first, runs)),
        }
    }

    fn head(&self, first: i64) -> impl Iterator<Item = u8> {
        varint(self.base.cast_unsigned()).chain(varint(first.abs_diff(self.base)))
    }

    /// Returns the lengths of the runs after the first open one: done, open, done.
    fn lengths(&self, first: i64) -> impl Iterator<Item = u64> {
        let ends = self.runs().flat_map(|run| [run.start, run.end]).skip(1);
        ends.scan(first, |at, end| {
            Some(end.abs_diff(std::mem::replace(at, end)))
        })
    }

    /// Reads the metadata of the commit at offset `committed`; empty text has no map.
    ///
    /// It takes memory in proportion to the text: a byte of a bitset makes four runs at most.
    pub fn decode(text: &str, committed: i64) -> Result<Option<Self>, MapError> {
        let Some(sealed) = text.strip_prefix(PREFIX) else {
            return match text {
                "" => Ok(None),
                _ if text.starts_with(FAMILY) => Err(MapError::Version),
                _ => Err(MapError::Foreign),
            };
        };
        let bytes = URL_SAFE_NO_PAD.decode(sealed)?;
        let (bytes, checksum) = bytes.split_last_chunk().ok_or(MapError::Truncated)?;
        if crc32(bytes) != u32::from_le_bytes(*checksum) {
            return Err(MapError::Checksum);
        }
        let (form, mut rest) = bytes.split_first().ok_or(MapError::Truncated)?;
        let base = take_varint(&mut rest)?.cast_signed();
        if base != committed {
            return Err(MapError::Base(base, committed));
        }
        let first = after(base, take_varint(&mut rest)?)?;
        let mut map = Self::new(base);
        match *form {
            FORM_RUNS => map.read_runs(first, rest)?,
            FORM_BITS => map.read_bits(first, rest)?,
            form => return Err(MapError::Form(form)),
        }
        Ok(Some(map))
    }

    fn read_runs(&mut self, first: i64, mut bytes: &[u8]) -> Result<(), MapError> {
        let mut start = first;
        // An empty map is empty text, so there is one run at least; a done one is the last.
        loop {
            let end = after(start, take_length(&mut bytes)?)?;
            self.push(start..end);
            if bytes.is_empty() {
                return Ok(());
            }
            start = after(end, take_length(&mut bytes)?)?;
        }
    }

    fn read_bits(&mut self, first: i64, bytes: &[u8]) -> Result<(), MapError> {
        let begins = bytes.first().is_some_and(|byte| byte & 1 == 1);
        if !begins || bytes.last() == Some(&0) {
            return Err(MapError::EmptyRun);
        }
        let bits = |byte: &u8| [0, 1, 2, 3, 4, 5, 6, 7].map(|bit| byte >> bit & 1 == 1);
        let places = (0..).zip(bytes.iter().flat_map(bits));
        for (place, _) in places.filter(|(_, done)| *done) {
            let offset = after(first, place)?;
            self.push(offset..after(offset, 1)?);
        }
        Ok(())
    }
}

/// Adds the checksum to the bytes and makes them text.
fn seal(mut bytes: Vec<u8>) -> String {
    bytes.extend(crc32(&bytes).to_le_bytes());
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Makes the text of a map of these bytes, which may be none of a map.
#[cfg(any(fuzzing, test))]
pub(crate) fn sealed(form: u8, base: i64, rest: &[u8]) -> String {
    let head = varint(base.cast_unsigned());
    let rest = rest.iter().copied();
    seal(iter::once(form).chain(head).chain(rest).collect())
}

fn after(offset: i64, length: u64) -> Result<i64, MapError> {
    let end = offset.checked_add_unsigned(length);
    end.ok_or(MapError::Overflow)
}

/// Returns the bytes of a LEB128 number: seven bits each, the lowest first, the high bit where more follow.
fn varint(value: u64) -> impl Iterator<Item = u8> {
    let parts = iter::successors(Some(value), |rest| Some(rest >> 7).filter(|rest| *rest > 0));
    parts.map(|rest| {
        let [low, ..] = rest.to_le_bytes();
        if rest < 0x80 { low } else { low | 0x80 }
    })
}

fn take_length(bytes: &mut &[u8]) -> Result<u64, MapError> {
    match take_varint(bytes)? {
        0 => Err(MapError::EmptyRun),
        length => Ok(length),
    }
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, MapError> {
    let mut value = 0;
    for shift in (0_u32..).step_by(7) {
        let byte = *bytes.split_off_first().ok_or(MapError::Truncated)?;
        let part = u64::from(byte & 0x7f);
        let shifted = part.checked_shl(shift).filter(|it| it >> shift == part);
        value |= shifted.ok_or(MapError::Overflow)?;
        if byte < 0x80 {
            break;
        }
    }
    Ok(value)
}

/// The CRC of zip and Ethernet. It notices every change within 32 bits, so every change of one character.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// What is committed of a partition: the next offset to read, and which records behind it are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPoint {
    /// The next offset to read after a restart.
    pub offset: i64,
    /// An [`OffsetMap`] as text; empty where nothing behind the offset is complete.
    pub metadata: String,
}

impl From<i64> for CommitPoint {
    fn from(offset: i64) -> Self {
        let metadata = String::new();
        Self { offset, metadata }
    }
}

impl From<OffsetMap> for CommitPoint {
    /// Encodes as much of the map as fits.
    fn from(mut map: OffsetMap) -> Self {
        map.shorten(METADATA_BYTES_MAX);
        Self {
            offset: map.base,
            metadata: map.encode(),
        }
    }
}

#[cfg(test)]
mod tests;
