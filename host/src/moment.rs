//! Points in time as people write them: `2026-01-31T00:00:00Z`, or `-2h` for two hours ago.
//!
//! The manifest and the command line hand in text and get a [`Moment`]; whoever acts on it says what time it is.
//! **Invariant:** a time without a zone is refused, never guessed.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use toml::value::{Date, Datetime, Offset};

use crate::duration::{millis, parse_duration};

const DAY_MS: u64 = 86_400_000;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Milliseconds since the Unix epoch, as records bear them; negative before it.
    At(i64),
    /// So long before the moment at which it is asked for.
    Ago(Duration),
}

/// Why a text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MomentError {
    /// It is neither RFC 3339 nor a duration behind a minus sign.
    #[error("expected a time such as 2026-01-31T00:00:00Z, or -2h for two hours ago")]
    Form,
    /// Date or time of day is missing.
    #[error("{0} is not a whole time, write it as 2026-01-31T00:00:00Z")]
    Part(String),
    /// It says what time it is, but not where.
    #[error("{0} has no time zone, write {0}Z for UTC, or {0}+02:00")]
    NoZone(String),
    /// The minus sign is followed by no duration.
    #[error("{0} is no time ago: expected a whole number and a unit, such as -30m, -2h or -7d")]
    Ago(String),
}

/// Returns the time in milliseconds since the Unix epoch, as records have it; 0 before it.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |time| {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    })
}

impl Moment {
    /// Returns milliseconds since the Unix epoch.
    pub fn unix_ms(self, now: SystemTime) -> i64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(duration) => {
                let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(now.saturating_sub(duration).as_millis()).unwrap_or(i64::MAX)
            }
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        if let Some(ago) = text.strip_prefix('-') {
            return ago_of(ago)
                .map(Self::Ago)
                .ok_or_else(|| MomentError::Ago(text.to_owned()));
        }
        let time: Datetime = text.parse().map_err(|_| MomentError::Form)?;
        let (Some(date), Some(clock)) = (time.date, time.time) else {
            return Err(MomentError::Part(text.to_owned()));
        };
        let Some(offset) = time.offset else {
            return Err(MomentError::NoZone(text.to_owned()));
        };
        let offset_minutes = match offset {
            Offset::Z => 0,
            Offset::Custom { minutes } => i64::from(minutes),
        };
        let minutes = days(date) * 1440 + i64::from(clock.hour) * 60 + i64::from(clock.minute);
        let seconds = (minutes - offset_minutes) * 60 + i64::from(clock.second.unwrap_or(0));
        let fraction_ms = clock.nanosecond.unwrap_or(0) / 1_000_000;
        Ok(Self::At(seconds * 1000 + i64::from(fraction_ms)))
    }
}

impl fmt::Display for Moment {
    /// Writes what can be read again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(ms) => {
                let since = Duration::from_millis(ms.unsigned_abs());
                let time = if *ms < 0 {
                    UNIX_EPOCH.checked_sub(since)
                } else {
                    UNIX_EPOCH.checked_add(since)
                };
                // Years of four digits are always there; humantime knows those from 1970 on.
                match time.filter(|time| *time >= UNIX_EPOCH) {
                    Some(time) => write!(f, "{}", humantime::format_rfc3339(time)),
                    None => write!(f, "{ms} ms before 1970"),
                }
            }
            Self::Ago(duration) => {
                let ms = millis(*duration);
                let (number, unit) = [
                    (DAY_MS, "d"),
                    (3_600_000, "h"),
                    (60_000, "m"),
                    (1000, "s"),
                    (1, "ms"),
                ]
                .into_iter()
                .find(|(unit_ms, _)| ms.is_multiple_of(*unit_ms))
                .map_or((ms, "ms"), |(unit_ms, unit)| (ms / unit_ms, unit));
                write!(f, "-{number}{unit}")
            }
        }
    }
}

fn ago_of(text: &str) -> Option<Duration> {
    match text.strip_suffix('d') {
        Some(days) if days.bytes().all(|byte| byte.is_ascii_digit()) => {
            let days: u64 = days.parse().ok()?;
            days.checked_mul(DAY_MS).map(Duration::from_millis)
        }
        _ => parse_duration(text).ok(),
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days(date: Date) -> i64 {
    let (month, day) = (i64::from(date.month), i64::from(date.day));
    // Years begin in March, so that the day that some have and others have not is their last.
    let year = i64::from(date.year) - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Moment>()
            .unwrap()
            .unix_ms(SystemTime::UNIX_EPOCH)
    }

    fn why(text: &str) -> String {
        text.parse::<Moment>().unwrap_err().to_string()
    }

    #[test]
    fn times_are_read_with_their_zone() {
        assert_eq!(at("1970-01-01T00:00:00Z"), 0);
        assert_eq!(at("2026-01-31T00:00:00Z"), 1_769_817_600_000);
        assert_eq!(at("2026-01-31T02:00:00+02:00"), 1_769_817_600_000);
        assert_eq!(at("2026-01-30T23:30:00-00:30"), 1_769_817_600_000);
        assert_eq!(at("2026-01-31 00:00:00.25Z"), 1_769_817_600_250);
        assert_eq!(at("2000-02-29T00:00:00Z"), 951_782_400_000);
        assert_eq!(at("1969-12-31T23:59:59Z"), -1000);
    }

    #[test]
    fn a_time_ago_is_counted_back_from_now() {
        let now = UNIX_EPOCH + Duration::from_hours(100);
        for (text, hours) in [("-2h", 98), ("-120m", 98), ("-1d", 76), ("-0s", 100)] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.unix_ms(now), hours * 3_600_000, "{text}");
        }
        // Nothing is older than what Kafka can say.
        assert_eq!("-9999d".parse::<Moment>().unwrap().unix_ms(now), 0);
    }

    #[test]
    fn whatever_is_no_time_says_what_to_write() {
        assert!(why("yesterday").starts_with("expected a time such as 2026-01-31T00:00:00Z"));
        assert!(why("2026-02-30T00:00:00Z").starts_with("expected a time"));
        assert_eq!(
            why("2026-01-31"),
            "2026-01-31 is not a whole time, write it as 2026-01-31T00:00:00Z"
        );
        assert_eq!(
            why("2026-01-31T00:00:00"),
            "2026-01-31T00:00:00 has no time zone, write 2026-01-31T00:00:00Z for UTC, or 2026-01-31T00:00:00+02:00"
        );
        for text in [
            "-",
            "-2",
            "-h",
            "-2w",
            "-1.5h",
            "--2h",
            "-99999999999999999999d",
        ] {
            assert!(why(text).contains("is no time ago"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0i64..253_402_300_800, ago_ms in 0u64..1 << 50) {
            for moment in [Moment::At(seconds * 1000), Moment::Ago(Duration::from_millis(ago_ms))] {
                prop_assert_eq!(moment.to_string().parse(), Ok(moment));
            }
        }

        #[test]
        fn no_text_makes_a_moment_panic(text in any::<String>()) {
            let _ = text.parse::<Moment>();
        }
    }
}
