//! Reads which topics a handler reads.
//!
//! **Invariant:** a handler does not read its own dead letters.

use crate::ids::TopicName;
use crate::manifest::{Key, Reader, Text, keys};
use crate::policy::{PatternError, Subscription, TopicPattern};

/// Returns the topics to read; none where a problem was noted.
pub(super) fn subscription(
    reader: &mut Reader<'_>,
    dead_letter: Option<&TopicName>,
) -> Option<Subscription> {
    const GROUPS: [&Key; 3] = [&keys::TOPICS, &keys::PATTERN, &keys::REGEX];
    let mut given: Vec<(usize, &'static Key)> = GROUPS
        .into_iter()
        .filter_map(|key| reader.offset(key).map(|offset| (offset, key)))
        .collect();
    given.sort_by_key(|(offset, _)| *offset);
    let Some(((first, key), more)) = given.split_first() else {
        let what =
            "missing (name the topics to read: topics = [\"orders\"], or a pattern or regex)";
        reader.problem(&keys::TOPICS, None, what);
        return None;
    };
    for (offset, other) in more {
        let what = format!(
            "{} is given on line {} already (one of topics, pattern and regex is enough)",
            key.path,
            reader.line(*first)
        );
        reader.problem(other, Some(*offset), &what);
    }
    let topics = topics(reader, dead_letter);
    let glob = pattern(reader, &keys::PATTERN, TopicPattern::glob);
    let regex = pattern(reader, &keys::REGEX, TopicPattern::regex);
    let pattern = glob.or(regex).map(|pattern| match dead_letter {
        Some(topic) => pattern.except(topic),
        None => pattern,
    });
    topics
        .map(Subscription::Topics)
        .or(pattern.map(Subscription::Pattern))
}

fn topics(reader: &mut Reader<'_>, dead_letter: Option<&TopicName>) -> Option<Vec<TopicName>> {
    let topics = reader.topics(&keys::TOPICS)?;
    if let Some(topic) = dead_letter.filter(|topic| topics.contains(topic)) {
        let what = format!(
            "{topic} is where the handler's own dead letters go, it would read them again for ever"
        );
        let offset = reader.offset(&keys::TOPICS);
        reader.problem(&keys::TOPICS, offset, &what);
    }
    Some(topics)
}

fn pattern(
    reader: &mut Reader<'_>,
    key: &'static Key,
    parse: fn(&str) -> Result<TopicPattern, PatternError>,
) -> Option<TopicPattern> {
    let Text { text, offset } = reader.text(key)?;
    let pattern = parse(&text).and_then(|pattern| reader.behind_prefix(&pattern));
    if let Err(error) = &pattern {
        reader.problem(key, Some(offset), &error.to_string());
    }
    pattern.ok()
}
