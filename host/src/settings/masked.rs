//! How settings are printed.

use std::fmt;

use super::Settings;
use crate::manifest::Masked;

impl fmt::Debug for Settings {
    /// Prints the names of librdkafka's settings without their values: some are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("handlers", &self.handlers)
            .field("http", &self.http)
            .field("drain_timeout", &self.drain_timeout)
            .field("log", &self.log)
            .field("log_format", &self.log_format)
            .field("cache", &self.cache)
            .field("cache_max_mib", &self.cache_max_mib)
            .field("secrets", &self.secrets)
            .field("instances_max", &self.instances_max)
            .field("strict", &self.strict)
            .field("only", &self.only)
            .field("until_caught_up", &self.until_caught_up)
            .field("max_records", &self.max_records)
            .field("create_topics", &self.create_topics)
            .field("steps", &self.steps)
            .field("watchdog", &self.watchdog)
            .field("response", &self.response)
            .field("state", &self.state)
            .field("revisions_kept", &self.revisions_kept)
            .field("tokens_file", &self.tokens_file)
            .field("trust", &self.trust)
            .field("tenants", &self.tenants)
            .field("api", &self.api)
            .field("kafka", &Masked(&self.kafka))
            .finish()
    }
}
