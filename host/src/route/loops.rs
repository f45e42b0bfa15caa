//! Records that come back: how often one did, and which route feeds its own input.
//!
//! Handed the header that counts, gives the next count or the reason to cut; handed the rules and the topics that their
//! handlers write to, gives what to warn of when they are loaded.
//! **Invariant:** a count never goes down from one record to the one made from it, unless the header was damaged.

use super::Rule;

/// The header with how many handlers have passed a record on, a decimal number.
pub const HOPS_HEADER: &str = "kafka-wasm-hops";

/// A record was passed on too often: it most likely goes round in a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record would have {hops} hops, and {max} are allowed")]
pub struct TooManyHops {
    /// What the count would be.
    pub hops: u64,
    /// What it may be.
    pub max: u32,
}

/// Returns the count for a record made from another, given that one's value of [`HOPS_HEADER`].
///
/// Without the header, and with anything but decimal digits in it, the count begins anew. A number that is too large to
/// be counted on with is over any maximum, not damaged.
///
/// # Errors
/// [`TooManyHops`] if the count is over `max`.
pub fn next_hop(value: Option<&[u8]>, max: u32) -> Result<u32, TooManyHops> {
    let hops = u64::from(hops_so_far(value.unwrap_or_default())) + 1;
    match u32::try_from(hops) {
        Ok(next) if next <= max => Ok(next),
        _ => Err(TooManyHops { hops, max }),
    }
}

fn hops_so_far(value: &[u8]) -> u32 {
    if !value.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let digits = value.iter().map(|digit| u32::from(digit - b'0'));
    digits.fold(0, |hops: u32, digit| {
        hops.saturating_mul(10).saturating_add(digit)
    })
}

/// Returns each pair of a topic that is written to and a rule that reads it again, in the order of `outputs` and rules.
///
/// `is_read` says whether the subscription reads a topic at all: a rule for any topic is one for any of these. Events
/// and headers of what will be written are not known, and so not looked at.
pub fn feeds_itself<'a>(
    rules: &[Rule],
    outputs: &[&'a str],
    is_read: impl Fn(&str) -> bool,
) -> Vec<(&'a str, usize)> {
    let mut found = Vec::new();
    for output in outputs.iter().filter(|output| is_read(output)) {
        for (index, rule) in rules.iter().enumerate() {
            let topic = rule.topic.as_ref();
            if topic.is_none_or(|topic| topic.matches(output)) {
                found.push((*output, index));
            }
        }
    }
    found
}
