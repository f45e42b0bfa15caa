//! Where the next attempt of a pipeline begins.
//!
//! Told of each step that succeeds, keeps what the last one left that is not to be done again.
//! **Invariant:** a step that is not repeatable and has succeeded is not done again while its progress is kept.

/// See the module. `K` is what is kept behind a step: the message and what was to be sent.
#[derive(Debug)]
pub struct Progress<K> {
    kept: Option<(usize, K)>,
}

impl<K> Default for Progress<K> {
    fn default() -> Self {
        Self { kept: None }
    }
}

impl<K> Progress<K> {
    /// Returns the step that an attempt begins at.
    pub fn start(&self) -> usize {
        self.kept.as_ref().map_or(0, |(next, _)| *next)
    }

    /// Returns what that step is handed; nothing where it is the first one.
    pub fn kept(&self) -> Option<&K> {
        self.kept.as_ref().map(|(_, kept)| kept)
    }

    /// Takes note that a step has succeeded; `keep` is asked only where it is not to be done again.
    pub fn succeeded(&mut self, step: usize, is_repeatable: bool, keep: impl FnOnce() -> K) {
        if !is_repeatable {
            self.kept = Some((step + 1, keep()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The step after the last one that is not repeatable among those that have ever succeeded in a row.
    fn naive_start(repeatable: &[bool], succeeded: usize) -> usize {
        let mut start = 0;
        for (step, is_repeatable) in repeatable[..succeeded].iter().enumerate() {
            if !is_repeatable {
                start = step + 1;
            }
        }
        start
    }

    proptest! {
        /// `fails` says how often each step fails before it succeeds.
        #[test]
        fn an_attempt_begins_behind_what_is_not_to_be_repeated(
            steps in prop::collection::vec((any::<bool>(), 0_usize..3), 1..7),
        ) {
            let repeatable: Vec<bool> = steps.iter().map(|(repeatable, _)| *repeatable).collect();
            let mut left: Vec<usize> = steps.iter().map(|(_, fails)| *fails).collect();
            let (mut done, mut progress) = (vec![0; steps.len()], Progress::default());
            'attempts: loop {
                let start = progress.start();
                // What is kept is what the step before has left.
                prop_assert_eq!(progress.kept().copied().unwrap_or(0), start);
                for step in start..steps.len() {
                    if left[step] > 0 {
                        left[step] -= 1;
                        prop_assert_eq!(progress.start(), naive_start(&repeatable, step));
                        continue 'attempts;
                    }
                    done[step] += 1;
                    progress.succeeded(step, repeatable[step], || step + 1);
                }
                break;
            }
            for (step, times) in done.iter().enumerate() {
                prop_assert!(*times >= 1);
                prop_assert!(repeatable[step] || *times == 1, "step {step} was done {times} times");
            }
            if repeatable.iter().all(|it| *it) {
                prop_assert_eq!(progress.start(), 0);
            }
        }
    }
}
