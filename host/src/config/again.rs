//! Where the settings of a host come from, so that they can be read once more.
//!
//! **Invariant:** what the command line and the environment said at the start holds as long as the host runs.

use std::path::Path;

use super::{Given, ServeConfig, parse, read_text};
use crate::reload::{Plan, Said};
use crate::settings::{Settings, said};
use crate::telemetry;

/// See the module.
#[derive(Clone)]
pub struct Origin {
    given: Given,
    /// What host.toml said.
    said: Said,
}

impl std::fmt::Debug for Origin {
    /// Leaves out what the command line says: some of it are passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin")
            .field("config", &self.given.config)
            .field("said", &self.said)
            .finish_non_exhaustive()
    }
}

impl Origin {
    pub(super) fn of(given: &Given) -> Self {
        Self {
            given: given.clone(),
            said: Said::default(),
        }
    }

    /// Reads host.toml, if there is one.
    pub(super) fn read(&mut self) -> Result<Settings, Vec<String>> {
        let Some(path) = self.given.config.as_deref() else {
            return Ok(Settings::default());
        };
        let text = read_text(path)?;
        let settings = parse(path, &text)?;
        self.said = said(&text);
        Ok(settings)
    }

    /// Returns the file, where there is one.
    pub fn file(&self) -> Option<&Path> {
        self.given.config.as_deref()
    }

    /// Reads everything once more. The error holds everything that is wrong, a line each.
    pub fn again(&self) -> Result<ServeConfig, Vec<String>> {
        ServeConfig::resolve(self.given.clone())
    }

    /// Returns what is to change where the files say what they said for `new`.
    pub fn plan(&self, new: &Self) -> Plan {
        let overruled = overruled(&self.given, telemetry::is_from_environment());
        let overruled: Vec<&str> = overruled.iter().map(String::as_str).collect();
        Plan::of(&self.said, &new.said, &overruled)
    }

    /// Takes note that what changes at once has changed.
    pub fn take_up(&mut self, new: &Self) {
        self.said = self.said.after(&new.said);
    }
}

/// Lists the keys of which the command line or the environment decide.
fn overruled(given: &Given, is_log_given: bool) -> Vec<String> {
    let keys = [
        ("brokers", given.dev || given.brokers.is_some()),
        ("handlers", given.handlers.is_some()),
        ("http", given.http.is_some()),
        ("drain-timeout-ms", given.drain_timeout.is_some()),
        ("log", is_log_given),
        ("log-format", given.log_format.is_some()),
        ("cache", given.cache.is_some()),
        ("secrets", given.secrets.is_some()),
        ("instances-max", given.instances_max.is_some()),
        ("strict", given.strict),
        ("only", !given.only.is_empty()),
        ("until-caught-up", given.until_caught_up),
        ("max-records", given.max_records.is_some()),
        ("create-topics", given.create_topics),
        ("state", given.state.is_some()),
    ];
    let keys = keys.into_iter().filter(|(_, is_given)| *is_given);
    let keys = keys.map(|(key, _)| key.to_owned());
    let settings = given.kafka.iter().map(|(name, _)| format!("kafka.{name}"));
    keys.chain(settings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(folder: &Path, text: &str, given: Given) -> Origin {
        let file = folder.join("host.toml");
        std::fs::write(&file, text).unwrap();
        let config = Some(file);
        ServeConfig::resolve(Given { config, ..given })
            .unwrap()
            .origin
    }

    #[test]
    fn what_the_command_line_says_stays() {
        let folder = tempfile::tempdir().unwrap();
        let given = || Given {
            dev: true,
            drain_timeout: Some(std::time::Duration::from_secs(1)),
            kafka: vec![("linger.ms".to_owned(), "5".to_owned())],
            ..Given::default()
        };
        let old = "handlers = \"h\"\ndrain-timeout-ms = 5\n[kafka]\nlinger.ms = 1";
        let mut old = read(folder.path(), old, given());
        let new = "handlers = \"h\"\nstate = \"s\"\nrevisions-kept = 3\ndrain-timeout-ms = 6\n[kafka]\nlinger.ms = 2";
        let new = read(folder.path(), new, given());
        let plan = old.plan(&new);
        let keys = |list: &[crate::reload::Change]| {
            let keys = list.iter().map(|it| it.key.clone());
            keys.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys(&plan.live), "revisions-kept");
        assert_eq!(keys(&plan.restart), "state");
        assert_eq!(keys(&plan.overruled), "drain-timeout-ms kafka.linger.ms");
        old.take_up(&new);
        assert_eq!(keys(&old.plan(&new).live), "");
        let printed = format!("{old:?}");
        assert!(printed.contains("\"kafka.linger.ms\": ***"), "{printed}");
    }
}
