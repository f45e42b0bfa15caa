//! What became of a steady load: how long each record took, and when each partition stood still.
//!
//! Handed when each record was sent and seen, tells of any stretch of time how it was.
//! **Invariant:** pure; a partition of which nothing was seen stood still for all of the stretch.

use std::time::Duration;

/// One record: the partition that it was read from, and when it was sent and seen, since the load began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) partition: usize,
    pub(crate) sent: Duration,
    pub(crate) seen: Duration,
}

/// A stretch of time, since the load began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Stretch {
    fn holds(&self, at: Duration) -> bool {
        self.from <= at && at < self.to
    }
}

/// How one or more stretches were, taken together.
#[derive(Debug)]
pub(crate) struct Seen {
    /// How long each record took that was sent then, the shortest first.
    took: Vec<Duration>,
    /// The longest times without a record of a partition, of each partition and stretch.
    pub(crate) gap: Duration,
    /// The same of the sending, for which the host can do nothing.
    pub(crate) gap_sent: Duration,
    /// Records that were seen then, by the second.
    pub(crate) per_s: f64,
    /// Records that were sent then, by the second.
    pub(crate) sent_per_s: f64,
}

impl Seen {
    /// Looks at these stretches; there are so many partitions.
    pub(crate) fn within(samples: &[Sample], stretches: &[Stretch], partitions: usize) -> Self {
        let mut took = Vec::new();
        let (mut gap, mut gap_sent) = (Duration::ZERO, Duration::ZERO);
        let mut seen_count = 0_u32;
        for stretch in stretches {
            let sent = samples.iter().filter(|it| stretch.holds(it.sent));
            took.extend(sent.map(|it| it.seen.saturating_sub(it.sent)));
            let seen = samples.iter().filter(|it| stretch.holds(it.seen));
            seen_count += u32::try_from(seen.count()).unwrap_or(u32::MAX);
            for partition in 0..partitions {
                let own = || samples.iter().filter(|it| it.partition == partition);
                gap = gap.max(longest_gap(own().map(|it| it.seen), stretch));
                gap_sent = gap_sent.max(longest_gap(own().map(|it| it.sent), stretch));
            }
        }
        took.sort_unstable();
        let length: Duration = stretches
            .iter()
            .map(|it| it.to.saturating_sub(it.from))
            .sum();
        let seconds = length.as_secs_f64().max(1e-3);
        Self {
            gap,
            gap_sent,
            per_s: f64::from(seen_count) / seconds,
            sent_per_s: took.len() as f64 / seconds,
            took,
        }
    }

    /// Returns within which time so many of a hundred records were there, in milliseconds.
    pub(crate) fn at_ms(&self, share: usize) -> f64 {
        let place = (self.took.len() * share / 100).min(self.took.len().saturating_sub(1));
        let took = self.took.get(place).copied().unwrap_or_default();
        took.as_secs_f64() * 1e3
    }
}

/// The longest time between two of these moments within a stretch, its ends among them. The moments come in their order.
fn longest_gap(moments: impl Iterator<Item = Duration>, stretch: &Stretch) -> Duration {
    let mut last = stretch.from;
    let mut longest = Duration::ZERO;
    for at in moments.filter(|at| stretch.holds(*at)) {
        longest = longest.max(at.saturating_sub(last));
        last = last.max(at);
    }
    longest.max(stretch.to.saturating_sub(last))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Sample, Seen, Stretch};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn sample(partition: usize, sent: u64, seen: u64) -> Sample {
        Sample {
            partition,
            sent: ms(sent),
            seen: ms(seen),
        }
    }

    #[test]
    fn a_stretch_knows_its_own_records_and_gaps() {
        let samples = [
            sample(0, 5, 50),
            sample(0, 110, 120),
            sample(1, 111, 113),
            sample(1, 150, 155),
            sample(0, 160, 190),
            sample(1, 170, 210),
        ];
        let stretch = Stretch {
            from: ms(100),
            to: ms(200),
        };
        let seen = Seen::within(&samples, &[stretch], 2);
        assert_eq!(seen.took, [ms(2), ms(5), ms(10), ms(30), ms(40)]);
        assert_eq!((seen.at_ms(50), seen.at_ms(99)), (10.0, 40.0));
        // Of partition 0 from 120 to 190.
        assert_eq!(seen.gap, ms(70));
        assert_eq!(seen.gap_sent, ms(50));
        assert_eq!((seen.per_s, seen.sent_per_s), (40.0, 50.0));
    }

    #[test]
    fn a_partition_of_which_nothing_is_seen_stands_for_all_of_the_stretch() {
        let stretch = Stretch {
            from: ms(0),
            to: ms(30),
        };
        let seen = Seen::within(&[sample(0, 1, 2)], &[stretch], 2);
        assert_eq!(seen.gap, ms(30));
    }
}
