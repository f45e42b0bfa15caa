//! Durations as people write them: `500ms`, `10s`, `2m`, `1h`.
//!
//! The command line and the manifest hand in text and get a [`Duration`].
//! **Invariant:** a number without a unit is refused, never guessed.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text does not start with a whole number.
    #[error("expected a whole number and a unit, such as 500ms, 10s, 2m or 1h")]
    Number,
    /// There is a number, but no unit.
    #[error("the unit is missing: write {0}ms, {0}s, {0}m or {0}h")]
    NoUnit(u64),
    /// The unit is none that is known.
    #[error("unknown unit {0:?}, expected ms, s, m or h")]
    Unit(String),
    /// The duration does not fit into 64 bits of milliseconds.
    #[error("the duration is too long")]
    TooLong,
}

/// Returns a duration in whole milliseconds, as a number that a log line keeps as a number.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Parses a whole number with one of the units `ms`, `s`, `m` and `h`; spaces around either are ignored.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(DurationError::Number);
    }
    let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
    let unit_ms = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(DurationError::NoUnit(number)),
        other => return Err(DurationError::Unit(other.to_owned())),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or(DurationError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration(" 2 m "), Ok(Duration::from_mins(2)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_hours(1)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn whatever_is_no_duration_says_why() {
        assert_eq!(parse_duration(""), Err(DurationError::Number));
        assert_eq!(parse_duration("-1s"), Err(DurationError::Number));
        assert_eq!(parse_duration("soon"), Err(DurationError::Number));
        assert_eq!(parse_duration("10"), Err(DurationError::NoUnit(10)));
        assert_eq!(
            parse_duration("1.5s"),
            Err(DurationError::Unit(".5s".to_owned()))
        );
        assert_eq!(
            parse_duration("3d"),
            Err(DurationError::Unit("d".to_owned()))
        );
        assert_eq!(
            parse_duration("99999999999999999999s"),
            Err(DurationError::TooLong)
        );
        assert_eq!(
            parse_duration("18446744073709551615h"),
            Err(DurationError::TooLong)
        );
    }
}
