//! Whether the topics in which records wait for their retry keep them for as long.
//!
//! **Invariant:** only what brokers said is held against a manifest.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::duration::millis;
use crate::ids::TopicName;
use crate::policy::ReturnTopics;
use crate::topic_settings::TopicSettings;

/// Returns why a record may be gone before its wait is over, if it may; `longest` is the longest wait of the policy.
pub(super) fn shortcoming(
    topics: &ReturnTopics,
    longest: Duration,
    known: &BTreeMap<TopicName, TopicSettings>,
) -> Option<String> {
    let next = topics.retries().skip(1).map(|(next, _)| next);
    // Each topic is for waits up to the next one; beyond the last one a hook may still ask for more.
    let ends = next.map(Some).chain([None]);
    topics.retries().zip(ends).find_map(|((wait, topic), end)| {
        let wait = end.unwrap_or(longest).max(wait);
        let why = forgets(wait, known.get(topic)?)?;
        Some(format!(
            "retry.topic-delays-ms: records wait up to {} ms in {topic}, which {why}. Mend the topic, then write the \
             manifest again",
            millis(wait)
        ))
    })
}

fn forgets(wait: Duration, topic: &TopicSettings) -> Option<String> {
    let policy = topic.cleanup_policy.as_deref().unwrap_or("delete");
    if policy.contains("compact") {
        return Some(format!(
            "keeps only the last record of each key (cleanup.policy={policy}; \"delete\" is needed)"
        ));
    }
    let retention_ms = topic.retention_ms?;
    let is_short = u64::try_from(retention_ms).is_ok_and(|kept_ms| kept_ms <= millis(wait));
    is_short.then(|| {
        format!("keeps them no longer than that (retention.ms={retention_ms}; more is needed)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cleanup_policy: Option<&str>, retention_ms: Option<i64>) -> Option<String> {
        let topic: TopicName = "g.retry.1m".parse().unwrap();
        let topics = ReturnTopics::new(None, vec![(Duration::from_mins(1), topic.clone())]);
        let settings = TopicSettings {
            cleanup_policy: cleanup_policy.map(ToOwned::to_owned),
            retention_ms,
        };
        shortcoming(
            &topics,
            Duration::from_secs(10),
            &BTreeMap::from([(topic, settings)]),
        )
    }

    #[test]
    fn a_topic_has_to_keep_the_longest_wait_that_is_passed_in_it() {
        let [short, long]: [TopicName; 2] =
            ["g.retry.1m", "g.retry.1h"].map(|name| name.parse().unwrap());
        let waits = [Duration::from_mins(1), Duration::from_hours(1)];
        let retries = waits.into_iter().zip([short.clone(), long.clone()]);
        let topics = ReturnTopics::new(None, retries.collect());
        let told = |short_ms, long_ms, longest| {
            let kept = [(&short, short_ms), (&long, long_ms)].map(|(topic, retention_ms)| {
                let settings = TopicSettings {
                    cleanup_policy: None,
                    retention_ms: Some(retention_ms),
                };
                (topic.clone(), settings)
            });
            let told = shortcoming(&topics, longest, &BTreeMap::from(kept));
            told.map(|what| what.split(", which").next().unwrap().to_owned())
        };
        let day = Duration::from_hours(24);
        let day_ms = 86_400_000;
        assert_eq!(
            told(61_000, day_ms + 1, day).as_deref(),
            Some("retry.topic-delays-ms: records wait up to 3600000 ms in g.retry.1m")
        );
        assert_eq!(
            told(3_600_001, 3_600_001, day).as_deref(),
            Some("retry.topic-delays-ms: records wait up to 86400000 ms in g.retry.1h")
        );
        assert_eq!(told(3_600_001, 3_600_001, waits[0]), None);
        assert_eq!(told(3_600_001, day_ms + 1, day), None);
    }

    #[test]
    fn a_topic_that_forgets_too_soon_is_told_with_the_remedy() {
        assert_eq!(
            told(Some("delete"), Some(60_000)).as_deref(),
            Some(
                "retry.topic-delays-ms: records wait up to 60000 ms in g.retry.1m, which keeps them no longer than that \
                 (retention.ms=60000; more is needed). Mend the topic, then write the manifest again"
            )
        );
        assert!(told(Some("compact,delete"), Some(-1)).is_some_and(|it| it.contains("each key")));
    }

    #[test]
    fn a_topic_that_keeps_records_or_of_which_nothing_is_known_will_do() {
        assert_eq!(told(Some("delete"), Some(60_001)), None);
        assert_eq!(told(Some("delete"), Some(-1)), None);
        assert_eq!(told(None, None), None);
        let topics = ReturnTopics::new(None, vec![(Duration::from_mins(1), "t".parse().unwrap())]);
        assert_eq!(shortcoming(&topics, Duration::MAX, &BTreeMap::new()), None);
    }
}
