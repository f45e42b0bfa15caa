//! Which settings of librdkafka a file may hold, and why not the others.
//!
//! Handed a name and a value, answers with a refusal that says what to do instead. Everything that the host's promises
//! do not rest on is let through as it is.
//! **Invariant:** no setting that order, delivery or the host's own safety rests on passes.

use std::collections::BTreeMap;

use crate::manifest::librdkafka::{BOTH, CONSUMER, PRODUCER};
use crate::manifest::problem::closest;
use crate::manifest::refusals::{ELSEWHERE, KEPT, OPERATOR};

/// The clients that a set of settings is for, and who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// A handler's consumer, from its manifest.
    HandlerConsumer,
    /// A handler's producer, from its manifest.
    HandlerProducer,
    /// All clients, from the operator: host.toml or the command line.
    All,
}

/// Which kind of client a setting works in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Consumers and producers.
    Both,
    /// Consumers only.
    Consumer,
    /// Producers only.
    Producer,
}

/// The setting that says who shares out the partitions of a group: one of its members, the broker, or the broker where it
/// can (`auto`, which is the host's own).
pub(crate) const GROUP_PROTOCOL: &str = "group.protocol";
const PROTOCOLS: &[&str] = &["classic", "consumer", "auto"];

/// What the consumer protocol of KIP-848 leaves to the broker; librdkafka refuses a client that sets it as well.
const BROKER_DECIDES: &[&str] = &["session.timeout.ms", "heartbeat.interval.ms"];

/// In-flight requests with which an idempotent producer keeps order.
const IN_FLIGHT_MAX: u64 = 5;

/// Says why the value of a setting, by its name, is none that the client takes.
pub type ValueCheck = fn(&str, &str) -> Result<(), String>;

/// Takes every value: for those who have no client to ask.
pub fn any_value(_name: &str, _value: &str) -> Result<(), String> {
    Ok(())
}

/// Returns which clients a setting works in, or none where librdkafka does not know it.
pub fn side(name: &str) -> Option<Side> {
    let lists = [
        (BOTH, Side::Both),
        (CONSUMER, Side::Consumer),
        (PRODUCER, Side::Producer),
    ];
    lists
        .into_iter()
        .find(|(list, _)| list.split_whitespace().any(|known| known == name))
        .map(|(_, side)| side)
}

/// Checks the name of a setting of librdkafka.
///
/// The error says why the setting is refused, without its name.
pub fn may_set(clients: Clients, name: &str) -> Result<(), String> {
    if let Some(why) = refusal(clients, name) {
        return Err(format!("cannot be set: {why}"));
    }
    match (side(name), clients) {
        (None, _) => Err(unknown(clients, name)),
        (Some(Side::Producer), Clients::HandlerConsumer) => {
            Err("is a setting of producers (it belongs into [kafka.producer])".to_owned())
        }
        (Some(Side::Consumer), Clients::HandlerProducer) => {
            Err("is a setting of consumers (it belongs into [kafka.consumer])".to_owned())
        }
        (Some(_), _) => Ok(()),
    }
}

/// Checks one setting of librdkafka.
///
/// The error says why the setting is refused, without its name.
pub fn check(clients: Clients, name: &str, value: &str) -> Result<(), String> {
    may_set(clients, name)?;
    match name {
        "max.in.flight" | "max.in.flight.requests.per.connection"
            if clients != Clients::HandlerConsumer
                && !value
                    .parse()
                    .is_ok_and(|n: u64| (1..=IN_FLIGHT_MAX).contains(&n)) =>
        {
            Err(format!(
                "expected a whole number from 1 to {IN_FLIGHT_MAX}, since more would lose the order of outputs"
            ))
        }
        GROUP_PROTOCOL if !PROTOCOLS.contains(&value) => {
            Err("expected \"classic\", \"consumer\" or \"auto\"".to_owned())
        }
        _ => Ok(()),
    }
}

/// Checks settings against each other; returns the names that do not go with the rest, each with the reason.
pub fn conflicts(settings: &BTreeMap<String, String>) -> Vec<(&'static str, String)> {
    let protocol = settings.get(GROUP_PROTOCOL).map(String::as_str);
    let Some(protocol @ ("consumer" | "auto")) = protocol else {
        return Vec::new();
    };
    let given = BROKER_DECIDES
        .iter()
        .filter(|name| settings.contains_key(**name));
    given
        .map(|name| {
            let why = format!(
                "cannot be set with group.protocol = \"{protocol}\": the broker decides it"
            );
            (*name, why)
        })
        .collect()
}

/// Returns the settings that `clients` can never change and the reasons, for the JSON Schema.
pub(crate) fn refused(clients: Clients) -> impl Iterator<Item = (&'static str, String)> {
    let kept = KEPT.iter().map(|(name, _)| *name);
    let elsewhere = ELSEWHERE.iter().map(|(name, ..)| *name);
    let operator = OPERATOR.iter().map(|(name, _)| *name);
    let other = match clients {
        Clients::HandlerConsumer => Some(Side::Producer),
        Clients::HandlerProducer => Some(Side::Consumer),
        Clients::All => None,
    };
    kept.chain(elsewhere)
        .chain(operator)
        .filter(move |name| other.is_none() || side(name) != other)
        .filter_map(move |name| refusal(clients, name).map(|why| (name, why)))
}

fn refusal(clients: Clients, name: &str) -> Option<String> {
    let by_handler = clients != Clients::All;
    if let Some((_, why)) = KEPT.iter().find(|(kept, _)| *kept == name) {
        return Some((*why).to_owned());
    }
    if let Some((_, handler, host)) = ELSEWHERE.iter().find(|(elsewhere, ..)| *elsewhere == name) {
        return Some((*if by_handler { handler } else { host }).to_owned());
    }
    if let Some((_, why)) = OPERATOR.iter().find(|(operator, _)| *operator == name) {
        return by_handler
            .then(|| format!("{why} (the operator may set it for all clients in host.toml)"));
    }
    is_pointer(name).then(|| "it takes a pointer in the host's memory, not a text".to_owned())
}

/// Settings that programs make through librdkafka's C interface.
fn is_pointer(name: &str) -> bool {
    const OTHERS: [&str; 9] = [
        "opaque",
        "interceptors",
        "default_topic_conf",
        "enabled_events",
        "msg_order_cmp",
        "ssl_key",
        "ssl_certificate",
        "ssl_ca",
        "ssl_engine_callback_data",
    ];
    name.ends_with("_cb") || OTHERS.contains(&name)
}

fn unknown(clients: Clients, name: &str) -> String {
    let lists: &[&str] = match clients {
        Clients::HandlerConsumer => &[BOTH, CONSUMER],
        Clients::HandlerProducer => &[BOTH, PRODUCER],
        Clients::All => &[BOTH, CONSUMER, PRODUCER],
    };
    let names = || {
        lists
            .iter()
            .flat_map(|list| list.split_whitespace())
            .filter(|name| refusal(clients, name).is_none())
    };
    // In host.toml the kind of client is not named, a manifest's tables may have been copied there.
    let bare = name
        .strip_prefix("consumer.")
        .or_else(|| name.strip_prefix("producer."))
        .unwrap_or(name);
    match names()
        .find(|known| *known == bare)
        .or_else(|| closest(bare, names()))
    {
        Some(near) => format!("librdkafka has no such setting (did you mean \"{near}\"?)"),
        None => "librdkafka has no such setting".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_as(clients: Clients, name: &str) -> String {
        check(clients, name, "1").unwrap_err()
    }

    #[test]
    fn settings_that_delivery_rests_on_are_refused_for_everyone() {
        for (name, why) in KEPT {
            for clients in [
                Clients::HandlerConsumer,
                Clients::HandlerProducer,
                Clients::All,
            ] {
                assert_eq!(refused_as(clients, name), format!("cannot be set: {why}"));
            }
        }
    }

    #[test]
    fn a_setting_with_a_key_of_its_own_names_the_key() {
        assert_eq!(
            refused_as(Clients::HandlerConsumer, "auto.offset.reset"),
            "cannot be set: use `start`"
        );
        assert_eq!(
            refused_as(Clients::All, "bootstrap.servers"),
            "cannot be set: use `brokers` or --brokers"
        );
    }

    #[test]
    fn what_reaches_beyond_kafka_is_for_the_operator() {
        assert_eq!(
            refused_as(Clients::HandlerProducer, "sasl.kerberos.kinit.cmd"),
            "cannot be set: it runs a program on the host's machine (the operator may set it for all clients in host.toml)"
        );
        assert_eq!(
            check(Clients::All, "sasl.kerberos.kinit.cmd", "kinit"),
            Ok(())
        );
        assert_eq!(
            refused_as(Clients::All, "stats_cb"),
            "cannot be set: it takes a pointer in the host's memory, not a text"
        );
    }

    #[test]
    fn a_setting_of_the_other_client_says_where_it_belongs() {
        assert_eq!(
            refused_as(Clients::HandlerConsumer, "linger.ms"),
            "is a setting of producers (it belongs into [kafka.producer])"
        );
        assert_eq!(
            refused_as(Clients::HandlerProducer, "fetch.min.bytes"),
            "is a setting of consumers (it belongs into [kafka.consumer])"
        );
        assert_eq!(check(Clients::All, "linger.ms", "1"), Ok(()));
    }

    #[test]
    fn an_unknown_setting_gets_a_suggestion_that_can_be_followed() {
        let unknown = |name| refused_as(Clients::All, name);
        assert_eq!(
            unknown("linger"),
            "librdkafka has no such setting (did you mean \"linger.ms\"?)"
        );
        assert_eq!(
            unknown("producer.batch.size"),
            "librdkafka has no such setting (did you mean \"batch.size\"?)"
        );
        assert_eq!(unknown("zzz"), "librdkafka has no such setting");
    }

    #[test]
    fn values_that_would_break_order_are_refused() {
        for value in ["0", "6", "many"] {
            assert_eq!(
                check(Clients::HandlerProducer, "max.in.flight", value).unwrap_err(),
                "expected a whole number from 1 to 5, since more would lose the order of outputs"
            );
        }
        assert_eq!(
            check(Clients::HandlerProducer, "max.in.flight", "5"),
            Ok(())
        );
        assert_eq!(
            check(Clients::HandlerConsumer, "max.in.flight", "50"),
            Ok(())
        );
        assert_eq!(
            check(Clients::HandlerConsumer, "group.protocol", "share").unwrap_err(),
            "expected \"classic\", \"consumer\" or \"auto\""
        );
    }

    #[test]
    fn the_consumer_protocol_leaves_timeouts_to_the_broker() {
        let with = |protocol: &str| {
            let pairs = [("group.protocol", protocol), ("session.timeout.ms", "6000")];
            conflicts(
                &pairs
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            )
        };
        assert!(with("classic").is_empty());
        for protocol in ["consumer", "auto"] {
            let why = format!(
                "cannot be set with group.protocol = \"{protocol}\": the broker decides it"
            );
            assert_eq!(with(protocol), [("session.timeout.ms", why)]);
        }
    }

    #[test]
    fn every_refused_setting_is_one_of_librdkafka_and_no_name_is_listed_twice() {
        let mut names: Vec<&str> = [BOTH, CONSUMER, PRODUCER]
            .iter()
            .flat_map(|list| list.split_whitespace())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for (name, _) in refused(Clients::All) {
            assert!(
                side(name).is_some() || name.starts_with("test.mock."),
                "{name}"
            );
        }
    }
}
