//! How wrong the clock of a host is, and what becomes of that while a fault lasts.
//!
//! It is handed dice.
//! **Invariant:** a clock that is wrong is wrong by a second at least and by three hours at most.

use std::fmt;

use harness::dice::Dice;

const MINUTE_S: usize = 60;
const HOUR_S: usize = 3600;

/// How far a clock is ahead of the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skew {
    /// Negative where it is behind.
    pub(crate) ahead_s: i64,
}

impl Skew {
    /// That of a clock that is right.
    pub(crate) const NONE: Self = Self { ahead_s: 0 };

    /// Draws seconds, minutes or hours, forwards or backwards.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let bounds = [(1, MINUTE_S), (MINUTE_S, HOUR_S), (HOUR_S, 3 * HOUR_S)];
        let (least_s, most_s) = dice.pick(&bounds);
        let far_s = dice.between(least_s, most_s) as i64;
        Self {
            ahead_s: if dice.chance(50) { far_s } else { -far_s },
        }
    }
}

/// What is wrong with a clock, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Skews {
    pub(crate) first: Skew,
    pub(crate) then: Option<Skew>,
}

impl Skews {
    /// Draws one, or two.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let first = Skew::draw(dice);
        let then = dice.chance(33).then(|| Skew::draw(dice));
        Self { first, then }
    }

    pub(crate) fn all(self) -> impl ExactSizeIterator<Item = Skew> {
        let all = [Some(self.first), self.then];
        all.into_iter().flatten().collect::<Vec<_>>().into_iter()
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let far_s = self.ahead_s.unsigned_abs();
        let (hours, minutes, seconds) = (far_s / 3600, far_s / 60 % 60, far_s % 60);
        let side = if self.ahead_s < 0 { "behind" } else { "ahead" };
        write!(f, "{hours}:{minutes:02}:{seconds:02} {side}")
    }
}

impl fmt::Display for Skews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        match self.then {
            Some(then) => write!(f, ", then {then}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_ahead_and_behind_by_seconds_to_hours() {
        let mut dice = Dice::new(1);
        let all: Vec<Skews> = (0..100).map(|_| Skews::draw(&mut dice)).collect();
        let ahead: Vec<i64> = all
            .iter()
            .flat_map(|skews| skews.all())
            .map(|skew| skew.ahead_s)
            .collect();
        let has = |least_s, most_s| ahead.iter().any(|found| (least_s..=most_s).contains(found));
        assert!(has(1, 60) && has(-60, -1));
        assert!(has(3600, 10_800) && has(-10_800, -3600));
        assert!(
            ahead
                .iter()
                .all(|found| (1..=10_800).contains(&found.abs()))
        );
        assert!((110..160).contains(&ahead.len()), "{}", ahead.len());
    }

    #[test]
    fn a_skew_is_told_as_a_clock_shows_it() {
        let first = Skew {
            ahead_s: 2 * 3600 + 61,
        };
        let then = Some(Skew { ahead_s: -59 });
        assert_eq!(
            Skews { first, then }.to_string(),
            "2:01:01 ahead, then 0:00:59 behind"
        );
    }
}
