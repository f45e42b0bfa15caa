//! Reads which records a handler takes.

use crate::manifest::key::Key;
use crate::manifest::keys::route as keys;
use crate::manifest::{Reader, Text};
use crate::policy::{OnExhausted, ReturnTopics, Subscription};
use crate::route::{HeaderMatcher, Matcher, Multi, OnUnmatched, Routing, Rule};

/// What stands for any value of a header, also one that is no text.
const ANY: &str = "*";

/// Reads the tables `[[route]]` and what goes with them.
pub(super) fn routing(reader: &mut Reader<'_>, subscription: Option<&Subscription>) -> Routing {
    let source = reader.parsed(&keys::EVENT_SOURCE);
    let multi = match reader.choice(&keys::MULTI) {
        Some("all") => Multi::All,
        _ => Multi::First,
    };
    let unmatched = match reader.choice(&keys::UNMATCHED) {
        Some("dead-letter") => OnUnmatched::DeadLetter,
        Some("halt") => OnUnmatched::Halt,
        _ => OnUnmatched::Skip,
    };
    let mut rules: Vec<Rule> = Vec::new();
    reader.each_row(&keys::ROUTE, |row, start| {
        let rule = rule(row, start, subscription);
        if rules.contains(&rule) {
            row.problem(&keys::EVENT, Some(start), "this route is there twice");
        }
        rules.push(rule);
    });
    Routing {
        source: source.unwrap_or_default(),
        multi,
        unmatched,
        max_hops: u32::try_from(reader.whole(&keys::MAX_HOPS)).unwrap_or(u32::MAX),
        rules,
    }
}

/// Reads which records a table of the manifest is about.
pub(super) fn rule(
    row: &mut Reader<'_>,
    start: usize,
    subscription: Option<&Subscription>,
) -> Rule {
    let rule = Rule {
        target: 0,
        topic: row.topic_matcher(&keys::TOPIC),
        event: matcher(row, &keys::EVENT),
        headers: headers(row),
    };
    if let Some(topic) = rule.topic.as_ref().and_then(Matcher::as_exact)
        && let Some(Subscription::Topics(topics)) = subscription
        && !topics.iter().any(|read| read.as_str() == topic)
    {
        let what = format!("{topic} is none of the handler's topics, so no record can match");
        row.problem(&keys::TOPIC, Some(start), &what);
    }
    rule
}

/// Refuses what does not go together with several handlings of one record.
pub(super) fn fan_out_fits(
    reader: &mut Reader<'_>,
    routing: &Routing,
    on_exhausted: OnExhausted,
    return_topics: &ReturnTopics,
) {
    if routing.multi != Multi::All {
        return;
    }
    let offset = reader.offset(&keys::MULTI);
    if on_exhausted == OnExhausted::Park {
        let what = "a record that several take is no reason to park its key for all of them (leave multi = \"all\" or \
                    on-exhausted = \"park\" out)";
        reader.problem(&keys::MULTI, offset, what);
    }
    if return_topics.has_retries() {
        let what = "a record that several take cannot wait in a topic for one of them (leave multi = \"all\" or \
                    retry.topic-delays-ms out)";
        reader.problem(&keys::MULTI, offset, what);
    }
}

fn matcher(row: &mut Reader<'_>, key: &'static Key) -> Option<Matcher> {
    let Text { text, offset } = row.text(key)?;
    match Matcher::pattern(&text) {
        Ok(matcher) => Some(matcher),
        Err(error) => {
            row.problem(key, Some(offset), &error.to_string());
            None
        }
    }
}

fn headers(row: &mut Reader<'_>) -> Vec<(String, HeaderMatcher)> {
    let key = &keys::HEADERS;
    let offset = row.offset(key);
    let table = row.table(key);
    let mut headers = Vec::with_capacity(table.len());
    for (name, pattern) in table {
        if pattern == ANY {
            headers.push((name, HeaderMatcher::Present));
            continue;
        }
        match Matcher::pattern(&pattern) {
            Ok(matcher) => headers.push((name, HeaderMatcher::Text(matcher))),
            Err(error) => row.problem(key, offset, &format!("{name}: {error}")),
        }
    }
    headers
}
