//! What makes no progress though it has something to do, and since when.
//!
//! Handed now and then what stands and the time; says what has stood for too long, and what goes on again. Looking,
//! telling and acting happen elsewhere.
//! **Invariant:** only time that was watched counts, so a process that was frozen is not taken for one that stalls. An
//! alarm that has ended is not raised again before half of its bound has passed.

mod partition;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub(crate) use self::partition::{Fetched, PartitionSight, Wait};
use crate::vitals::Doing;

/// What is done about something that stalls, besides the metric and the line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// `/readyz` lists it, as it lists a halted partition.
    #[default]
    Report,
    /// The host is not ready while anything stalls.
    Unready,
    /// The host stops in good order and ends with an error.
    Exit,
}

/// What counts as stalled, and what is done then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchPolicy {
    /// How long a record may be in hand and a partition with lag may stand; none where that is not watched.
    pub stall_after: Option<Duration>,
    /// How long a consumer's thread may take to come round; none where that is not watched.
    pub poll_late_after: Option<Duration>,
    /// What is done.
    pub action: Action,
}

impl WatchPolicy {
    /// What holds where nothing else is said. Shorter than the five minutes (`max.poll.interval.ms`) after which a group
    /// puts out a member that does not poll.
    pub const DEFAULT: Self = Self {
        stall_after: Some(Duration::from_mins(1)),
        poll_late_after: Some(Duration::from_mins(1)),
        action: Action::Report,
    };
}

impl Default for WatchPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What something waits for while it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    /// A lane has the record in hand.
    InHand(Doing),
    /// The outputs of the record are under way.
    Unacknowledged,
    /// The record was taken and no lane has it.
    Turn,
    /// Records were fetched and are not taken.
    Untaken,
    /// There are records that are not fetched.
    NotFetched,
    /// The consumer's thread does not come round.
    Poll,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InHand(Doing::Handling) => "the handler has not returned",
            Self::InHand(Doing::Permit) => {
                "it waits for an instance of the handler, and none is done (concurrency)"
            }
            Self::InHand(Doing::Place) => {
                "it waits for an instance of the host, and none is done (instances-max)"
            }
            Self::InHand(Doing::Response) => "the handler waits for a response",
            Self::InHand(Doing::Sending) => {
                "its outputs cannot be handed to the producer, or the transaction is not committed"
            }
            Self::Unacknowledged => "kafka has not acknowledged its outputs",
            Self::Turn => "it was taken and is not handled",
            Self::Untaken => "records were fetched and are not taken",
            Self::NotFetched => "kafka has more records and gives none; a transaction may be open",
            Self::Poll => "the consumer's thread does not come round",
        })
    }
}

/// Changes with every progress.
pub(crate) type Mark = (u64, u64);

/// Something that stands, as it was seen at one look. With the same record and mark it is the same standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stand {
    /// The record at which it stands, if it is one that is known.
    pub(crate) offset: Option<i64>,
    pub(crate) mark: Mark,
    pub(crate) why: Why,
    /// How long it may stand.
    pub(crate) bound: Duration,
}

/// What stood for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) offset: Option<i64>,
    pub(crate) why: Why,
    /// How long it has stood, or had stood.
    pub(crate) stood: Duration,
    /// How long ago it was seen to go on; none while it stands.
    pub(crate) over_for: Option<Duration>,
}

/// What is news after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// This has stood for too long. Told once for each standing.
    Stalled(Stall),
    /// Nothing has stood for half as long as it may, for as long as it may.
    Recovered {
        /// The time since the alarm was raised.
        after: Duration,
    },
    /// What stalled is not there any more.
    Gone,
}

#[derive(Debug)]
struct Standing {
    since: Duration,
    why: Why,
    bound: Duration,
    was_told: bool,
}

#[derive(Debug)]
struct Alarm {
    raised: Duration,
    /// What stood last, or stands.
    stall: Stall,
    /// When that was seen last.
    seen: Duration,
    /// When something was seen last that stood for half of its bound.
    uneasy: Duration,
    bound: Duration,
}

#[derive(Debug, Default)]
struct Subject {
    stands: BTreeMap<(Option<i64>, Mark), Standing>,
    alarm: Option<Alarm>,
}

/// See the module. `K` tells apart what is watched.
#[derive(Debug)]
pub(crate) struct Watchdog<K> {
    /// The time that was watched so far.
    clock: Duration,
    /// When the last look was, by the caller's time.
    looked: Option<Duration>,
    /// What may count between two looks.
    step_max: Duration,
    subjects: BTreeMap<K, Subject>,
}

impl<K: Ord + Clone> Watchdog<K> {
    /// Makes one that is to be called at least every `step_max`; more than that does not count between two looks.
    pub(crate) fn new(step_max: Duration) -> Self {
        Self {
            clock: Duration::ZERO,
            looked: None,
            step_max,
            subjects: BTreeMap::new(),
        }
    }

    /// Looks at everything that is there, with what stands of it; `now` is any time that only grows.
    pub(crate) fn look(
        &mut self,
        now: Duration,
        sights: BTreeMap<K, Vec<Stand>>,
    ) -> Vec<(K, News)> {
        let step = now.saturating_sub(self.looked.unwrap_or(now));
        self.clock += step.min(self.step_max);
        self.looked = Some(now);
        let mut news = Vec::new();
        self.subjects.retain(|name, subject| {
            let is_there = sights.contains_key(name);
            if !is_there && subject.alarm.is_some() {
                news.push((name.clone(), News::Gone));
            }
            is_there
        });
        for (name, stands) in sights {
            let subject = self.subjects.entry(name.clone()).or_default();
            subject.note(self.clock, stands);
            let told = subject.judge(self.clock).into_iter();
            news.extend(told.map(|news| (name.clone(), news)));
        }
        news
    }

    /// Lists what is in alarm, each with what stands longest or stood last.
    pub(crate) fn stalls(&self) -> impl Iterator<Item = (&K, Stall)> {
        let stall = |subject: &Subject| {
            let alarm = subject.alarm.as_ref()?;
            let over_for = self.clock.saturating_sub(alarm.seen);
            Some(Stall {
                over_for: (!over_for.is_zero()).then_some(over_for),
                ..alarm.stall
            })
        };
        let subjects = self.subjects.iter();
        subjects.filter_map(move |(name, subject)| Some((name, stall(subject)?)))
    }

    /// Lists what stands, with the time for which it has, be it ever so short.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (&K, Duration)> {
        let since = |subject: &Subject| subject.stands.values().map(|it| it.since).min();
        let subjects = self.subjects.iter();
        subjects.filter_map(move |(name, subject)| {
            Some((name, self.clock.saturating_sub(since(subject)?)))
        })
    }
}

impl Subject {
    /// Takes note of what stands now; what stood before goes on standing.
    fn note(&mut self, clock: Duration, stands: Vec<Stand>) {
        let mut before = std::mem::take(&mut self.stands);
        for Stand {
            offset,
            mark,
            why,
            bound,
        } in stands
        {
            let old = before.remove(&(offset, mark));
            let standing = Standing {
                since: old.as_ref().map_or(clock, |old| old.since),
                why,
                bound,
                was_told: old.is_some_and(|old| old.was_told),
            };
            self.stands.insert((offset, mark), standing);
        }
    }

    fn judge(&mut self, clock: Duration) -> Vec<News> {
        let mut news = Vec::new();
        let mut longest: Option<(Stall, Duration)> = None;
        let mut is_uneasy = false;
        for ((offset, _), standing) in &mut self.stands {
            let stood = clock.saturating_sub(standing.since);
            is_uneasy |= stood * 2 >= standing.bound;
            if stood < standing.bound {
                continue;
            }
            let stall = Stall {
                offset: *offset,
                why: standing.why,
                stood,
                over_for: None,
            };
            if !std::mem::replace(&mut standing.was_told, true) {
                news.push(News::Stalled(stall));
            }
            if longest.is_none_or(|(longest, _)| longest.stood < stood) {
                longest = Some((stall, standing.bound));
            }
        }
        if let Some((stall, bound)) = longest {
            self.alarm = Some(Alarm {
                raised: self.alarm.as_ref().map_or(clock, |alarm| alarm.raised),
                stall,
                seen: clock,
                uneasy: clock,
                bound,
            });
        } else if let Some(alarm) = &mut self.alarm {
            if is_uneasy {
                alarm.uneasy = clock;
            } else if clock.saturating_sub(alarm.uneasy) >= alarm.bound {
                let after = clock.saturating_sub(alarm.raised);
                news.push(News::Recovered { after });
                self.alarm = None;
            }
        }
        news
    }
}

#[cfg(test)]
mod tests;
