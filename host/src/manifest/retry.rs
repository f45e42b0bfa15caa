//! Reads `[retry]` and its tables for kinds of failures.
//!
//! **Invariant:** a policy that leaves this file is complete, or a problem was noted.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{GroupId, TopicName};
use crate::letter::replay_topic;
use crate::manifest::Reader;
use crate::manifest::keys::retry::{ON, RETRY, RetryKeys, TOPIC_DELAYS_MS};
use crate::policy::{Backoff, BackoffKind, KindPolicy, Ordering, RetryPolicy, ReturnTopics};

/// Reads the policy of all kinds of failures, and those that differ.
pub(super) fn retry(reader: &mut Reader<'_>) -> RetryPolicy {
    let base = kind_policy(reader, &RETRY, &KindPolicy::DEFAULT);
    let mut policy = RetryPolicy::new(base.clone());
    for (kind, keys) in ON {
        policy = policy.with(kind, kind_policy(reader, keys, &base));
    }
    policy
}

/// Reads by which topics records come back.
pub(super) fn return_topics(
    reader: &mut Reader<'_>,
    group: &GroupId,
    ordering: Ordering,
) -> ReturnTopics {
    let key = &TOPIC_DELAYS_MS;
    let (delays, offset) = (reader.wholes(key).unwrap_or_default(), reader.offset(key));
    if offset.is_some() && ordering != Ordering::None {
        let what = "a record that waits in another topic is overtaken by all others, so this needs ordering = \"none\" \
                    (write that, or leave the key out: waits in memory hold nothing up but the record, its key or its \
                    partition)";
        reader.problem(key, offset, what);
    }
    let mut topics: Vec<(Duration, TopicName)> = Vec::with_capacity(delays.len());
    for delay in delays.into_iter().map(Duration::from_millis) {
        let suffix = format!(".retry.{}", humantime::format_duration(delay)).replace(' ', "");
        match TopicName::with_suffix(group, &suffix) {
            Ok(topic) if topics.iter().any(|(_, known)| *known == topic) => {
                let what = format!("{} is there twice", delay.as_millis());
                reader.problem(key, offset, &what);
            }
            Ok(topic) => topics.push((delay, topic)),
            Err(error) => {
                let what = format!("the topic {group}{suffix} cannot be: {error}");
                reader.problem(key, offset, &what);
            }
        }
    }
    ReturnTopics::new(replay_topic(group).ok(), topics)
}

/// Reads one table; what it leaves out is as in `base`.
fn kind_policy(reader: &mut Reader<'_>, keys: &'static RetryKeys, base: &KindPolicy) -> KindPolicy {
    let millis = |millis: Option<u64>| millis.map(Duration::from_millis);
    let max_attempts = reader
        .whole_given(&keys.max_attempts)
        .and_then(|attempts| u32::try_from(attempts).ok());
    let max_age = millis(reader.whole_given(&keys.max_age_ms));
    let backoff = Backoff {
        kind: backoff_kind(reader, keys, &base.backoff.kind),
        initial: millis(reader.whole_given(&keys.initial_ms)).unwrap_or(base.backoff.initial),
        max: millis(reader.whole_given(&keys.max_ms)).unwrap_or(base.backoff.max),
        multiplier: reader
            .real_given(&keys.multiplier)
            .unwrap_or(base.backoff.multiplier),
        jitter: reader
            .real_given(&keys.jitter)
            .unwrap_or(base.backoff.jitter),
    };
    check_waits(reader, keys, &backoff);
    KindPolicy {
        max_attempts: max_attempts.unwrap_or(base.max_attempts),
        max_age: max_age.or(base.max_age),
        backoff,
    }
}

fn backoff_kind(
    reader: &mut Reader<'_>,
    keys: &'static RetryKeys,
    base: &BackoffKind,
) -> BackoffKind {
    let word = reader.choice(&keys.backoff);
    let (word_offset, delays_offset) =
        (reader.offset(&keys.backoff), reader.offset(&keys.delays_ms));
    let delays: Option<Arc<[Duration]>> = reader
        .wholes(&keys.delays_ms)
        .map(|delays| delays.into_iter().map(Duration::from_millis).collect());
    let base_is_list = matches!(base, BackoffKind::List(_));
    if word.map_or(base_is_list, |word| word == "list") {
        if delays_offset.is_none() && !base_is_list {
            let what = format!(
                "missing, {} = \"list\" needs {}",
                keys.backoff.path,
                keys.delays_ms.kind.expected(),
            );
            reader.problem(&keys.delays_ms, word_offset, &what);
        }
        return delays.map_or_else(|| base.clone(), BackoffKind::List);
    }
    // A word that is none may have been meant as "list".
    let is_known = word.is_some() || word_offset.is_none();
    if delays_offset.is_some() && is_known {
        let what = format!(
            "only for {} = \"list\" (write backoff = \"list\", or leave delays-ms out)",
            keys.backoff.path,
        );
        reader.problem(&keys.delays_ms, delays_offset, &what);
    }
    match word {
        Some("exponential") => BackoffKind::Exponential,
        Some("fixed") => BackoffKind::Fixed,
        Some("fibonacci") => BackoffKind::Fibonacci,
        _ => base.clone(),
    }
}

fn check_waits(reader: &mut Reader<'_>, keys: &'static RetryKeys, backoff: &Backoff) {
    let (initial, max) = (reader.offset(&keys.initial_ms), reader.offset(&keys.max_ms));
    // Where neither is given, the problem is one of the table that this one follows.
    let Some(offset) = max.or(initial).filter(|_| backoff.initial > backoff.max) else {
        return;
    };
    let from = initial.map_or(&RETRY.initial_ms, |_| &keys.initial_ms);
    let to = max.map_or(&RETRY.max_ms, |_| &keys.max_ms);
    let whose = if to.path == keys.max_ms.path {
        String::new()
    } else {
        format!(", that of {}", to.path)
    };
    let what = format!(
        "expected at least {}, which is {}, found {}{whose}",
        from.path,
        backoff.initial.as_millis(),
        backoff.max.as_millis(),
    );
    reader.problem(&keys.max_ms, Some(offset), &what);
}
