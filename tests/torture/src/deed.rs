//! What the handler does with a record, and what has to become of it.
//!
//! It is handed a seed and the place of a record in its key's sequence; the fixture `act` reads the deed from the value.
//! **Invariant:** equal seed, key and sequence give the same deed, so the account needs nobody's memory.

use std::fmt;

use harness::dice::Dice;

/// Attempts that the manifest allows. A record that is ill a third of the time needs four, and more on a machine so busy
/// that attempts come in bursts.
pub(crate) const ATTEMPTS_MAX: u32 = 16;
/// The deadline of a call.
pub(crate) const DEADLINE_MS: u64 = 250;

/// What the handler does with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Ok,
    /// Is slow, but not too slow.
    Pause(u64),
    /// Fails for some time, then succeeds.
    Sometimes(Failing),
    /// Fails whenever it is tried.
    Always(Failing),
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    Error,
    RetrySoon,
    Reject,
    Trap,
    /// Spins until its deadline.
    Spin,
    /// Waits in an import of the host beyond its deadline.
    Stall,
    /// Emits first.
    AfterEmit,
}

/// What has to become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is handled, and its output is in the output topic.
    Output,
    /// It is a dead letter for this kind of error, tried until its attempts were used up or only once.
    Letter { kind: &'static str, only_once: bool },
}

impl Deed {
    /// The deed of one record.
    pub(crate) fn of(seed: u64, key: u32, sequence: u64) -> Self {
        let mixed = seed
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(u64::from(key) << 40)
            .wrapping_add(sequence);
        let mut dice = Dice::new(mixed);
        match dice.below(100_000) {
            0..50 => Self::Always(Failing::Trap),
            50..100 => Self::Always(Failing::Reject),
            100..150 => Self::Always(Failing::Error),
            150..156 => Self::Always(Failing::Spin),
            1_000..3_000 => Self::Sometimes(Failing::Error),
            3_000..4_000 => Self::Sometimes(Failing::RetrySoon),
            4_000..5_000 => Self::Sometimes(Failing::Trap),
            5_000..5_200 => Self::Sometimes(Failing::Spin),
            5_200..5_500 => Self::Sometimes(Failing::Stall),
            5_500..6_300 => Self::Sometimes(Failing::AfterEmit),
            7_000..9_000 => Self::Pause(dice.between(1, 20) as u64),
            _ => Self::Ok,
        }
    }

    /// What has to become of it.
    pub(crate) fn fate(self) -> Fate {
        let letter = |kind, only_once| Fate::Letter { kind, only_once };
        match self {
            Self::Ok | Self::Pause(_) | Self::Sometimes(_) => Fate::Output,
            Self::Always(Failing::Reject) => letter("reject", true),
            Self::Always(Failing::RetrySoon) => letter("retry", false),
            Self::Always(Failing::Trap) => letter("trap", false),
            Self::Always(Failing::Spin | Failing::Stall) => letter("deadline", false),
            Self::Always(Failing::Error | Failing::AfterEmit) => letter("other", false),
        }
    }

    /// The value of the record, as the fixture `act` reads it. `unwanted` is the topic that must stay empty.
    pub(crate) fn value(self, sequence: u64, unwanted: &str) -> String {
        let (when, failing) = match self {
            Self::Ok => return format!("ok #{sequence}"),
            Self::Pause(ms) => return format!("sleep {ms} #{sequence}"),
            Self::Sometimes(failing) => ("sometimes ", failing),
            Self::Always(failing) => ("", failing),
        };
        match failing {
            Failing::AfterEmit => format!("{when}{failing} {unwanted} #{sequence}"),
            _ => format!("{when}{failing} #{sequence}"),
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "other no",
            Self::RetrySoon => "retry 60 soon",
            Self::Reject => "reject never",
            Self::Trap => "trap",
            Self::Spin => "spin",
            Self::Stall => "sleep 600",
            Self::AfterEmit => "emit-then-fail",
        })
    }
}

/// The sequence number that a value ends with.
pub(crate) fn sequence_of(value: &str) -> Option<u64> {
    value.rsplit_once('#')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_decided_by_seed_key_and_sequence() {
        let deeds = |seed| -> Vec<Deed> { (0..50_000).map(|n| Deed::of(seed, 7, n)).collect() };
        assert_eq!(deeds(1), deeds(1));
        assert_ne!(deeds(1), deeds(2));
        let letters = deeds(1)
            .iter()
            .filter(|deed| deed.fate() != Fate::Output)
            .count();
        assert!((30..150).contains(&letters), "{letters} of 50,000");
        assert!(deeds(3).contains(&Deed::Sometimes(Failing::Spin)));
    }

    #[test]
    fn a_value_tells_deed_and_sequence() {
        assert_eq!(
            Deed::Sometimes(Failing::AfterEmit).value(12, "unwanted"),
            "sometimes emit-then-fail unwanted #12"
        );
        assert_eq!(Deed::Always(Failing::Trap).value(3, "x"), "trap #3");
        assert_eq!(sequence_of("sometimes sleep 600 #120"), Some(120));
        assert_eq!(sequence_of("ok"), None);
    }
}
