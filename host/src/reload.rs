//! What becomes of a host.toml that is read again while the host runs.
//!
//! Handed what the host runs by and what the file says now, key by key; gives what changes at once, what needs a restart, and
//! what the command line or the environment decide. Reading and acting happen elsewhere.
//! **Invariant:** each key that differs is told once, and no value that may be a secret is.

use std::collections::BTreeMap;
use std::fmt;

/// When a change of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// As soon as the file is read again.
    Live,
    /// When the host starts again.
    Restart,
}

/// What a file says of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    /// As TOML has it.
    pub text: String,
    /// When a change of it counts.
    pub turn: Turn,
    /// Whether it may be a secret.
    pub is_secret: bool,
}

impl fmt::Debug for Value {
    /// Leaves out what may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secret { "***" } else { &self.text })
    }
}

/// What a file says, by the paths of its keys; of keys that are left out it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said(BTreeMap<String, Value>);

/// A key that says something else than before; nothing stands for its default, and for what is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path.
    pub key: String,
    /// What it said.
    pub from: Option<String>,
    /// What it says.
    pub to: Option<String>,
    /// Whether its value is not shown.
    pub is_secret: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        if self.is_secret {
            return write!(f, "{key}: changed (its value is not shown)");
        }
        let text = |it: &Option<String>| it.clone().unwrap_or_else(|| "its default".to_owned());
        write!(
            f,
            "{key}: changed from {} to {}",
            text(&self.from),
            text(&self.to)
        )
    }
}

/// What becomes of the keys that say something else than before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// These change at once.
    pub live: Vec<Change>,
    /// These stay as they are until the host starts again.
    pub restart: Vec<Change>,
    /// Of these the command line or the environment says something else, which wins.
    pub overruled: Vec<Change>,
}

impl Said {
    /// Takes what was found, by paths.
    pub fn new(found: BTreeMap<String, Value>) -> Self {
        Self(found)
    }

    /// Returns what the host runs by when it has taken up what a file says now.
    #[must_use]
    pub fn after(&self, new: &Self) -> Self {
        let kept = self
            .0
            .iter()
            .filter(|(_, value)| value.turn == Turn::Restart);
        let taken = new.0.iter().filter(|(_, value)| value.turn == Turn::Live);
        let all = kept.chain(taken);
        Self(
            all.map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )
    }
}

impl Plan {
    /// Compares what the host runs by with what the file says now; `overruled` are keys of which others decide.
    pub fn of(running: &Said, new: &Said, overruled: &[&str]) -> Self {
        let mut plan = Self::default();
        let mut keys: Vec<&String> = running.0.keys().chain(new.0.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let (from, to) = (running.0.get(key), new.0.get(key));
            let Some(either) = to.or(from).filter(|_| from != to) else {
                continue;
            };
            let shown =
                |it: Option<&Value>| it.filter(|it| !it.is_secret).map(|it| it.text.clone());
            let change = Change {
                key: key.clone(),
                from: shown(from),
                to: shown(to),
                is_secret: either.is_secret,
            };
            if overruled.contains(&key.as_str()) {
                plan.overruled.push(change);
            } else if either.turn == Turn::Live {
                plan.live.push(change);
            } else {
                plan.restart.push(change);
            }
        }
        plan
    }

    /// Says all of it, a line each.
    pub fn lines(&self) -> Vec<String> {
        let live = self.live.iter().map(ToString::to_string);
        let restart = self
            .restart
            .iter()
            .map(|it| format!("{it}; needs a restart"));
        let overruled = self.overruled.iter().map(|it| {
            format!("{it}; the command line or the environment says something else, which wins")
        });
        live.chain(restart).chain(overruled).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys of each kind by the ends of their names.
    fn file() -> impl Strategy<Value = Said> {
        let key = "[ab]-(live|fixed)-(open|secret)";
        proptest::collection::btree_map(key, 0..4u8, 0..8).prop_map(|all| {
            let values = all.into_iter().map(|(key, number)| {
                let value = Value {
                    text: format!("value-{number}"),
                    turn: if key.contains("live") {
                        Turn::Live
                    } else {
                        Turn::Restart
                    },
                    is_secret: key.contains("secret"),
                };
                (key, value)
            });
            Said::new(values.collect())
        })
    }

    proptest! {
        #[test]
        fn each_key_that_differs_is_told_once_where_it_belongs(old in file(), new in file(), is_given: bool) {
            let given: &[&str] = if is_given { &["a-live-open", "b-fixed-open"] } else { &[] };
            let plan = Plan::of(&old, &new, given);
            let mut told: Vec<&str> = Vec::new();
            for (list, name) in [(&plan.live, "live"), (&plan.restart, "fixed"), (&plan.overruled, "")] {
                for change in list {
                    prop_assert!(change.key.contains(name));
                    prop_assert_eq!(given.contains(&change.key.as_str()), name.is_empty());
                    told.push(&change.key);
                }
            }
            told.sort_unstable();
            let mut differ: Vec<&str> = Vec::new();
            for key in old.0.keys().chain(new.0.keys()) {
                if old.0.get(key) != new.0.get(key) && !differ.contains(&key.as_str()) {
                    differ.push(key);
                }
            }
            differ.sort_unstable();
            prop_assert_eq!(told, differ);
        }

        #[test]
        fn what_was_taken_up_is_not_told_again_and_what_needs_a_restart_is(old in file(), new in file()) {
            let first = Plan::of(&old, &new, &[]);
            let running = old.after(&new);
            let again = Plan::of(&running, &new, &[]);
            prop_assert_eq!(&again.live, &[]);
            prop_assert_eq!(again.restart, first.restart);
            // To put the file back undoes everything.
            let back = Plan::of(&running.after(&old), &old, &[]);
            prop_assert_eq!(back, Plan::default());
        }

        #[test]
        fn no_secret_is_told(old in file(), new in file()) {
            for line in Plan::of(&old, &new, &[]).lines() {
                prop_assert!(!line.contains("secret") || !line.contains("value-"), "{}", line);
            }
            for (key, value) in &new.0 {
                prop_assert_eq!(format!("{value:?}").contains("value-"), key.ends_with("open"));
            }
        }
    }
}
