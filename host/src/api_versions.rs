//! Whether brokers take a request of Kafka's protocol, in the version that the host depends on.
//!
//! Handed the log of one client, since librdkafka tells nobody else what brokers can do: it logs the list of each broker
//! that it connects to, and goes through its own features then.
//! **Invariant:** a broker is judged by a whole list, and one that lacks the version counts more than all that have it.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// What lines about the requests of brokers come under.
const FACILITY: &str = "APIVERSION";

/// A request, and the version of it that is needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needed {
    /// Its name in Kafka's protocol.
    pub(crate) name: &'static str,
    /// Its number there.
    pub(crate) key: i16,
    pub(crate) version: i16,
    /// Which of Kafka's improvement proposals brought that version.
    pub(crate) kip: &'static str,
}

/// What the brokers have told so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Told {
    /// None has told anything.
    #[default]
    Nothing,
    /// All that told have what is needed.
    Offered,
    /// One has not, for this reason.
    Lacking(String),
}

#[derive(Debug, Default)]
struct Heard {
    /// Lists that have begun, by broker: least and greatest version of the request, once it was named.
    lists: BTreeMap<String, Option<(i16, i16)>>,
    told: Told,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ApiVersions {
    needed: Needed,
    heard: Mutex<Heard>,
}

impl ApiVersions {
    pub(crate) fn new(needed: Needed) -> Self {
        Self {
            needed,
            heard: Mutex::default(),
        }
    }

    /// Has a client log what is to be heard, besides what its setting `debug` asks for.
    pub(crate) fn ask(config: &mut ClientConfig) {
        let debug = config.get("debug").filter(|debug| !debug.is_empty());
        let debug = debug.map_or("feature".to_owned(), |debug| format!("{debug},feature"));
        config
            .set("debug", debug)
            .set_log_level(RDKafkaLogLevel::Debug);
    }

    /// Takes note of a line of the client's log.
    pub(crate) fn hear(&self, facility: &str, line: &str) {
        if facility != FACILITY {
            return;
        }
        let (broker, text) = parts(line);
        let mut heard = self.heard.lock();
        if text.starts_with("Broker API support") {
            heard.lists.insert(broker.to_owned(), None);
        } else if let Some(versions) = self.versions(text) {
            if let Some(list) = heard.lists.get_mut(broker) {
                *list = Some(versions);
            }
        } else if text.starts_with("Feature ")
            && let Some(versions) = heard.lists.remove(broker)
        {
            self.judge(&mut heard.told, broker, versions);
        }
    }

    /// Returns what the brokers have told so far.
    pub(crate) fn told(&self) -> Told {
        self.heard.lock().told.clone()
    }

    fn judge(&self, told: &mut Told, broker: &str, versions: Option<(i16, i16)>) {
        let Needed {
            name, version, kip, ..
        } = self.needed;
        let has = versions.is_some_and(|(min, max)| (min..=max).contains(&version));
        match told {
            Told::Nothing if has => *told = Told::Offered,
            Told::Nothing | Told::Offered if !has => {
                *told = Told::Lacking(format!(
                    "broker {broker} does not have {name} of version {version} ({kip})"
                ));
            }
            _ => {}
        }
    }

    /// Reads the versions from the line of the request: `ApiKey ConsumerGroupHeartbeat (68) Versions 0..1`.
    fn versions(&self, text: &str) -> Option<(i16, i16)> {
        let Needed { name, key, .. } = self.needed;
        let rest = text.strip_prefix("ApiKey ")?.strip_prefix(name)?;
        let rest = rest.strip_prefix(" (")?.strip_prefix(&key.to_string())?;
        let (min, max) = rest.strip_prefix(") Versions ")?.split_once("..")?;
        Some((min.parse().ok()?, max.trim_end().parse().ok()?))
    }
}

/// Takes `[thrd:…]: broker:   text` apart.
fn parts(line: &str) -> (&str, &str) {
    let rest = line.split_once("]: ").map_or(line, |(_, rest)| rest);
    let (broker, text) = rest.split_once(": ").unwrap_or(("", rest));
    (broker, text.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: Needed = Needed {
        name: "ConsumerGroupHeartbeat",
        key: 68,
        version: 1,
        kip: "KIP-848",
    };
    const LIST: &str = "Broker API support:";
    const END: &str = " Feature BrokerBalancedConsumer: ConsumerGroupHeartbeat (0..32767) NOT supported by broker";

    /// What is told by these lines, each about the broker of this name.
    fn told(lines: &[(&str, &str)]) -> Told {
        let versions = ApiVersions::new(NEEDED);
        for (broker, text) in lines {
            versions.hear(FACILITY, &format!("[thrd:{broker}]: {broker}: {text}"));
        }
        versions.told()
    }

    fn lists(versions: &str) -> String {
        format!("  ApiKey ConsumerGroupHeartbeat (68) Versions {versions}")
    }

    fn lacks(broker: &str) -> Told {
        Told::Lacking(format!(
            "broker {broker} does not have ConsumerGroupHeartbeat of version 1 (KIP-848)"
        ))
    }

    #[test]
    fn a_whole_list_tells_what_a_broker_can_do() {
        let has = |versions: &str| {
            let lines = [LIST, &lists("0..0"), LIST, &lists(versions), END];
            told(&lines.map(|text| ("[::1]:9092/1", text)))
        };
        assert_eq!(has("0..1"), Told::Offered);
        assert_eq!(has("1..7"), Told::Offered);
        assert_eq!(has("0..0"), lacks("[::1]:9092/1"));
        assert_eq!(has("2..3"), lacks("[::1]:9092/1"));
    }

    #[test]
    fn a_request_that_is_not_in_the_list_is_lacking() {
        let others = [
            "  ApiKey ConsumerGroupDescribe (69) Versions 0..1",
            "  ApiKey ConsumerGroupHeartbeat (680) Versions 0..1",
            "  ApiKey Heartbeat (12) Versions 0..4",
        ];
        for other in others {
            let lines = [LIST, other, END].map(|text| ("a:1/1", text));
            assert_eq!(told(&lines), lacks("a:1/1"), "{other}");
        }
    }

    #[test]
    fn what_is_no_list_of_a_broker_tells_nothing() {
        // librdkafka goes through its features also before it has asked a broker.
        assert_eq!(told(&[("a:1/1", END)]), Told::Nothing);
        assert_eq!(told(&[("a:1/1", LIST), ("b:1/2", END)]), Told::Nothing);
        let endless = [("a:1/1", LIST), ("a:1/1", &lists("0..1"))];
        assert_eq!(told(&endless), Told::Nothing);
        let versions = ApiVersions::new(NEEDED);
        for text in [LIST, END] {
            versions.hear("FEATURE", &format!("[thrd:a:1/1]: a:1/1: {text}"));
        }
        assert_eq!(versions.told(), Told::Nothing);
    }

    #[test]
    fn one_broker_that_lacks_it_is_enough() {
        let (has, lacks_it) = (lists("0..1"), lists("0..0"));
        // Two brokers at a time.
        let both = [
            ("a:1/1", LIST),
            ("b:1/2", LIST),
            ("b:1/2", &lacks_it),
            ("a:1/1", &has),
            ("a:1/1", END),
        ];
        assert_eq!(told(&both), Told::Offered);
        let ended = both.into_iter().chain([("b:1/2", END)]);
        let again = [("b:1/2", LIST), ("b:1/2", &has), ("b:1/2", END)];
        let all: Vec<_> = ended.chain(again).collect();
        assert_eq!(told(&all), lacks("b:1/2"));
    }

    #[test]
    fn a_client_is_asked_besides_what_it_logs_already() {
        for (debug, expected) in [
            (None, "feature"),
            (Some(""), "feature"),
            (Some("cgrp"), "cgrp,feature"),
        ] {
            let mut config = ClientConfig::new();
            if let Some(debug) = debug {
                config.set("debug", debug);
            }
            ApiVersions::ask(&mut config);
            assert_eq!(config.get("debug"), Some(expected));
        }
    }
}
