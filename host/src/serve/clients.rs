//! librdkafka's settings for all clients of the host, by what the operator says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Error;
use crate::audit::Audit;
use crate::config::{Brokers, ServeConfig};
use crate::courier::Post;
use crate::deploy::{Board, TopicKeeper};
use crate::dev_broker::DevBroker;
use crate::layers::Layers;
use crate::manifest::kafka::{Side, side};
use crate::reply::Exchanges;

/// librdkafka's settings for the host's consumers and producers.
pub(super) struct Clients {
    pub(super) consumer: Layers,
    pub(super) producer: Layers,
}

impl Clients {
    pub(super) fn new(config: &ServeConfig, dev_broker: Option<&DevBroker>) -> Self {
        let bootstrap = match (&config.brokers, dev_broker) {
            (Brokers::Cluster(list), _) => list.as_str(),
            (Brokers::Embedded, broker) => broker.map_or("", DevBroker::bootstrap),
        };
        let common = owned(&[
            ("bootstrap.servers", bootstrap),
            ("client.id", "kafka-wasm-host"),
        ]);
        let mut consumer = Layers {
            defaults: common.clone(),
            ..Layers::default()
        };
        let mut producer = Layers {
            defaults: common,
            ..Layers::default()
        };
        if let Some(broker) = dev_broker {
            consumer.defaults.extend(owned(broker.client_settings()));
            // Topics are made on first use; answers come at once instead of in full batches.
            consumer.defaults.extend(owned(&[
                ("allow.auto.create.topics", "true"),
                ("fetch.wait.max.ms", "10"),
                ("auto.commit.interval.ms", "100"),
                ("topic.metadata.refresh.interval.ms", "1000"),
            ]));
        }
        for (key, value) in &config.kafka {
            if side(key) != Some(Side::Producer) {
                consumer.operator.insert(key.clone(), value.clone());
            }
            if side(key) != Some(Side::Consumer) {
                producer.operator.insert(key.clone(), value.clone());
            }
        }
        Self { consumer, producer }
    }

    /// Makes what looks after topics.
    pub(super) fn topic_keeper(
        &self,
        config: &ServeConfig,
        dev_broker: Option<Arc<DevBroker>>,
        board: &Arc<Board>,
    ) -> Arc<TopicKeeper> {
        TopicKeeper::new(
            self.producer.with(&BTreeMap::new(), &BTreeMap::new()),
            (config.create_topics, config.topics_command.clone()),
            dev_broker,
            Arc::clone(board),
        )
    }

    /// Makes what takes note of changes.
    pub(super) fn audit(&self, config: &ServeConfig) -> Audit {
        let topic = config.control.api.audit_topic.clone();
        let settings = self.producer.with(&BTreeMap::new(), &BTreeMap::new());
        Audit::new(topic.map(|topic| (topic, Post::new(&settings))))
    }

    /// Makes what requests and responses go through.
    pub(super) fn exchanges(&self, instances_max: u32) -> Exchanges {
        Exchanges::new(self.consumer.clone(), self.producer.clone(), instances_max)
    }
}

/// Starts the embedded broker where one is asked for.
pub(super) fn embedded(brokers: &Brokers) -> Result<Option<Arc<DevBroker>>, Error> {
    match brokers {
        Brokers::Embedded => {
            let broker = DevBroker::start().map_err(|error| Error::DevBroker(error.to_string()))?;
            Ok(Some(Arc::new(broker)))
        }
        Brokers::Cluster(_) => Ok(None),
    }
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
