//! What an operator writes for all handlers of a tenant: `tenant.toml`.
//!
//! Handed the text, gives a [`Tenant`], or everything that is wrong with the text at once.
//! **Invariant:** what the file does not grant is not granted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::grants::Grants;
use crate::imports::MayImport;
use crate::manifest::kafka::{Side, ValueCheck};
use crate::manifest::keys::tenant as keys;
use crate::manifest::{Masked, Middleware, Problem, Reader, components, kafka};
use crate::prefix::TopicPrefix;
use crate::quotas::Quotas;
use crate::rate::Rates;
use crate::secrets::{MayUse, Secrets};

/// What holds for all handlers of a tenant.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tenant {
    /// What the names of its topics and groups begin with.
    pub prefix: TopicPrefix,
    /// Components that see each record first, in their order.
    pub middleware: Vec<Middleware>,
    /// What of Kafka its handlers may use.
    pub grants: Grants,
    /// How much of the host they may have.
    pub quotas: Quotas,
    /// What its components may import.
    pub imports: MayImport,
    /// Which texts they may have by name.
    pub secrets: MayUse,
    /// Settings of librdkafka for the clients of its handlers.
    pub kafka: BTreeMap<String, String>,
    /// Those that are said by name; they are among the others once they are read.
    pub kafka_secrets: Secrets,
}

impl fmt::Debug for Tenant {
    /// Prints the names of librdkafka's settings without their values: some are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant")
            .field("prefix", &self.prefix)
            .field("middleware", &self.middleware)
            .field("grants", &self.grants)
            .field("quotas", &self.quotas)
            .field("imports", &self.imports)
            .field("secrets", &self.secrets)
            .field("kafka", &Masked(&self.kafka))
            .field("kafka_secrets", &self.kafka_secrets)
            .finish()
    }
}

/// What a tenant's file says to the clients of a handler.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TenantKafka {
    /// Settings of consumers.
    pub consumer: BTreeMap<String, String>,
    /// Settings of producers.
    pub producer: BTreeMap<String, String>,
}

impl TenantKafka {
    /// Sorts settings by the clients that they work in.
    pub fn new(settings: &BTreeMap<String, String>) -> Self {
        let but = |other: Side| {
            let settings = settings.iter();
            let settings = settings.filter(|(name, _)| kafka::side(name) != Some(other));
            let settings = settings.map(|(name, value)| (name.clone(), value.clone()));
            settings.collect()
        };
        Self {
            consumer: but(Side::Producer),
            producer: but(Side::Consumer),
        }
    }
}

impl fmt::Debug for TenantKafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKafka")
            .field("consumer", &Masked(&self.consumer))
            .field("producer", &Masked(&self.producer))
            .finish()
    }
}

/// Reads a `tenant.toml`.
///
/// The error holds everything that is wrong, in the order of the file; it is never empty.
pub fn tenant(text: &str) -> Result<Tenant, Vec<Problem>> {
    tenant_with(text, kafka::any_value)
}

/// Reads a `tenant.toml`, and has the values of librdkafka's settings checked as well.
pub fn tenant_with(text: &str, check_value: ValueCheck) -> Result<Tenant, Vec<Problem>> {
    let mut reader = Reader::new(text, keys::TENANT_KEYS, check_value)?;
    let prefix = reader.parsed(&keys::TOPIC_PREFIX).unwrap_or_default();
    let middleware = components::middleware(&mut reader);
    let mut granted = |key| reader.parsed_list(key).unwrap_or_default();
    let grants = Grants::Only {
        consume: granted(&keys::CONSUME),
        produce: granted(&keys::PRODUCE),
        groups: granted(&keys::GROUPS),
    };
    let secrets = MayUse {
        env: granted(&keys::SECRETS_ENV),
        files: granted(&keys::SECRETS_FILES),
    };
    let imports = MayImport::new(reader.parsed_list(&keys::IMPORTS));
    let quotas = quotas(&mut reader);
    let (kafka, kafka_secrets) = reader.texts(&keys::KAFKA);
    reader.finish(Some(Tenant {
        prefix,
        middleware,
        grants,
        quotas,
        imports,
        secrets,
        kafka,
        kafka_secrets,
    }))
}

fn quotas(reader: &mut Reader<'_>) -> Quotas {
    let rates = keys::RATES
        .iter()
        .fold(Rates::default(), |rates, (rate, key)| {
            rates.with(*rate, reader.whole_given(key))
        });
    let mut given = |key| {
        let number = reader.whole_given(key)?;
        usize::try_from(number).ok()
    };
    let bytes = |mib: usize| mib << 20;
    Quotas {
        handlers: given(&keys::HANDLERS),
        component_bytes: given(&keys::COMPONENT_MIB).map(bytes),
        compile: given(&keys::COMPILE_MS).map(|ms| Duration::from_millis(ms as u64)),
        memory_bytes: given(&keys::MEMORY_MIB).map(bytes),
        deadline: given(&keys::DEADLINE_MS).map(|ms| Duration::from_millis(ms as u64)),
        in_flight_bytes: given(&keys::IN_FLIGHT_MIB).map(bytes),
        pending_requests: given(&keys::PENDING_REQUESTS),
        rates,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middleware_has_the_name_of_its_file_unless_it_is_given_one() {
        let text = "[[middleware]]\ncomponent = \"decrypt.wasm\"\nconfig = { key = \"k\" }\n\
                    [[middleware]]\ncomponent = \"decrypt.wasm\"\nname = \"again\"";
        let all = tenant(text).unwrap().middleware;
        let names: Vec<_> = all.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["decrypt", "again"]);
        assert_eq!(all[0].config["key"], "k");
        // Texts may be secrets.
        assert!(!format!("{all:?}").contains("\"k\""), "{all:?}");
    }

    #[test]
    fn what_is_wrong_in_the_file_is_told_with_its_place() {
        let told = |text: &str| {
            let problems = tenant(text).unwrap_err();
            let problems = problems.iter().map(ToString::to_string);
            problems.collect::<Vec<_>>().join("\n")
        };
        for (text, what) in [
            (
                "[[middleware]]\nname = \"x\"",
                "middleware[0].component: missing",
            ),
            (
                "[[middleware]]\ncomponent = \"a/b.wasm\"",
                "expected a file name",
            ),
            (
                "[[middleware]]\ncomponent = \"b\"",
                "expected the name of a .wasm file",
            ),
            ("middleware = [\"a.wasm\"]", "middleware"),
            (
                "[[middleware]]\ncomponent = \"a.wasm\"\n[[middleware]]\ncomponent = \"a.wasm\"",
                "two of the name a",
            ),
            ("quota = 1", "quota"),
            (
                "topic-prefix = \"a/\"",
                "topic-prefix: no name of a topic begins so",
            ),
            ("quotas.handlers = 0", "quotas.handlers: expected"),
            ("[grants]\nconsume = [\"\"]", "grants.consume[0]"),
            (
                "[grants]\nproduce = []",
                "grants.produce: the list is empty",
            ),
            ("[grants]\ngroup = [\"g\"]", "grants.group"),
            (
                "[kafka]\ngroup.id = \"g\"",
                "kafka.\"group.id\": cannot be set",
            ),
            (
                "[kafka]\nacks = { file = \"a\" }",
                "kafka.\"acks\": cannot be set",
            ),
            ("imports = []", "imports: the list is empty"),
            ("[secrets]\nenv = []", "secrets.env: the list is empty"),
            ("[secrets]\nfile = [\"x\"]", "secrets.file"),
        ] {
            assert!(told(text).contains(what), "{text}: {}", told(text));
        }
    }
}
