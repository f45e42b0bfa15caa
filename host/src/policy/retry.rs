//! How failed records are tried again, for each kind of failure.
//!
//! **Invariant:** every kind of failure has a policy, be it that of all kinds.

use std::sync::Arc;
use std::time::Duration;

use crate::outcome::FailureKind;

/// How failed records are tried again: one policy for all kinds of failures, and others for some of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RetryPolicy {
    base: KindPolicy,
    /// Kinds whose policy differs from `base`, each once, in their order.
    own: Vec<(FailureKind, KindPolicy)>,
}

impl RetryPolicy {
    /// Makes a policy that is the same for all kinds of failures.
    pub fn new(base: KindPolicy) -> Self {
        let own = Vec::new();
        Self { base, own }
    }

    /// Returns the policy with another one for failures of `kind`.
    #[must_use]
    pub fn with(mut self, kind: FailureKind, policy: KindPolicy) -> Self {
        self.own.retain(|(own, _)| *own != kind);
        // Policies that do the same are equal.
        if policy != self.base {
            let at = self.own.partition_point(|(own, _)| *own < kind);
            self.own.insert(at, (kind, policy));
        }
        self
    }

    /// Returns what holds for kinds that have no policy of their own.
    pub fn base(&self) -> &KindPolicy {
        &self.base
    }

    /// Returns the longest wait between two attempts, whatever the failures are.
    pub fn longest_wait(&self) -> Duration {
        let own = self.own.iter().map(|(_, policy)| policy);
        let waits = own
            .chain([&self.base])
            .map(|policy| match &policy.backoff.kind {
                BackoffKind::List(waits) => waits.iter().copied().max().unwrap_or_default(),
                BackoffKind::Fixed => policy.backoff.initial,
                _ => policy.backoff.max,
            });
        waits.max().unwrap_or_default()
    }

    /// Returns what holds for failures of `kind`.
    pub fn on(&self, kind: FailureKind) -> &KindPolicy {
        self.own
            .iter()
            .find(|(own, _)| *own == kind)
            .map_or(&self.base, |(_, policy)| policy)
    }
}

/// How often and how long a record is tried, and how long the host waits in between.
#[derive(Debug, Clone, PartialEq)]
pub struct KindPolicy {
    /// Attempts in all, the first one included, whatever their failures were; at least 1.
    pub max_attempts: u32,
    /// Time from the begin of the first attempt after which no other one begins; none where there is no such bound.
    pub max_age: Option<Duration>,
    /// The waits between attempts.
    pub backoff: Backoff,
}

impl KindPolicy {
    /// What holds where the manifest says nothing.
    pub const DEFAULT: Self = Self {
        max_attempts: 5,
        max_age: None,
        backoff: Backoff::DEFAULT,
    };
}

impl Default for KindPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The wait before the next attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// How waits follow one another.
    pub kind: BackoffKind,
    /// The first wait; a list has its own.
    pub initial: Duration,
    /// The longest wait, never below `initial`; a list is not bound by it.
    pub max: Duration,
    /// Factor from one wait to the next where waits grow exponentially; at least 1.
    pub multiplier: f64,
    /// Part of a wait that is left to chance, from 0 (none) to 1.
    pub jitter: f64,
}

impl Backoff {
    /// What holds where the manifest says nothing.
    pub const DEFAULT: Self = Self {
        kind: BackoffKind::Exponential,
        initial: Duration::from_millis(100),
        max: Duration::from_secs(10),
        multiplier: 2.0,
        jitter: 0.2,
    };
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How the waits of a [`Backoff`] follow one another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BackoffKind {
    /// Each wait is `multiplier` times the one before it.
    #[default]
    Exponential,
    /// Every wait is `initial`.
    Fixed,
    /// Each wait is the sum of the two before it: `initial` times 1, 1, 2, 3, 5 and so on.
    Fibonacci,
    /// The wait after each attempt; the last one repeats. Never empty.
    List(Arc<[Duration]>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(max_attempts: u32) -> KindPolicy {
        KindPolicy {
            max_attempts,
            ..KindPolicy::DEFAULT
        }
    }

    #[test]
    fn a_kind_without_a_policy_of_its_own_has_that_of_all_kinds() {
        let policy = RetryPolicy::new(attempts(7)).with(FailureKind::Trap, attempts(2));
        for kind in FailureKind::ALL {
            let expected = if kind == FailureKind::Trap { 2 } else { 7 };
            assert_eq!(policy.on(kind).max_attempts, expected, "{kind:?}");
        }
    }

    #[test]
    fn policies_that_do_the_same_are_equal() {
        let base = || RetryPolicy::new(attempts(7));
        assert_eq!(base().with(FailureKind::Trap, attempts(7)), base());
        let (one, other) = (FailureKind::Trap, FailureKind::Other);
        assert_eq!(
            base().with(one, attempts(2)).with(other, attempts(3)),
            base()
                .with(other, attempts(3))
                .with(one, attempts(1))
                .with(one, attempts(2)),
        );
    }
}
