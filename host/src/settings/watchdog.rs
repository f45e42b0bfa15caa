//! The table `[watchdog]` of host.toml.
//!
//! **Invariant:** 0 stands for what is not watched.

use std::time::Duration;

use crate::manifest::{Key, Kind, Reader};
use crate::watchdog::{Action, WatchPolicy};

/// A day. What may stand longer need not be watched.
const MAX_MS: u64 = 86_400_000;

pub(super) const STALL_AFTER_MS: Key = Key {
    path: "watchdog.stall-after-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 0,
        max: MAX_MS,
        default: Some(millis(WatchPolicy::DEFAULT.stall_after)),
    },
    doc: "Time for which a record may be in a handler's hands, or a partition with lag may stand, before it counts as stalled; 0 watches neither.",
};
pub(super) const POLL_LATE_AFTER_MS: Key = Key {
    path: "watchdog.poll-late-after-ms",
    kind: Kind::Whole {
        unit: "milliseconds",
        min: 0,
        max: MAX_MS,
        default: Some(millis(WatchPolicy::DEFAULT.poll_late_after)),
    },
    doc: "Time within which a consumer's thread has to come round, the drain timeout of a rebalance not counted; 0 does not watch it.",
};
pub(super) const ACTION: Key = Key {
    path: "watchdog.action",
    kind: Kind::Choice {
        words: &["report", "unready", "exit"],
    },
    doc: "What follows when something stalls: a line in the log, a metric and a word of `/readyz`; that and a `/readyz` of 503; or that and the end of the process.",
};

const fn millis(bound: Option<Duration>) -> u64 {
    match bound {
        Some(bound) => bound.as_secs() * 1000,
        None => 0,
    }
}

/// Reads the table; what is left out is as [`WatchPolicy::DEFAULT`] has it.
pub(super) fn watchdog(reader: &mut Reader<'_>) -> WatchPolicy {
    let mut bound = |key, default: Option<Duration>| match reader.whole_given(key) {
        Some(0) => None,
        Some(ms) => Some(Duration::from_millis(ms)),
        None => default,
    };
    let defaults = WatchPolicy::DEFAULT;
    WatchPolicy {
        stall_after: bound(&STALL_AFTER_MS, defaults.stall_after),
        poll_late_after: bound(&POLL_LATE_AFTER_MS, defaults.poll_late_after),
        action: reader
            .choice(&ACTION)
            .map_or(defaults.action, |word| match word {
                "exit" => Action::Exit,
                "unready" => Action::Unready,
                _ => Action::Report,
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn the_watchdog_is_read_as_written_and_watches_where_nothing_is_said() {
        let text = "[watchdog]\nstall-after-ms = 0\npoll-late-after-ms = 2500\naction = \"exit\"\n";
        let read = Settings::parse(text).unwrap().watchdog;
        let expected = WatchPolicy {
            stall_after: None,
            poll_late_after: Some(Duration::from_millis(2500)),
            action: Action::Exit,
        };
        assert_eq!(read, expected);
        let unready = Settings::parse("watchdog.action = \"unready\"\n").unwrap();
        let action = Action::Unready;
        assert_eq!(
            unready.watchdog,
            WatchPolicy {
                action,
                ..WatchPolicy::DEFAULT
            }
        );
        assert_eq!(Settings::parse("").unwrap().watchdog, WatchPolicy::DEFAULT);
    }

    #[test]
    fn an_unknown_action_is_named_with_those_that_there_are() {
        let problems = Settings::parse("[watchdog]\naction = \"exits\"\nstall-after-ms = \"1m\"\n");
        let problems: Vec<String> = problems
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            problems,
            [
                r#"2: watchdog.action: expected "report", "unready" or "exit", found the text "exits" (did you mean "exit"?)"#,
                r#"3: watchdog.stall-after-ms: expected a whole number of milliseconds from 0 to 86400000, found the text "1m""#,
            ]
        );
    }
}
