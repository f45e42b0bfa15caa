//! A host that ends by itself: when it has caught up, or settled enough records.
//!
//! Handed the running parts, looks at them now and then; stopping is for the caller.
//! **Invariant:** only records that are settled count, each once.

use std::time::Duration;

use tokio::time::Instant;

use crate::admin::View;
use crate::catch_up::{CatchUp, Progress};
use crate::config::ServeConfig;
use crate::outcome::Ending;

/// How often the running parts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why a host ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// Everything that was there is settled.
    CaughtUp,
    /// So many records are settled.
    Enough,
    /// This stands in the way, a line each.
    Stuck(Vec<String>),
    /// The watchdog says so, and what stalls.
    Stalled(String),
}

/// Waits until the host shall end by itself; for ever, where it shall not.
pub(super) async fn ended(config: &ServeConfig, view: &View) -> Ended {
    if !config.until_caught_up && config.max_records.is_none() {
        std::future::pending::<()>().await;
    }
    let began = Instant::now();
    let mut catch_up = CatchUp::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(max) = config.max_records
            && Done::of(view).settled() >= max
        {
            return Ended::Enough;
        }
        if !config.until_caught_up || !view.board.has_looked() {
            continue;
        }
        // Both at once: a step that starts brings groups that are not caught up.
        let (waits, groups) = {
            let subscriptions = view.subscriptions.lock();
            (subscriptions.steps().waits(), subscriptions.standings())
        };
        if groups.is_empty() {
            let why = "no handler serves, so there is nothing to catch up with";
            return Ended::Stuck(vec![why.to_owned()]);
        }
        match catch_up.look(began.elapsed(), &groups) {
            Progress::Going => {}
            Progress::Done if !waits.is_empty() => {}
            Progress::Done => return Ended::CaughtUp,
            Progress::Stuck(mut problems) => {
                problems.extend(waits.iter().map(|(step, why)| format!("{step} {why}")));
                return Ended::Stuck(problems);
            }
        }
    }
}

/// What a host did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Done {
    endings: [u64; Ending::ALL.len()],
    emitted: u64,
    retries: u64,
}

impl Done {
    pub(super) fn of(view: &View) -> Self {
        let mut done = Self::default();
        for (_, _, reading) in view.registry.read() {
            for (sum, more) in done.endings.iter_mut().zip(reading.endings) {
                *sum += more;
            }
            done.emitted += reading.emitted;
            done.retries += reading.retries;
        }
        done
    }

    /// Returns how many records are settled; one that is halted or waits elsewhere is not.
    fn settled(&self) -> u64 {
        let endings = Ending::ALL.iter().zip(self.endings);
        endings
            .filter(|(ending, _)| !matches!(ending, Ending::Halted | Ending::Deferred))
            .map(|(_, records)| records)
            .sum()
    }

    /// Returns a line that says it.
    pub(super) fn report(&self) -> String {
        let counts: Vec<String> = Ending::ALL
            .iter()
            .zip(self.endings)
            .filter(|(ending, records)| **ending == Ending::Handled || *records > 0)
            .map(|(ending, records)| format!("{records} {}", ending.as_str().replace('_', "-")))
            .collect();
        format!(
            "{} records settled: {}; {} retries, {} records emitted",
            self.settled(),
            counts.join(", "),
            self.retries,
            self.emitted
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_counts_what_is_settled_and_names_what_is_not() {
        assert_eq!(
            Done::default().report(),
            "0 records settled: 0 handled; 0 retries, 0 records emitted"
        );
        let done = Done {
            endings: [4, 0, 2, 3, 1, 2, 0, 0, 0],
            emitted: 9,
            retries: 5,
        };
        assert_eq!(done.settled(), 9);
        assert_eq!(
            done.report(),
            "9 records settled: 4 handled, 2 skipped, 3 dead-lettered, 1 halted, 2 deferred; 5 retries, 9 records emitted"
        );
    }
}
