//! Records that come back: how often they were passed on, and who feeds whom in a circle.
//!
//! Handed the headers of a record, gives its count, the count of what is made from it, or the reason to cut; handed who
//! feeds whom, gives the way on which a record comes back.
//! **Invariant:** whatever the header holds, a count is a number, and that of a record made from another is larger, up to
//! where numbers end.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::CStr;

use super::Rule;
use crate::record::{Emit, Header};

#[cfg(test)]
mod tests;

/// The header that says how many handlers have passed a record on, a decimal number; as C has it.
pub const HOPS_KEY: &CStr = c"kafka-wasm-hops";

/// [`HOPS_KEY`] as text.
pub const HOPS_HEADER: &str = match HOPS_KEY.to_str() {
    Ok(text) => text,
    Err(_) => "",
};

/// How often a record may have been passed on, unless the manifest says it.
pub const MAX_HOPS: u32 = 32;

/// A record was passed on too often: it most likely goes round in a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "handlers have passed the record on {hops} times, and max-hops in handler.toml allows {max}: they feed each other, or \
     it is too small"
)]
pub struct TooManyHops {
    /// How often it was.
    pub hops: u32,
    /// How often it may be.
    pub max: u32,
}

/// Returns how often a record with these headers was passed on; of several headers the last one counts.
///
/// Without the header, and with anything but decimal digits in it, the count begins anew. A number that is too large to
/// be counted on with is over any maximum, not damaged.
pub fn hops_of(headers: &[Header<'_>]) -> u32 {
    let header = headers.iter().rfind(|header| header.key == HOPS_HEADER);
    header
        .and_then(|header| header.value)
        .map_or(0, hops_in_value)
}

fn hops_in_value(value: &[u8]) -> u32 {
    if !value.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let digits = value.iter().map(|digit| u32::from(digit - b'0'));
    digits.fold(0, |hops: u32, digit| {
        hops.saturating_mul(10).saturating_add(digit)
    })
}

/// Returns the count of a record that is made from one that was passed on so often.
pub fn next_hop(hops: u32) -> u32 {
    hops.saturating_add(1)
}

/// Checks that a record may be handled.
///
/// # Errors
/// [`TooManyHops`] if it was passed on more than `max` times.
pub fn within(hops: u32, max: u32) -> Result<(), TooManyHops> {
    if hops > max {
        return Err(TooManyHops { hops, max });
    }
    Ok(())
}

/// Gives a record this count, in place of any that it has.
#[must_use]
pub fn with_hops<'a>(mut emit: Emit<'a>, count: &'a str) -> Emit<'a> {
    emit.headers.retain(|header| header.key != HOPS_HEADER);
    with_later_hops(emit, count)
}

/// Gives a record this count behind all headers that it has, which stay as they are.
#[must_use]
pub fn with_later_hops<'a>(mut emit: Emit<'a>, count: &'a str) -> Emit<'a> {
    emit.headers.push(Header {
        key: Cow::Borrowed(HOPS_HEADER),
        value: Some(count.as_bytes()),
    });
    emit
}

/// Returns whether one of the rules may take a record of a topic; its event and headers are not known.
pub fn may_take<'r>(rules: impl IntoIterator<Item = &'r Rule>, topic: &str) -> bool {
    let mut topics = rules.into_iter().map(|rule| rule.topic.as_ref());
    topics.any(|asked| asked.is_none_or(|asked| asked.matches(topic)))
}

/// Returns the shortest way on which what `from` feeds comes back to it: all who pass it on, `from` first.
///
/// `fed` are those whom `from` feeds now, `feeds` whom each one feeds.
pub fn way_back(from: usize, fed: &[usize], feeds: &[Vec<usize>]) -> Option<Vec<usize>> {
    // Who fed each one first.
    let mut fed_by: Vec<Option<usize>> = vec![None; feeds.len()];
    let mut next: VecDeque<(usize, usize)> = fed.iter().map(|fed| (from, *fed)).collect();
    while let Some((by, at)) = next.pop_front() {
        if at == from {
            return Some(way_to(by, from, &fed_by));
        }
        let Some(known @ None) = fed_by.get_mut(at) else {
            continue;
        };
        *known = Some(by);
        next.extend(feeds.get(at).into_iter().flatten().map(|fed| (at, *fed)));
    }
    None
}

fn way_to(last: usize, from: usize, fed_by: &[Option<usize>]) -> Vec<usize> {
    let before = |at: &usize| (*at != from).then(|| fed_by.get(*at).copied().flatten())?;
    let mut way: Vec<usize> = std::iter::successors(Some(last), before).collect();
    way.reverse();
    way
}
