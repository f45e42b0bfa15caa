//! Settings of librdkafka, from whom they come and who wins.
//!
//! **Invariant:** the operator wins over a manifest, a manifest over the host's defaults; of the operator's files that of the
//! tenant wins over that of the host. What the host depends on is set after all of them, where the client is made.

use std::collections::BTreeMap;

/// What the host and its operator say about one kind of client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Layers {
    /// Where Kafka is, and what suits it; the lowest authority.
    pub(crate) defaults: BTreeMap<String, String>,
    /// The command line and host.toml; the highest.
    pub(crate) operator: BTreeMap<String, String>,
}

impl Layers {
    /// Puts a manifest's settings between the two, and those of its tenant over them.
    pub(crate) fn with(
        &self,
        manifest: &BTreeMap<String, String>,
        tenant: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut settings = self.defaults.clone();
        for more in [manifest, &self.operator, tenant] {
            settings.extend(more.clone());
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn the_operator_wins_over_a_manifest_and_a_manifest_over_the_defaults() {
        let layers = Layers {
            defaults: map(&[("a", "default"), ("b", "default"), ("c", "default")]),
            operator: map(&[("c", "operator"), ("d", "operator")]),
        };
        let manifest = map(&[("b", "manifest"), ("c", "manifest"), ("d", "manifest")]);
        let settings = layers.with(&manifest, &map(&[("d", "tenant")]));
        assert_eq!(
            settings,
            map(&[
                ("a", "default"),
                ("b", "manifest"),
                ("c", "operator"),
                ("d", "tenant")
            ])
        );
    }
}
