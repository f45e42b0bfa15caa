//! Whether handlers of one group go together.
//!
//! **Invariant:** among the handlers of a group those of a topic can be told apart by their routes, and all agree on how
//! the group is read.

use std::collections::BTreeMap;

use crate::catalog::Deployed;
use crate::ids::{HandlerId, Revision};
use crate::manifest::Manifest;
use crate::policy::{Delivery, OnExhausted, Subscription};
use crate::route::{OwnRule, contested};

/// A handler by its name, what its manifest says and what it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Party<'a> {
    pub(super) id: &'a HandlerId,
    pub(super) manifest: &'a Manifest,
    pub(super) rules: &'a [OwnRule],
    /// What sees its records first.
    pub(super) middleware: &'a Revision,
    pub(super) takes_singles: bool,
}

impl<'a> Party<'a> {
    /// Returns what serves already.
    pub(super) fn of(deployed: &'a Deployed) -> Self {
        Self {
            id: &deployed.id,
            manifest: &deployed.manifest,
            rules: &deployed.rules,
            middleware: &deployed.middleware.id,
            takes_singles: deployed.takes_singles(),
        }
    }
}

/// Returns why a handler cannot serve beside another one, if it cannot.
pub(super) fn obstacle(new: Party<'_>, old: Party<'_>) -> Option<String> {
    if new.id.tenant != old.id.tenant || new.manifest.group != old.manifest.group {
        return None;
    }
    let shared = shared_topic(&new.manifest.subscription, &old.manifest.subscription);
    let mixed_up = shared.and_then(|topic| {
        let why = not_told_apart(new, old)?;
        Some(format!(
            "both read {topic} in group {}, {why}",
            new.manifest.group
        ))
    });
    let why = mixed_up.or_else(|| conflict(new.manifest, old.manifest))?;
    Some(format!("does not go together with {}: {why}", old.id))
}

/// Returns why the records of a topic that both read cannot be handed to the one or the other, or to both, if they cannot.
fn not_told_apart(new: Party<'_>, old: Party<'_>) -> Option<String> {
    let (here, there) = (new.manifest, old.manifest);
    let (routing, other) = (&here.routing, &there.routing);
    let differing = [
        ("multi", routing.multi != other.multi),
        ("event.source", routing.source != other.source),
        ("unmatched", routing.unmatched != other.unmatched),
        ("[[middleware]]", new.middleware != old.middleware),
        ("ordering", here.ordering != there.ordering),
        ("concurrency", here.concurrency != there.concurrency),
        (
            "limits.in-flight-records",
            here.limits.in_flight_records != there.limits.in_flight_records,
        ),
        (
            "limits.in-flight-mib",
            here.limits.in_flight_bytes != there.limits.in_flight_bytes,
        ),
    ];
    if let Some(what) = contested([new.rules, old.rules], routing.multi) {
        return Some(format!(
            "and each takes {what} (give one of them another group, tell them apart by [[route]], or let both have each \
             record: multi = \"all\")"
        ));
    }
    if let Some((key, _)) = differing.iter().find(|(_, differs)| *differs) {
        return Some(format!(
            "and {key} differs, which handlers of one topic have in common"
        ));
    }
    let is_batched = |it: Party<'_>| it.manifest.bulk.is_some() || !it.takes_singles;
    (is_batched(new) || is_batched(old))
        .then(|| "and one of them takes batches, which cannot be shared".to_owned())
}

/// Returns why `new` cannot join `old` in one group, if it cannot.
fn conflict(new: &Manifest, old: &Manifest) -> Option<String> {
    if new.return_topics.has_retries() || old.return_topics.has_retries() {
        return Some(format!(
            "retry.topic-delays-ms needs a group that no other handler reads, and this one shares {}",
            new.group
        ));
    }
    if [new, old]
        .iter()
        .any(|it| it.on_exhausted == OnExhausted::Park)
    {
        return Some(format!(
            "on-exhausted = \"park\" needs a group that no other handler reads, and this one shares {} (give one of them \
             another group)",
            new.group
        ));
    }
    if new.start != old.start {
        return Some(format!(
            "start is \"{}\" here and \"{}\" there, and group {} can only begin at one place",
            new.start, old.start, new.group
        ));
    }
    if new.delivery != old.delivery {
        return Some(format!(
            "delivery or transaction-interval-ms differ, and group {} has one transaction for all",
            new.group
        ));
    }
    if new.delivery != Delivery::AtLeastOnce
        && let Some(key) = different_key(&new.kafka_producer, &old.kafka_producer)
    {
        return Some(format!(
            "they set {key} in [kafka.producer] differently, and with delivery = \"exactly-once\" group {} has one \
             producer",
            new.group
        ));
    }
    different_key(&new.kafka_consumer, &old.kafka_consumer).map(|key| {
        format!(
            "they set {key} in [kafka.consumer] differently for group {}",
            new.group
        )
    })
}

/// Two patterns may always share a topic that does not exist yet.
fn shared_topic(new: &Subscription, old: &Subscription) -> Option<String> {
    match (new, old) {
        (Subscription::Topics(topics), other) | (other, Subscription::Topics(topics)) => topics
            .iter()
            .find(|topic| other.matches(topic.as_str()))
            .map(ToString::to_string),
        (Subscription::Pattern(_), Subscription::Pattern(_)) => {
            Some("topics by pattern".to_owned())
        }
    }
}

fn different_key<'a>(
    new: &'a BTreeMap<String, String>,
    old: &'a BTreeMap<String, String>,
) -> Option<&'a String> {
    new.iter()
        .find(|(key, value)| old.get(*key) != Some(value))
        .or_else(|| old.iter().find(|(key, _)| !new.contains_key(*key)))
        .map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse(&format!("group = \"g\"\n{text}"), &"a/b".parse().unwrap()).unwrap()
    }

    /// As [`obstacle`], of handlers that take any record where their manifests say nothing, without the name.
    fn conflict(new: &Manifest, old: &Manifest) -> Option<String> {
        let [here, there]: [HandlerId; 2] = ["a/b", "a/c"].map(|id| id.parse().unwrap());
        let rules = [new, old].map(|it| it.routing.own_rules(&[], true, []));
        let chain = |it: &Manifest| Revision::from_digest(&[u8::from(it.middleware.is_empty()); 6]);
        let [new_chain, old_chain] = &[new, old].map(chain);
        let party = |id, manifest, rules, middleware| Party {
            id,
            manifest,
            rules,
            middleware,
            takes_singles: true,
        };
        let [new_rules, old_rules] = &rules;
        let why = obstacle(
            party(&here, new, new_rules, new_chain),
            party(&there, old, old_rules, old_chain),
        )?;
        Some(
            why.strip_prefix("does not go together with a/c: ")
                .unwrap()
                .to_owned(),
        )
    }

    #[test]
    fn handlers_of_one_topic_are_told_apart_by_their_routes() {
        let one = |keys: &str| manifest(&format!("topics = [\"orders\"]\n{keys}"));
        let a = one("route = [{ event = \"a\" }]");
        assert_eq!(conflict(&one("route = [{ event = \"b\" }]"), &a), None);
        // One of them may have what the other leaves.
        assert_eq!(conflict(&one(""), &a), None);
        let why = conflict(&one("route = [{ event = \"b\" }, { event = \"a\" }]"), &a).unwrap();
        assert!(
            why.starts_with("both read orders in group g, and each takes event a"),
            "{why}"
        );
        let all = "multi = \"all\"\n";
        assert_eq!(conflict(&one(all), &one(all)), None);
        for (keys, named) in [
            (all, "multi"),
            ("event.source = \"key\"", "event.source"),
            ("unmatched = \"halt\"", "unmatched"),
            ("ordering = \"key\"", "ordering"),
            ("concurrency = 2", "concurrency"),
            ("limits.in-flight-records = 2", "limits.in-flight-records"),
            ("limits.in-flight-mib = 2", "limits.in-flight-mib"),
            (
                "middleware = [{ component = \"a.wasm\" }]",
                "[[middleware]]",
            ),
            ("[bulk]", "takes batches"),
        ] {
            let why = conflict(&one(keys), &a).unwrap();
            assert!(why.contains(named), "{keys}: {why}");
        }
        // Of topics that differ none of this is asked.
        assert_eq!(
            conflict(&manifest("topics = [\"x\"]\nordering = \"key\""), &a),
            None
        );
    }

    #[test]
    fn handlers_of_one_group_must_agree() {
        let orders = manifest("topics = [\"orders\"]");
        assert_eq!(conflict(&manifest("topics = [\"bills\"]"), &orders), None);
        assert_eq!(
            conflict(&manifest("topics = [\"x\", \"orders\"]"), &orders).unwrap(),
            "both read orders in group g, and each takes every record (give one of them another group, tell them apart by \
             [[route]], or let both have each record: multi = \"all\")"
        );
        assert!(
            conflict(&manifest("pattern = \"ord*\""), &orders)
                .unwrap()
                .contains("orders")
        );
        assert!(conflict(&manifest("pattern = \"a*\""), &manifest("pattern = \"b*\"")).is_some());
        assert_eq!(
            conflict(&manifest("topics = [\"y\"]\nstart = \"latest\""), &orders).unwrap(),
            "start is \"latest\" here and \"earliest\" there, and group g can only begin at one place"
        );
        let waits = "ordering = \"none\"\nretry.topic-delays-ms = [1000]";
        let waits = manifest(&format!("topics = [\"x\"]\n{waits}"));
        let why = conflict(&waits, &orders).unwrap();
        assert!(
            why.contains("topic-delays-ms") && why.ends_with("shares g"),
            "{why}"
        );
        assert_eq!(conflict(&orders, &waits), Some(why));
        let once = "topics = [\"x\"]\ndelivery = \"exactly-once\"";
        let why = conflict(&manifest(once), &orders).unwrap();
        assert!(why.contains("delivery") && why.contains("group g"), "{why}");
        let linger = format!("{once}\n[kafka.producer]\n\"linger.ms\" = 1");
        let why = conflict(
            &manifest(&linger.replace("\"x\"", "\"y\"")),
            &manifest(once),
        );
        assert!(why.as_ref().unwrap().contains("linger.ms"), "{why:?}");
        let parks = manifest("topics = [\"x\"]\nordering = \"key\"\non-exhausted = \"park\"");
        let why = conflict(&parks, &orders).unwrap();
        assert!(
            why.contains("\"park\"") && why.contains("another group"),
            "{why}"
        );
        assert_eq!(conflict(&orders, &parks), Some(why));
        let tuned = manifest("topics = [\"x\"]\n[kafka.consumer]\n\"fetch.min.bytes\" = 5");
        assert!(
            conflict(&tuned, &orders)
                .unwrap()
                .contains("fetch.min.bytes")
        );
        assert!(
            conflict(&orders, &tuned)
                .unwrap()
                .contains("fetch.min.bytes")
        );
    }
}
