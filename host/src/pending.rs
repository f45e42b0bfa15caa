//! Requests that wait for their responses, and what became of those that do not wait any more.
//!
//! Handed each request with whoever waits for it, and each response that is read; knows whose it is. What is done with
//! either happens elsewhere.
//! **Invariant:** a response is offered to who waits for its request, or to nobody; one that waits for the last response is
//! offered none after it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;

/// Of so many requests that do not wait any more is known what became of them.
const PAST_MAX: usize = 10_000;

/// What a request and its response are told apart by: 128 bits that nobody can guess, written as a UUID (RFC 9562).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CorrelationId(u128);

impl CorrelationId {
    /// Makes the id of these random bits; those that tell the version of a UUID are set to 4.
    pub fn from_random(bits: u128) -> Self {
        let version = bits & !(0xf << 76) | 4 << 76;
        Self(version & !(0b11 << 62) | 0b10 << 62)
    }

    /// Makes the id of the bits that [`to_bits`](Self::to_bits) returned.
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns all its bits.
    pub fn to_bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        let (time_low, time_mid) = (bits >> 96, bits >> 80 & 0xffff);
        let (time_high, sequence) = (bits >> 64 & 0xffff, bits >> 48 & 0xffff);
        let node = bits & 0xffff_ffff_ffff;
        write!(
            f,
            "{time_low:08x}-{time_mid:04x}-{time_high:04x}-{sequence:04x}-{node:012x}"
        )
    }
}

/// A text is not the id of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a UUID")]
pub struct NoId;

impl FromStr for CorrelationId {
    type Err = NoId;

    /// Parses what [`Display`](fmt::Display) writes, with large letters too.
    fn from_str(text: &str) -> Result<Self, NoId> {
        let has_dashes = text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(at, byte)| matches!(at, 8 | 13 | 18 | 23) == (byte == b'-'));
        if !has_dashes {
            return Err(NoId);
        }
        text.bytes()
            .filter(|byte| *byte != b'-')
            .try_fold(0u128, |bits, byte| {
                let digit = char::from(byte).to_digit(16)?;
                Some(bits << 4 | u128::from(digit))
            })
            .map(Self)
            .ok_or(NoId)
    }
}

/// What who waits for a request does with a record that bears its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Takes it for the response, and waits no more.
    Last,
    /// Takes it for one of its responses.
    OneOfSeveral,
    /// Does not take it: it is no response, such as the request itself.
    Not,
}

/// Whose a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Of a request that waits, which took it.
    Awaited,
    /// Of a request that was given up.
    Late,
    /// Of a request that has its response.
    Repeated,
    /// Of nobody here: another host's request, or one of long ago.
    Unknown,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    GivenUp,
}

/// See the module.
#[derive(Debug)]
pub struct Pending<W> {
    waiting: HashMap<CorrelationId, W>,
    past: HashMap<CorrelationId, Fate>,
    /// Those of `past`, the oldest first.
    order: VecDeque<CorrelationId>,
}

impl<W> Default for Pending<W> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            past: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<W> Pending<W> {
    /// Takes up a request.
    pub fn begin(&mut self, id: CorrelationId, waiter: W) {
        self.waiting.insert(id, waiter);
    }

    /// Offers a record with this id to who waits for it, which `take` does.
    pub fn arrive(&mut self, id: CorrelationId, take: impl FnOnce(&W) -> Taken) -> Arrival {
        match self.waiting.get(&id).map(take) {
            Some(Taken::Last) => {
                self.waiting.remove(&id);
                self.remember(id, Fate::Answered);
                return Arrival::Awaited;
            }
            Some(Taken::OneOfSeveral) => return Arrival::Awaited,
            Some(Taken::Not) | None => {}
        }
        match self.past.get(&id) {
            Some(Fate::Answered) => Arrival::Repeated,
            Some(Fate::GivenUp) => Arrival::Late,
            None => Arrival::Unknown,
        }
    }

    /// Gives a request up, if it still waits; returns whether it did.
    pub fn give_up(&mut self, id: CorrelationId) -> bool {
        let has_waited = self.waiting.remove(&id).is_some();
        if has_waited {
            self.remember(id, Fate::GivenUp);
        }
        has_waited
    }

    /// Lists the requests that wait, in no order.
    pub fn waiting(&self) -> impl Iterator<Item = (CorrelationId, &W)> {
        self.waiting.iter().map(|(id, waiter)| (*id, waiter))
    }

    /// Returns how many requests wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn remember(&mut self, id: CorrelationId, fate: Fate) {
        if self.order.len() >= PAST_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.past.remove(&oldest);
        }
        self.order.push_back(id);
        self.past.insert(id, fate);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u128) -> CorrelationId {
        CorrelationId::from_random(number << 80)
    }

    #[test]
    fn an_id_is_a_random_uuid() {
        let text = CorrelationId::from_random(u128::MAX).to_string();
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let text = CorrelationId::from_random(0).to_string();
        assert_eq!(text, "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn what_is_no_uuid_is_no_id() {
        for text in [
            "",
            "ffffffff-ffff-4fff-bfff-fffffffffff",
            "ffffffff-ffff-4fff-bfff-ffffffffffffa",
            "ffffffffffff-4fff-bfff-ffffffffffff--",
            "gfffffff-ffff-4fff-bfff-ffffffffffff",
            "+fffffff-ffff-4fff-bfff-ffffffffffff",
            "éfffffff-ffff-4fff-bfff-fffffffffff",
        ] {
            assert_eq!(text.parse::<CorrelationId>(), Err(NoId), "{text}");
        }
    }

    #[test]
    fn the_request_itself_is_no_response() {
        let mut pending = Pending::default();
        pending.begin(id(1), 'a');
        assert_eq!(pending.arrive(id(1), |_| Taken::Not), Arrival::Unknown);
        assert_eq!(
            pending.arrive(id(1), |_| Taken::OneOfSeveral),
            Arrival::Awaited
        );
        assert_eq!(pending.arrive(id(1), |_| Taken::Last), Arrival::Awaited);
        assert_eq!(pending.arrive(id(1), |_| Taken::Last), Arrival::Repeated);
    }

    #[test]
    fn only_so_much_of_the_past_is_kept() {
        let mut pending = Pending::default();
        for number in 0..=PAST_MAX as u128 {
            pending.begin(id(number), ());
            assert!(pending.give_up(id(number)));
        }
        assert_eq!(pending.past.len(), PAST_MAX);
        assert_eq!(pending.arrive(id(0), |()| Taken::Last), Arrival::Unknown);
        assert_eq!(pending.arrive(id(1), |()| Taken::Last), Arrival::Late);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin(u128),
        Arrive(u128),
        GiveUp(u128),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let id = 0..6u128;
        prop_oneof![
            id.clone().prop_map(Step::Begin),
            id.clone().prop_map(Step::Arrive),
            id.prop_map(Step::GiveUp),
        ]
    }

    proptest! {
        #[test]
        fn an_id_is_read_as_it_was_written(bits in any::<u128>()) {
            let id = CorrelationId::from_random(bits);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        }

        #[test]
        fn a_response_goes_to_whoever_asked_and_to_nobody_twice(steps in proptest::collection::vec(any_step(), 0..40)) {
            // The model is the whole story of each request, looked through from its end.
            let mut pending = Pending::default();
            let mut story: Vec<(u128, &str)> = Vec::new();
            for step in steps {
                let last = |of: u128| story.iter().rev().find(|(id, _)| *id == of).map(|(_, what)| *what);
                let waiting = (0..6).filter(|of| last(*of) == Some("begun")).count();
                prop_assert_eq!((pending.len(), pending.is_empty()), (waiting, waiting == 0));
                let mut listed: Vec<_> = pending.waiting().map(|(id, of)| (id, *of)).collect();
                listed.sort_by_key(|(_, of)| *of);
                let expected = (0..6).filter(|of| last(*of) == Some("begun"));
                prop_assert_eq!(listed, expected.map(|of| (id(of), of)).collect::<Vec<_>>());
                match step {
                    Step::Begin(of) if last(of).is_none() => {
                        pending.begin(id(of), of);
                        story.push((of, "begun"));
                    }
                    // Ids are never used again.
                    Step::Begin(_) => {}
                    Step::Arrive(of) => {
                        let expected = match last(of) {
                            Some("begun") => Arrival::Awaited,
                            Some("answered") => Arrival::Repeated,
                            Some(_) => Arrival::Late,
                            None => Arrival::Unknown,
                        };
                        if last(of) == Some("begun") {
                            story.push((of, "answered"));
                        }
                        let mut offered = None;
                        let arrival = pending.arrive(id(of), |waiter| {
                            offered = Some(*waiter);
                            Taken::Last
                        });
                        prop_assert_eq!(arrival, expected);
                        prop_assert_eq!(offered, (expected == Arrival::Awaited).then_some(of));
                    }
                    Step::GiveUp(of) => {
                        let waits = last(of) == Some("begun");
                        prop_assert_eq!(pending.give_up(id(of)), waits);
                        if waits {
                            story.push((of, "given up"));
                        }
                    }
                }
            }
        }
    }
}
