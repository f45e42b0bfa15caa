//! The manifest's `[config]`.
//!
//! It is handed the keys and values by the host, one by one or, in `define_context`, all at once.
//!
//! **Invariant:** values are text; a value that does not parse is an error that names its key.

use std::fmt::Display;
use std::str::FromStr;

use crate::{Result, other};

/// The value of one key of the manifest's `[config]`; `None` when it is not set.
///
/// Each call asks the host: keep what is needed for every record.
pub fn config(key: &str) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    {
        match crate::bindings::imports::wasi::config::store::get(key) {
            Ok(value) => value,
            Err(error) => {
                crate::stderr::line(&format!("config `{key}` cannot be read: {error:?}"));
                None
            }
        }
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::config_value(key)
}

/// All of the manifest's `[config]`, as `define_context` gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(Vec<(String, String)>);

impl Config {
    pub(crate) fn new(entries: Vec<(String, String)>) -> Self {
        Self(entries)
    }

    /// The value of one key; `None` when it is not set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find_map(|(name, value)| (name == key).then_some(value))
    }

    /// The value of one key, parsed; `None` when it is not set.
    ///
    /// ```
    /// use kafka_wasm_guest::Config;
    ///
    /// let config: Config = [("limit", "7"), ("name", "x")].into_iter().collect();
    /// assert_eq!(config.parse::<u32>("limit"), Ok(Some(7)));
    /// assert!(config.parse::<u32>("name").unwrap_err().reason().starts_with("config `name`"));
    /// ```
    pub fn parse<T>(&self, key: &str) -> Result<Option<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.get(key)
            .map(|value| {
                value
                    .parse()
                    .map_err(|error| other(format!("config `{key}` = {value:?}: {error}")))
            })
            .transpose()
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Config {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}
