//! Reaching Kafka from the command line: the flags that every such command has, and what is known about a topic.
//!
//! It is handed flags and clients and returns librdkafka's configuration or a [`Lookup`].
//! **Invariant:** a failure names the brokers or the topic, Kafka's reason, and what to do about it.

use std::time::Duration;

use anyhow::{anyhow, bail};
use parking_lot::Mutex;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::manifest::kafka::GROUP_PROTOCOL;

/// How to reach Kafka.
#[derive(Debug, Clone, clap::Args)]
pub struct ConnectArgs {
    /// The brokers to ask first, as host:port,host:port
    #[arg(long, env = "KAFKA_WASM_BROKERS", value_name = "LIST")]
    pub brokers: String,

    /// Any setting of librdkafka, such as security.protocol=SSL; may be repeated
    #[arg(long = "kafka-setting", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub kafka_settings: Vec<(String, String)>,
}

/// Parses `key=value`; the value may be empty and may contain more `=`.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Parses `name=value` of a header.
pub fn parse_header(text: &str) -> Result<(String, String), String> {
    parse_pair(text).map_err(|_| "expected NAME=VALUE".to_owned())
}

impl ConnectArgs {
    /// Builds a client's configuration: `defaults`, then the user's settings, then `fixed`, which the user may not name.
    pub fn config(
        &self,
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
    ) -> anyhow::Result<ClientConfig> {
        let mut config = ClientConfig::new();
        config.set("client.id", "kafka-wasm-host");
        for &(key, value) in defaults {
            config.set(key, value);
        }
        for (key, value) in &self.kafka_settings {
            if key == "bootstrap.servers" || key == "metadata.broker.list" {
                bail!("--kafka-setting {key}: the brokers are given by --brokers");
            }
            if let Some((_, ours)) = fixed.iter().find(|(fixed, _)| fixed == key) {
                bail!(
                    "--kafka-setting {key}: this command depends on {key}={ours}, it cannot be changed"
                );
            }
            // A setting of groups that only `serve` understands; these clients join none.
            if (key.as_str(), value.as_str()) != (GROUP_PROTOCOL, "auto") {
                config.set(key, value);
            }
        }
        for &(key, value) in fixed {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        Ok(config)
    }
}

/// Says which setting librdkafka does not take, and why.
pub fn explain_config(error: KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientConfig(_, problem, key, value) => {
            anyhow!("librdkafka does not take the setting {key}={value}: {problem}")
        }
        error => anyhow!(error).context("librdkafka does not start with these settings"),
    }
}

/// Keeps the last thing that went wrong with a connection, for the message that a user gets in the end.
#[derive(Debug, Default)]
pub struct Troubles {
    last: Mutex<Option<String>>,
}

impl Troubles {
    /// Returns ` (last error: …)`, or nothing.
    pub fn suffix(&self) -> String {
        self.last
            .lock()
            .as_ref()
            .map_or_else(String::new, |last| format!(" (last error: {last})"))
    }

    /// Says that nobody answered so far.
    pub fn no_answer_yet(&self, brokers: &str) -> String {
        format!(
            "no broker answers at {brokers} yet, still trying{}",
            self.suffix()
        )
    }

    /// Says that nobody answered in time.
    pub fn no_answer(&self, brokers: &str, timeout: Duration) -> anyhow::Error {
        let suffix = self.suffix();
        anyhow!(
            "no broker answered at {brokers} within {timeout:?}{suffix}: \
             is Kafka up, and are the address and the security settings right?"
        )
    }
}

impl ClientContext for Troubles {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "kafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "kafka", %error, "{reason}");
        // "All brokers are down" says less than what came before it.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.last.lock() = Some(reason.to_owned());
        }
    }
}

/// What the brokers say about a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// It exists, with so many partitions.
    Found(i32),
    /// It does not exist, or is being created.
    Missing,
    /// No broker answered in time.
    NoAnswer,
}

/// Asks the brokers for a topic. A producer's question creates the topic where the brokers allow that.
pub fn look_up<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> anyhow::Result<Lookup> {
    let metadata = match client.fetch_metadata(Some(topic), timeout) {
        Ok(metadata) => metadata,
        Err(error) => {
            return match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Err(denied(topic)),
                _ => Ok(Lookup::NoAnswer),
            };
        }
    };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Ok(Lookup::Missing);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Err(denied(topic)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::LeaderNotAvailable) => {
            Ok(Lookup::Missing)
        }
        Some(error) => Err(anyhow!("the brokers refuse topic {topic}: {error}")),
        None if found.partitions().is_empty() => Ok(Lookup::Missing),
        None => Ok(Lookup::Found(found.partitions().len().try_into()?)),
    }
}

fn denied(topic: &str) -> anyhow::Error {
    anyhow!(
        "the brokers do not let this user see topic {topic}: \
         grant it Describe and Read or Write, or log in by --kafka-setting sasl.username=… and its like"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(settings: &[&str]) -> ConnectArgs {
        ConnectArgs {
            brokers: "127.0.0.1:1".to_owned(),
            kafka_settings: settings
                .iter()
                .map(|text| parse_pair(text).unwrap())
                .collect(),
        }
    }

    #[test]
    fn a_setting_is_a_key_and_a_value() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(parse_pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(parse_pair("a").is_err());
        assert_eq!(parse_header("bad"), Err("expected NAME=VALUE".to_owned()));
        assert!(parse_pair("=a").is_err());
    }

    #[test]
    fn users_change_defaults_but_nothing_that_is_fixed() {
        let config = args(&["linger.ms=7"])
            .config(&[("linger.ms", "1")], &[("acks", "all")])
            .unwrap();
        assert_eq!(config.get("linger.ms"), Some("7"));
        let of_groups = args(&["group.protocol=auto"]).config(&[], &[]).unwrap();
        assert_eq!(of_groups.get("group.protocol"), None);
        assert_eq!(config.get("acks"), Some("all"));
        let problem = args(&["acks=0"])
            .config(&[], &[("acks", "all")])
            .unwrap_err()
            .to_string();
        assert_eq!(
            problem,
            "--kafka-setting acks: this command depends on acks=all, it cannot be changed"
        );
        let problem = args(&["bootstrap.servers=x:1"])
            .config(&[], &[])
            .unwrap_err()
            .to_string();
        assert!(problem.ends_with("the brokers are given by --brokers"));
    }

    #[test]
    fn an_unknown_setting_is_named() {
        let config = args(&["lingr.ms=7"]).config(&[], &[]).unwrap();
        let error = config
            .create::<rdkafka::producer::BaseProducer>()
            .map(drop)
            .unwrap_err();
        let problem = explain_config(error).to_string();
        assert!(
            problem.contains("lingr.ms=7: No such configuration property"),
            "{problem}"
        );
    }
}
