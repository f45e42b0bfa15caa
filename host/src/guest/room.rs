//! Which compiled components go where there are too many.
//!
//! Handed the files with their sizes and when they were used, gives those that are to be removed.
//! **Invariant:** what is in use stays, and nothing goes while something older stays that is not in use.

use std::path::PathBuf;
use std::time::SystemTime;

/// A file that is kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) used_at: SystemTime,
    pub(super) is_in_use: bool,
}

/// Lists the files beyond `bytes_max`, those that were not used for longest first.
pub(super) fn beyond(mut kept: Vec<Kept>, bytes_max: u64) -> Vec<PathBuf> {
    let mut bytes: u64 = kept.iter().map(|it| it.bytes).sum();
    kept.retain(|it| !it.is_in_use);
    kept.sort_by(|a, b| (a.used_at, &a.path).cmp(&(b.used_at, &b.path)));
    let mut gone = Vec::new();
    for it in kept {
        if bytes <= bytes_max {
            break;
        }
        bytes -= it.bytes;
        gone.push(it.path);
    }
    gone
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn files() -> impl Strategy<Value = Vec<Kept>> {
        let file = (0u64..100, 0u64..10, any::<bool>());
        prop::collection::vec(file, 0..12).prop_map(|files| {
            let kept = |(at, (bytes, seconds, is_in_use)): (usize, _)| Kept {
                path: PathBuf::from(at.to_string()),
                bytes,
                used_at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
                is_in_use,
            };
            files.into_iter().enumerate().map(kept).collect()
        })
    }

    proptest! {
        #[test]
        fn no_more_goes_than_has_to(files in files(), max in 0u64..400) {
            let gone = beyond(files.clone(), max);
            let is_gone = |it: &&Kept| gone.contains(&it.path);
            let left = |gone: &[PathBuf]| {
                let left = files.iter().filter(|it| !gone.contains(&it.path));
                left.map(|it| it.bytes).sum::<u64>()
            };
            prop_assert!(files.iter().filter(is_gone).all(|it| !it.is_in_use));
            let is_all = files.iter().all(|it| it.is_in_use || is_gone(&it));
            prop_assert!(left(&gone) <= max || is_all);
            if let Some((_, without_last)) = gone.split_last() {
                prop_assert!(left(without_last) > max);
            }
            for it in files.iter().filter(is_gone) {
                let stays = |other: &&Kept| !other.is_in_use && !is_gone(other);
                prop_assert!(files.iter().filter(stays).all(|other| other.used_at >= it.used_at));
            }
        }
    }
}
