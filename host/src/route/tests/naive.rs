//! The naive model, which asks each rule by itself and matches globs by trying everything, and what it is asked.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;

/// A rule as a user thinks of it; a condition of `None` is "present".
#[derive(Debug, Clone)]
pub(super) struct Plain {
    pub(super) target: usize,
    pub(super) topic: Option<String>,
    pub(super) event: Option<String>,
    pub(super) headers: Vec<(String, Option<String>)>,
}

/// What a rule is compared by: classes, conditions, and the lengths of literals.
type Rank = (u8, u8, usize, usize, usize);

impl Plain {
    pub(super) fn rule(&self) -> Rule {
        let condition = |value: &Option<String>| match value {
            None => HeaderMatcher::Present,
            Some(value) => HeaderMatcher::Text(pattern(value)),
        };
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), condition(value)));
        Rule {
            target: self.target,
            topic: self.topic.as_deref().map(pattern),
            event: self.event.as_deref().map(pattern),
            headers: headers.collect(),
        }
    }

    fn takes_topic(&self, topic: &str) -> bool {
        let glob = self.topic.as_ref();
        glob.is_none_or(|glob| naive_matches(glob, topic))
    }

    fn takes(&self, topic: &str, event: Event<'_>, headers: &[Header<'_>]) -> bool {
        let takes_event = match (&self.event, event) {
            (None, _) => true,
            (Some(glob), Event::Text(event)) => event.len() <= 256 && naive_matches(glob, event),
            (Some(_), _) => false,
        };
        let takes_header = |(name, wanted): &(String, Option<String>)| {
            headers.iter().any(|header| match (wanted, header.value) {
                _ if header.key != *name => false,
                (None, _) => true,
                (Some(_), None) => false,
                (Some(glob), Some(value)) => {
                    String::from_utf8(value.to_vec()).is_ok_and(|value| naive_matches(glob, &value))
                }
            })
        };
        self.takes_topic(topic) && takes_event && self.headers.iter().all(takes_header)
    }

    pub(super) fn rank(&self) -> Rank {
        let class = |glob: &Option<String>| match glob {
            None => 0,
            Some(glob) if glob.contains('*') || glob.contains('?') => 1,
            Some(_) => 2,
        };
        let length = |glob: &Option<String>| {
            let glob = glob.clone().unwrap_or_default();
            glob.replace(['*', '?'], "").chars().count()
        };
        let mut headers = self.headers.clone();
        headers.sort();
        headers.dedup();
        let (topic, event) = (&self.topic, &self.event);
        let (topic_chars, event_chars) = (length(topic), length(event));
        (
            class(topic),
            class(event),
            headers.len(),
            topic_chars,
            event_chars,
        )
    }
}

fn naive_glob(glob: &[char], text: &[char]) -> bool {
    match (glob.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=text.len()).any(|n| naive_glob(rest, &text[n..])),
        (Some(('?', rest)), Some((_, text))) => naive_glob(rest, text),
        (Some((g, rest)), Some((t, text))) => g == t && naive_glob(rest, text),
        _ => false,
    }
}

pub(super) fn naive_matches(glob: &str, text: &str) -> bool {
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    naive_glob(&chars(glob), &chars(text))
}

/// Asks every rule.
fn naive_route(
    rules: &[Plain],
    multi: Multi,
    topic: &str,
    event: Event<'_>,
    headers: &[Header<'_>],
) -> Result<Vec<usize>, Unmatched> {
    let takes = |rule: &&Plain| rule.takes(topic, event, headers);
    let mut taking: Vec<&Plain> = rules.iter().filter(takes).collect();
    taking.sort_by_key(|rule| Reverse(rule.rank()));
    let mut targets = Vec::new();
    for rule in taking {
        if !targets.contains(&rule.target) {
            targets.push(rule.target);
        }
    }
    if multi == Multi::First {
        targets.truncate(1);
    }
    let wants_event = |rule: &Plain| rule.takes_topic(topic) && rule.event.is_some();
    let wants_event = rules.iter().any(wants_event);
    match event {
        _ if !targets.is_empty() => Ok(targets),
        Event::None if wants_event => Err(Unmatched::NoEvent),
        Event::TooLong if wants_event => Err(Unmatched::EventTooLong),
        Event::NotText if wants_event => Err(Unmatched::EventNotText),
        _ => Err(Unmatched::NoRule),
    }
}

/// A record; of the events only one is its own.
#[derive(Debug, Clone)]
pub(super) struct PlainRecord {
    topic: String,
    kind: u8,
    event: String,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl PlainRecord {
    pub(super) fn parts(&self) -> (&str, Event<'_>, Vec<Header<'_>>) {
        let event = match self.kind {
            0 => Event::None,
            1 => Event::TooLong,
            2 => Event::NotText,
            _ => Event::Text(&self.event),
        };
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| header(name, value.as_deref()));
        (&self.topic, event, headers.collect())
    }
}

/// Compares what a table answers with the naive answer.
pub(super) fn compare(
    rules: &[Plain],
    multi: Multi,
    records: &[PlainRecord],
) -> Result<(), TestCaseError> {
    let built: Vec<_> = rules.iter().map(Plain::rule).collect();
    let table = RouteTable::new(&built, multi).unwrap();
    for record in records {
        let (topic, event, headers) = record.parts();
        let expected = naive_route(rules, multi, topic, event, &headers);
        let got = table.route(topic, event, &headers);
        prop_assert_eq!(
            got.map(|targets| targets.to_vec()),
            expected,
            "{:?}",
            record
        );
    }
    Ok(())
}

/// Leaves out the rules that stand in conflict with one before.
pub(super) fn without_conflicts(mut rules: Vec<Plain>) -> Vec<Plain> {
    loop {
        let built: Vec<_> = rules.iter().map(Plain::rule).collect();
        match check_conflicts(&built) {
            Ok(()) => return rules,
            Err(RouteError::Conflict { second, .. }) => rules.remove(second),
        };
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[ab]{1,2}", 3 => "[abé.]{1,4}", 1 => "(order|commande)[.](é|new)"]
}

fn glob() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => text(),
        2 => "[ab]{0,2}[*]",
        3 => "[abé.*?]{1,4}",
        1 => "[co][*?][a-z]{2,6}[*.][*]",
    ]
}

pub(super) fn rules(count: usize) -> impl Strategy<Value = Vec<Plain>> {
    let option = || prop::option::weighted(0.8, glob());
    let value = prop_oneof![
        2 => Just(None),
        5 => glob().prop_map(Some),
        1 => "(longer)?-than-8-bytes[*]?".prop_map(Some),
    ];
    let headers = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(("[xy]", value), 1..3),
    ];
    let rule = (0..count.min(12), option(), option(), headers);
    let rule = rule.prop_map(|(target, topic, event, headers)| Plain {
        target,
        topic,
        event,
        headers,
    });
    prop::collection::vec(rule, 1..=count)
}

pub(super) fn records() -> impl Strategy<Value = Vec<PlainRecord>> {
    let value = prop_oneof![
        1 => Just(None),
        6 => text().prop_map(|text| Some(text.into_bytes())),
        1 => "(longer)?-than-8-bytes".prop_map(|text| Some(text.into_bytes())),
        1 => Just(Some(b"a\xFF".to_vec())),
    ];
    let headers = prop::collection::vec(("[xyz]", value), 0..4);
    let record = (text(), 0..12_u8, text(), headers);
    let record = record.prop_map(|(topic, kind, event, headers)| PlainRecord {
        topic,
        kind,
        event,
        headers,
    });
    prop::collection::vec(record, 10)
}
