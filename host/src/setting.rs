//! Values of librdkafka's settings, as librdkafka itself judges them.
//!
//! Handed one setting at a time, so that every wrong one is told and not the first only. Makes no client and reaches
//! nobody.
//! **Invariant:** what is refused here would be refused where a client is made, and the reason fits on one line.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::manifest::kafka::GROUP_PROTOCOL;

/// Checks the value of one setting; the error says why librdkafka refuses it, without its name.
pub(crate) fn check_value(name: &str, value: &str) -> Result<(), String> {
    // The one value that is the host's own; a client is made with one of librdkafka's.
    if (name, value) == (GROUP_PROTOCOL, "auto") {
        return Ok(());
    }
    let made = ClientConfig::new().set(name, value).create_native_config();
    let why = match made {
        Ok(_) => return Ok(()),
        Err(KafkaError::ClientConfig(_, why, _, _)) => why,
        Err(error) => error.to_string(),
    };
    Err(format!(
        "librdkafka refuses the value: {}",
        why.replace('\n', " ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_refuses_what_is_no_value_of_the_setting() {
        for (name, value) in [
            ("fetch.min.bytes", "x"),
            ("fetch.min.bytes", "0"),
            ("linger.ms", "abc"),
            ("compression.type", "foo"),
            ("security.protocol", "SSH"),
        ] {
            let why = check_value(name, value).unwrap_err();
            assert!(why.contains("property") && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn librdkafka_takes_its_own_values() {
        for (name, value) in [
            ("fetch.min.bytes", "1"),
            ("linger.ms", "0.5"),
            ("compression.type", "zstd"),
            ("security.protocol", "SASL_SSL"),
            ("sasl.password", "any text"),
            ("allow.auto.create.topics", "true"),
            ("group.protocol", "consumer"),
        ] {
            assert_eq!(check_value(name, value), Ok(()), "{name}");
        }
    }
}
