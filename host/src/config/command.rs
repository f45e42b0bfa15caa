//! The command that creates the topics of what the host serves, for its messages.
//!
//! **Invariant:** no value of a setting is in it: some are passwords.

use std::path::Path;

use super::{Brokers, Given};

/// Returns the flags that the command has from the host's own command line.
pub(super) fn flags(given: &Given) -> Vec<String> {
    let config = given.config.iter();
    let config = config.map(|path| format!("--config {}", word(&path.display().to_string())));
    let kafka = given.kafka.iter();
    let kafka = kafka.map(|(key, _)| format!("--kafka-setting {}", word(&format!("{key}=…"))));
    config.chain(kafka).collect()
}

/// Returns the command, to be typed where the host was started.
pub(super) fn topics(flags: &[String], handlers: &Path, brokers: &Brokers) -> String {
    let mut words = vec![
        "kafka-wasm-host topics apply --handlers".to_owned(),
        word(&handlers.display().to_string()),
    ];
    if let Brokers::Cluster(list) = brokers {
        words.extend(["--brokers".to_owned(), word(list)]);
    }
    words.extend(flags.iter().cloned());
    words.join(" ")
}

/// Returns a text as a shell takes it for one word.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-,:=…[]@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServeConfig;

    #[test]
    fn the_command_for_topics_names_what_the_host_was_told_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("host.toml");
        std::fs::write(&file, "brokers = \"file:9092\"\ncreate-topics = true\n").unwrap();
        let given = Given {
            config: Some(file.clone()),
            handlers: Some("my handlers".into()),
            kafka: vec![("ssl.key.password".to_owned(), "hunter2".to_owned())],
            ..Given::default()
        };
        let config = ServeConfig::resolve(given).unwrap();
        assert!(config.create_topics);
        assert_eq!(
            config.topics_command,
            format!(
                "kafka-wasm-host topics apply --handlers 'my handlers' --brokers file:9092 --config {} --kafka-setting \
                 ssl.key.password=…",
                file.display()
            )
        );
    }
}
