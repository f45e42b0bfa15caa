//! What the demo feeds, and what has to come out of it, counted from the data itself.
//!
//! It is handed the file of earthquakes and the example's manifest. Broken lines are put between the
//! real ones, as a careless producer would send them.
//! **Invariant:** the expected counts never come from the host or a handler, only from the data.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::json;
use crate::sh::root;

/// How many broken lines are fed.
const BROKEN: usize = 7;

/// The records to feed and the counts to expect.
pub(crate) struct Feed {
    /// One JSON line for `produce` for each record.
    pub(crate) lines: Vec<String>,
    /// Records that are earthquakes.
    pub(crate) good: usize,
    /// Records that are not.
    pub(crate) broken: usize,
    /// Earthquakes of at least `threshold`.
    pub(crate) alerts: usize,
    /// The magnitude from which on the example alerts.
    pub(crate) threshold: f64,
    /// How many different keys the earthquakes have.
    pub(crate) networks: usize,
}

impl Feed {
    /// Reads the data and the threshold from examples/.
    pub(crate) fn read() -> Result<Self> {
        let file = |path: &str| {
            fs::read_to_string(root().join("examples").join(path))
                .with_context(|| format!("cannot read examples/{path}"))
        };
        let manifest = file("earthquakes/handler.toml")?;
        let threshold = threshold(&manifest)
            .context("examples/earthquakes/handler.toml sets no magnitude in [config]")?;
        Self::mix(&file("data/earthquakes.jsonl")?, threshold)
    }

    fn mix(data: &str, threshold: f64) -> Result<Self> {
        let quakes: Vec<&str> = data.lines().collect();
        let gap = (quakes.len() / BROKEN).max(1);
        let mut feed = Self {
            lines: Vec::with_capacity(quakes.len() + BROKEN),
            good: 0,
            broken: 0,
            alerts: 0,
            threshold,
            networks: 0,
        };
        let mut networks = BTreeSet::new();
        for quake in quakes {
            let (Some(magnitude), Some(network)) = (
                json::number(quake, "magnitude"),
                json::field(quake, "network"),
            ) else {
                bail!("not an earthquake: {quake}");
            };
            feed.push(&network, quake);
            feed.good += 1;
            feed.alerts += usize::from(magnitude >= threshold);
            networks.insert(network.clone());
            if feed.good.is_multiple_of(gap) && feed.broken < BROKEN {
                feed.push(&network, &break_line(quake, feed.broken));
                feed.broken += 1;
            }
        }
        feed.networks = networks.len();
        Ok(feed)
    }

    fn push(&mut self, key: &str, value: &str) {
        let (key, value) = (json::string(key), json::string(value));
        self.lines
            .push(format!("{{\"key\":{key},\"value\":{value}}}"));
    }
}

/// Breaks a line in one of three ways: cut off, another format, another shape.
fn break_line(line: &str, nth: usize) -> String {
    match nth % 3 {
        0 => line.chars().take(line.len() / 2).collect(),
        1 => "id,network,magnitude\nus2000,us,4.6".to_owned(),
        _ => "{\"magnitude\":\"strong\"}".to_owned(),
    }
}

/// Returns the number that the manifest gives for a key with "magnitude" in its name.
fn threshold(manifest: &str) -> Option<f64> {
    manifest.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.split('#').next()?.trim().trim_matches('"');
        let named = key.contains("magnitude") && !key.trim_start().starts_with('#');
        named.then(|| value.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::{Feed, threshold};

    #[test]
    fn expected_counts_come_from_the_data() {
        let quake = |magnitude: f64| format!("{{\"network\":\"us\",\"magnitude\":{magnitude}}}\n");
        let data: String = (0..70).map(|n| quake(f64::from(n) / 10.0)).collect();
        let feed = Feed::mix(&data, 6.0).unwrap();
        assert_eq!(
            (feed.good, feed.broken, feed.alerts, feed.networks),
            (70, 7, 10, 1)
        );
        assert_eq!(feed.lines.len(), 77);
    }

    #[test]
    fn the_threshold_is_read_from_the_manifest() {
        let toml =
            "topics = [\"a\"]\n# magnitude = 1\n[config]\nmin-magnitude = \"4.5\" # Richter\n";
        assert_eq!(threshold(toml), Some(4.5));
        assert_eq!(threshold("topics = []"), None);
    }
}
