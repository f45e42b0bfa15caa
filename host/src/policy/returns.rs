//! The topics by which records come back to their handler.
//!
//! **Invariant:** delays rise from one retry topic to the next.

use std::time::Duration;

use crate::ids::TopicName;

/// The topics of one handler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReturnTopics {
    /// Of dead letters that are replayed; none where the group's name leaves no room for its name.
    pub replay: Option<TopicName>,
    /// Of retries, each with the shortest wait that is passed there.
    retries: Vec<(Duration, TopicName)>,
}

impl ReturnTopics {
    /// Takes the topics of retries, each with the shortest wait that is passed there, in any order.
    pub fn new(replay: Option<TopicName>, mut retries: Vec<(Duration, TopicName)>) -> Self {
        retries.sort();
        Self { replay, retries }
    }

    /// Returns whether records of `topic` come back to the handler.
    pub fn contains(&self, topic: &str) -> bool {
        self.all().any(|name| name.as_str() == topic)
    }

    /// Lists all topics.
    pub fn all(&self) -> impl Iterator<Item = &TopicName> {
        let retries = self.retries().map(|(_, topic)| topic);
        self.replay.iter().chain(retries)
    }

    /// Lists the topics of retries, each with the shortest wait that is passed there.
    pub fn retries(&self) -> impl Iterator<Item = (Duration, &TopicName)> {
        self.retries.iter().map(|(delay, topic)| (*delay, topic))
    }

    /// Returns whether any wait is passed in a topic.
    pub fn has_retries(&self) -> bool {
        !self.retries.is_empty()
    }

    /// Returns the topic in which a wait is passed; none for one that is passed in memory.
    pub fn for_wait(&self, wait: Duration) -> Option<&TopicName> {
        let at = self.retries.partition_point(|(delay, _)| *delay <= wait);
        let (_, topic) = self.retries.get(at.checked_sub(1)?)?;
        Some(topic)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topics(delays: &[u64]) -> ReturnTopics {
        let retries = delays
            .iter()
            .map(|delay| {
                let topic = format!("g.retry.{delay}").parse().unwrap();
                (Duration::from_millis(*delay), topic)
            })
            .collect();
        ReturnTopics::new(Some("g.replay".parse().unwrap()), retries)
    }

    proptest! {
        #[test]
        fn a_wait_is_passed_in_the_topic_of_the_longest_delay_that_is_not_longer(
            delays in proptest::collection::btree_set(1u64..100, 0..5), wait in 0u64..120,
        ) {
            let expected = delays.iter().filter(|delay| **delay <= wait).max();
            let delays: Vec<u64> = delays.iter().rev().copied().collect();
            let topics = topics(&delays);
            let found = topics.for_wait(Duration::from_millis(wait)).map(ToString::to_string);
            prop_assert_eq!(found, expected.map(|delay| format!("g.retry.{delay}")));
        }
    }

    #[test]
    fn replays_and_retries_come_back() {
        let topics = topics(&[10, 20]);
        let all: Vec<String> = topics.all().map(ToString::to_string).collect();
        assert_eq!(all, ["g.replay", "g.retry.10", "g.retry.20"]);
        assert!(topics.contains("g.retry.20") && !topics.contains("g.retry.30"));
        assert!(!ReturnTopics::default().has_retries());
    }
}
