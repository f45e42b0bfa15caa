//! Where each partition's position goes, and how that is shown.
//!
//! **Invariant:** a new position lies from the partition's beginning to its end.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::moment::{Moment, MomentError};

/// Where positions shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To the oldest record that is kept.
    Beginning,
    /// Behind the newest record.
    End,
    /// To this offset, in each partition.
    Offset(i64),
    /// So many records on, or back.
    Shift(i64),
    /// To the first record whose timestamp is not before this.
    Time(Moment),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "beginning" => return Ok(Self::Beginning),
            "end" => return Ok(Self::End),
            _ => {}
        }
        let digits = text.trim_start_matches(['+', '-']);
        if text.len() <= digits.len() + 1
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
        {
            let number = text
                .parse()
                .map_err(|_| format!("{text} is larger than any offset"))?;
            let is_shift = text.len() > digits.len();
            return Ok(if is_shift {
                Self::Shift(number)
            } else {
                Self::Offset(number)
            });
        }
        text.parse().map(Self::Time).map_err(|error| match error {
            MomentError::Form => {
                "expected beginning, end, an offset such as 1200, +N or -N records, a time such as \
                                  2026-01-31T00:00:00Z, or -2h for two hours ago"
                    .to_owned()
            }
            error => error.to_string(),
        })
    }
}

/// What is known of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The offset of the oldest record.
    pub(super) low: i64,
    /// The offset behind the newest record.
    pub(super) high: i64,
    pub(super) committed: Option<i64>,
    /// The first record that is not older than the time asked for.
    pub(super) at_time: Option<i64>,
}

/// What becomes of one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) old: Option<i64>,
    /// None where there is nothing to count from.
    pub(super) new: Option<i64>,
    pub(super) note: &'static str,
}

/// Decides about one partition.
pub(super) fn decide(topic: &str, partition: i32, place: Place, target: Target) -> Move {
    let Place { low, high, .. } = place;
    let (wanted, mut note) = match target {
        Target::Beginning => (Some(low), ""),
        Target::End => (Some(high), ""),
        Target::Offset(offset) => (Some(offset), ""),
        Target::Shift(by) => match place.committed {
            Some(position) => (Some(position.saturating_add(by)), ""),
            None => (None, "left alone: it has no position to count from"),
        },
        Target::Time(_) => match place.at_time {
            Some(offset) => (Some(offset), ""),
            None => (Some(high), "no record since then: the end"),
        },
    };
    let new = wanted.map(|wanted| wanted.max(low).min(high));
    if wanted < new {
        note = "before the oldest record: the beginning";
    } else if wanted > new {
        note = "behind the newest record: the end";
    }
    Move {
        topic: topic.to_owned(),
        partition,
        old: place.committed,
        new,
        note,
    }
}

/// Returns a line for each partition, with a head.
pub(super) fn table(moves: &[Move]) -> String {
    let head = ["topic", "partition", "old", "new", "by"].map(str::to_owned);
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let rows: Vec<([String; 5], &str)> = moves
        .iter()
        .map(|one| {
            let by = one.old.zip(one.new).map(|(old, new)| new - old);
            let cells = [
                one.topic.clone(),
                one.partition.to_string(),
                number(one.old),
                number(one.new),
                by.map_or_else(|| "-".to_owned(), |by| format!("{by:+}")),
            ];
            (cells, one.note)
        })
        .collect();
    let mut widths = head.each_ref().map(String::len);
    for (cells, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for (cells, note) in std::iter::once((&head, "")).chain(rows.iter().map(|(c, n)| (c, *n))) {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            // Writing to a text cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        let line = format!("{line}{note}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_target_is_read() {
        for (text, target) in [
            ("beginning", Target::Beginning),
            ("end", Target::End),
            ("1200", Target::Offset(1200)),
            ("+3", Target::Shift(3)),
            ("-3", Target::Shift(-3)),
            ("-3h", Target::Time(Moment::Ago(Duration::from_hours(3)))),
            ("1970-01-01T00:00:01Z", Target::Time(Moment::At(1000))),
        ] {
            assert_eq!(text.parse(), Ok(target), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_says_what_to_write() {
        let why = |text: &str| text.parse::<Target>().unwrap_err();
        for text in ["start", "", "+", "--3", "+3h"] {
            let told = why(text);
            let known = told.starts_with("expected beginning, end,") || told.contains("time ago");
            assert!(known, "{text}: {told}");
        }
        assert_eq!(
            why("99999999999999999999"),
            "99999999999999999999 is larger than any offset"
        );
        assert!(why("2026-01-31").contains("write it as 2026-01-31T00:00:00Z"));
        assert!(why("-3w").contains("such as -30m, -2h or -7d"));
    }

    fn place(committed: Option<i64>, at_time: Option<i64>) -> Place {
        Place {
            low: 10,
            high: 20,
            committed,
            at_time,
        }
    }

    #[test]
    fn a_position_stays_within_its_partition_and_says_so() {
        let to = |place, target| {
            let decided = decide("t", 0, place, target);
            (decided.new, decided.note)
        };
        let low = "before the oldest record: the beginning";
        let high = "behind the newest record: the end";
        let some = place(Some(15), None);
        assert_eq!(to(some, Target::Offset(9)), (Some(10), low));
        assert_eq!(to(some, Target::Offset(10)), (Some(10), ""));
        assert_eq!(to(some, Target::Offset(20)), (Some(20), ""));
        assert_eq!(to(some, Target::Offset(21)), (Some(20), high));
        assert_eq!(to(some, Target::Shift(-6)), (Some(10), low));
        assert_eq!(to(some, Target::Shift(i64::MAX)), (Some(20), high));
        let time = Target::Time(Moment::At(0));
        assert_eq!(to(place(None, Some(12)), time), (Some(12), ""));
        assert_eq!(to(some, time), (Some(20), "no record since then: the end"));
        let (new, note) = to(place(None, None), Target::Shift(1));
        assert!(new.is_none() && note.starts_with("left alone"), "{note}");
    }

    #[test]
    fn the_table_shows_old_and_new() {
        let moves = [
            decide("orders", 0, place(Some(15), None), Target::Offset(3)),
            decide("orders", 11, place(None, None), Target::Offset(12)),
        ];
        assert_eq!(
            table(&moves),
            "topic   partition  old  new  by\n\
             orders  0          15   10   -5  before the oldest record: the beginning\n\
             orders  11         -    12   -\n"
        );
    }

    proptest! {
        #[test]
        fn a_new_position_lies_within_its_partition(
            low in 0i64..100, size in 0i64..100, committed in prop::option::of(0i64..300), number in any::<i64>(),
            kind in 0..5,
        ) {
            let place = Place { low, high: low + size, committed, at_time: None };
            let target = match kind {
                0 => Target::Beginning,
                1 => Target::End,
                2 => Target::Offset(number.saturating_abs()),
                3 => Target::Shift(number),
                _ => Target::Time(Moment::At(number)),
            };
            match decide("t", 0, place, target).new {
                Some(new) => prop_assert!((low..=low + size).contains(&new)),
                None => prop_assert!(committed.is_none() && kind == 3),
            }
        }

        #[test]
        fn no_text_makes_a_target_panic(text in any::<String>()) {
            let _ = text.parse::<Target>();
        }
    }
}
