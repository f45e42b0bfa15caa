//! From what is wanted and what there is to what has to be done.
//!
//! **Invariant:** a topic that exists is never created again, and what is not declared is never held against it.

use std::collections::{BTreeMap, BTreeSet};

use super::wanted::{Need, Wanted};
use crate::ids::TopicName;
use crate::policy::CLEANUP_POLICY;

/// Replicas that a topic gets where nothing is declared and the brokers are enough.
const REPLICATION: i32 = 3;

/// What the brokers say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// How many brokers there are now.
    pub brokers: i32,
    /// What they say of the topics that were asked for.
    pub topics: BTreeMap<TopicName, Seen>,
}

/// What the brokers say of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It does not exist.
    Missing,
    /// It exists.
    Found(Found),
    /// They do not say, for this reason.
    Untold(String),
}

/// A topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its partitions.
    pub partitions: i32,
    /// Replicas of the partition that has the fewest.
    pub replication: i32,
    /// Its settings; none where the brokers do not tell them.
    pub config: Option<BTreeMap<String, String>>,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// Its partitions; none leaves them to the brokers.
    pub partitions: Option<i32>,
    /// Replicas of each.
    pub replication: i32,
    /// Its settings.
    pub config: BTreeMap<String, String>,
}

/// A topic that has fewer partitions than are declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raise {
    /// Its name.
    pub name: TopicName,
    /// How many it is to have.
    pub partitions: i32,
}

/// In what a topic is not as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// In what.
    pub aspect: Aspect,
    /// What the brokers say; none where they have no such setting.
    pub actual: Option<String>,
    /// What is declared.
    pub declared: String,
}

/// What of a topic may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aspect {
    /// There are fewer partitions than declared.
    FewerPartitions,
    /// There are more partitions than declared.
    MorePartitions,
    /// The replicas.
    Replication,
    /// A setting.
    Config(String),
}

/// What has to be done for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It does not exist, and is to be created so.
    Create(NewTopic),
    /// It does not exist, and nobody says what it is to be like.
    Undeclared,
    /// It exists, and differs.
    Differs(Vec<Drift>),
    /// The brokers do not tell whether it exists, for this reason.
    Unseen(String),
    /// It exists, and the brokers do not tell whether it is as wanted, for this reason.
    Untold(String),
    /// It is as wanted.
    AsWanted,
}

/// A topic that is wanted, and what has to be done for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What is wanted.
    pub wanted: Wanted,
    /// What has to be done.
    pub verdict: Verdict,
}

impl Item {
    /// Returns the partitions that are to be added, if there are too few.
    pub fn raise(&self) -> Option<Raise> {
        let Verdict::Differs(drifts) = &self.verdict else {
            return None;
        };
        let is_too_few = |drift: &Drift| drift.aspect == Aspect::FewerPartitions;
        drifts.iter().find(|drift| is_too_few(drift))?;
        Some(Raise {
            name: self.wanted.name.clone(),
            partitions: self.wanted.spec.partitions?,
        })
    }

    /// Returns the topic that is to be created, if it is.
    pub fn creation(&self) -> Option<&NewTopic> {
        match &self.verdict {
            Verdict::Create(topic) => Some(topic),
            _ => None,
        }
    }

    /// Returns whether the topic exists and is as wanted.
    pub fn is_fine(&self) -> bool {
        self.verdict == Verdict::AsWanted
    }
}

/// Decides about each topic, in the order of their names.
pub fn plan(wanted: &BTreeMap<TopicName, Wanted>, cluster: &Cluster) -> Vec<Item> {
    let items = wanted.values().map(|one| Item {
        wanted: one.clone(),
        verdict: verdict(one, wanted, cluster),
    });
    items.collect()
}

fn verdict(one: &Wanted, all: &BTreeMap<TopicName, Wanted>, cluster: &Cluster) -> Verdict {
    match cluster.topics.get(&one.name) {
        None => Verdict::Unseen("the brokers were not asked".to_owned()),
        Some(Seen::Untold(why)) => Verdict::Unseen(why.clone()),
        Some(Seen::Missing) if one.need == Need::Input => Verdict::Undeclared,
        Some(Seen::Missing) => Verdict::Create(NewTopic {
            name: one.name.clone(),
            partitions: one.spec.partitions.or_else(|| {
                let like = one.like.iter();
                like.filter_map(|name| partitions_of(name, all, cluster))
                    .max()
            }),
            replication: one
                .spec
                .replication
                .unwrap_or_else(|| cluster.brokers.clamp(1, REPLICATION)),
            config: one.spec.config.clone(),
        }),
        Some(Seen::Found(found)) => compare(one, found),
    }
}

/// Returns how many partitions a topic has, or will have, as far as that is known.
fn partitions_of(
    name: &TopicName,
    all: &BTreeMap<TopicName, Wanted>,
    cluster: &Cluster,
) -> Option<i32> {
    match cluster.topics.get(name) {
        Some(Seen::Found(found)) => Some(found.partitions),
        _ => all.get(name)?.spec.partitions,
    }
}

fn compare(one: &Wanted, found: &Found) -> Verdict {
    let mut drifts = Vec::new();
    let mut differs = |aspect, actual: i32, declared: i32| {
        drifts.push(Drift {
            aspect,
            actual: Some(actual.to_string()),
            declared: declared.to_string(),
        });
    };
    if one.need == Need::Declared {
        match one.spec.partitions {
            Some(declared) if found.partitions < declared => {
                differs(Aspect::FewerPartitions, found.partitions, declared);
            }
            Some(declared) if found.partitions > declared => {
                differs(Aspect::MorePartitions, found.partitions, declared);
            }
            _ => {}
        }
        if let Some(declared) = one.spec.replication
            && found.replication != declared
        {
            differs(Aspect::Replication, found.replication, declared);
        }
    }
    let config = one.spec.config.iter();
    let compared: Vec<_> = config.filter(|(key, _)| one.compares(key)).collect();
    match &found.config {
        Some(config) => drifts.extend(compared.into_iter().filter_map(|(key, declared)| {
            let actual = config.get(key);
            let is_equal = actual.is_some_and(|actual| is_same(key, actual, declared));
            (!is_equal).then(|| Drift {
                aspect: Aspect::Config(key.clone()),
                actual: actual.cloned(),
                declared: declared.clone(),
            })
        })),
        None if drifts.is_empty() && !compared.is_empty() => {
            let why =
                "the brokers do not tell its settings (DescribeConfigs on the topic is needed)";
            return Verdict::Untold(why.to_owned());
        }
        None => {}
    }
    if drifts.is_empty() {
        Verdict::AsWanted
    } else {
        Verdict::Differs(drifts)
    }
}

/// Returns whether two values of a setting mean the same: `0.50` is `0.5`, and the policies of a list have no order.
fn is_same(setting: &str, actual: &str, declared: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let policies = |text: &str| -> BTreeSet<String> {
        text.split(',').map(|one| one.trim().to_owned()).collect()
    };
    actual == declared
        || (number(actual).is_some() && number(actual) == number(declared))
        || (setting == CLEANUP_POLICY && policies(actual) == policies(declared))
}
