//! Whether the host can do its work, and what stands in the way.
//!
//! Pure: handed what is known of the parts, gives the answer of `/readyz`. The rule is a table in the parent module.
//! **Invariant:** whatever makes a host not ready, or less than whole, is named with its reason.

use std::collections::BTreeMap;

use serde::Serialize;

/// What is known of the parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The handlers folder was looked at.
    pub(super) looked: bool,
    /// The host is stopping.
    pub(super) draining: bool,
    pub(super) handlers: Vec<HandlerFacts>,
    pub(super) groups: Vec<GroupFacts>,
    /// What the deployer refused, with the handler, file or folder in question.
    pub(super) problems: Vec<(String, String)>,
    /// Topics that were asked for and do not exist, with what is known of each.
    pub(super) missing_topics: Vec<(String, String)>,
    /// How topics that do not exist come into being, by name.
    pub(super) remedies: BTreeMap<String, String>,
    /// What steps wait for, with the step or the handler in question.
    pub(super) waits: Vec<(String, String)>,
    /// Why producers failed for good.
    pub(super) dead_producers: Vec<String>,
    /// Why producers of requests and receipts did, in the place of which another one comes when it is needed.
    pub(super) failed_couriers: Vec<String>,
    /// Whether the host is not ready while anything stalls.
    pub(super) is_strict: bool,
}

/// A handler that is deployed.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct HandlerFacts {
    pub(super) tenant: String,
    pub(super) handler: String,
    pub(super) revision: String,
    pub(super) group: String,
    /// Topics, or the pattern, as the manifest has them.
    pub(super) topics: Vec<String>,
    /// Partitions that this host has of them.
    pub(super) partitions: usize,
    /// Those that stopped at a record.
    pub(super) halted: usize,
    /// Where those stand: topic, partition and offset.
    #[serde(skip)]
    pub(super) halted_at: Vec<String>,
    /// Those that make no progress and are not halted.
    pub(super) stalled: usize,
    /// Whether somebody has paused it, which is no fault.
    #[serde(rename = "paused")]
    pub(super) is_held: bool,
    /// Where those stand, for how long, and why.
    #[serde(skip)]
    pub(super) stalled_at: Vec<String>,
    /// Whether it pauses because too many records fail.
    #[serde(skip)]
    pub(super) is_paused: bool,
}

/// A consumer group that handlers need.
#[derive(Debug, Clone)]
pub(super) struct GroupFacts {
    pub(super) tenant: String,
    pub(super) group: String,
    pub(super) source: Source,
    /// For how long its consumer's thread is late, if it is.
    pub(super) late: Option<String>,
}

/// What is known of a group's consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// It does not run.
    Absent,
    /// Kafka does not answer it, for this reason.
    OutOfReach(String),
    /// Kafka answers; these topics do not exist.
    Reached { missing_topics: Vec<String> },
}

/// The state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    Serving,
    Starting,
    Draining,
    KafkaUnreachable,
    Degraded,
    NoHandlers,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    pub(super) state: State,
    pub(super) handlers: Vec<HandlerFacts>,
    #[serde(rename = "not-ready")]
    pub(super) not_ready: Vec<NotReady>,
}

/// Something that does not work, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NotReady {
    pub(super) what: String,
    pub(super) why: String,
}

impl NotReady {
    fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
        }
    }
}

/// Judges the facts.
pub(super) fn judge(facts: Facts) -> Readiness {
    let not_ready = reasons(&facts);
    let state = if facts.draining {
        State::Draining
    } else if !facts.looked {
        State::Starting
    } else if facts.handlers.is_empty() {
        State::NoHandlers
    } else if facts.is_cut_off() {
        State::KafkaUnreachable
    } else if not_ready.is_empty() {
        State::Serving
    } else {
        State::Degraded
    };
    let ready = facts.dead_producers.is_empty()
        && !(facts.is_strict && facts.stalls())
        && match state {
            State::Serving => true,
            State::NoHandlers => facts.problems.is_empty(),
            State::Degraded => facts.handlers.iter().any(|handler| facts.serves(handler)),
            State::Starting | State::Draining | State::KafkaUnreachable => false,
        };
    Readiness {
        ready,
        state,
        handlers: facts.handlers,
        not_ready,
    }
}

impl Facts {
    /// Whether Kafka answers nobody.
    fn is_cut_off(&self) -> bool {
        let any = |is: fn(&Source) -> bool| self.groups.iter().any(|group| is(&group.source));
        any(|source| matches!(source, Source::OutOfReach(_)))
            && !any(|source| matches!(source, Source::Reached { .. }))
    }

    /// Whether anything makes no progress.
    fn stalls(&self) -> bool {
        let mut groups = self.groups.iter();
        groups.any(|group| group.late.is_some())
            || self.handlers.iter().any(|handler| handler.stalled > 0)
    }

    /// A topic that does not exist has no records that wait, so it does not count here.
    fn serves(&self, handler: &HandlerFacts) -> bool {
        let is_reached = self.groups.iter().any(|group| {
            group.tenant == handler.tenant
                && group.group == handler.group
                && matches!(group.source, Source::Reached { .. })
                && group.late.is_none()
        });
        let standing = handler.halted + handler.stalled;
        let is_standing = handler.partitions > 0 && standing >= handler.partitions;
        is_reached && !is_standing
    }
}

fn reasons(facts: &Facts) -> Vec<NotReady> {
    let mut reasons = Vec::new();
    if facts.draining {
        reasons.push(NotReady::new("host", "it is stopping"));
    }
    if !facts.looked {
        reasons.push(NotReady::new(
            "handlers folder",
            "it was not looked at yet, or is being read",
        ));
    } else if facts.handlers.is_empty() {
        reasons.push(NotReady::new("handlers", "no handler is deployed"));
    }
    for reason in &facts.dead_producers {
        let why = format!("it failed for good, restart the host: {reason}");
        reasons.push(NotReady::new("producer", why));
    }
    for reason in &facts.failed_couriers {
        let why = format!(
            "that of requests and records with a receipt failed for good, and another one takes its place with the next \
             of them: {reason}"
        );
        reasons.push(NotReady::new("producer", why));
    }
    for group in &facts.groups {
        group.add_reasons(&facts.remedies, &mut reasons);
    }
    for (topic, why) in &facts.missing_topics {
        let what = format!("topic {topic}");
        // Groups tell of those that they read.
        if !reasons.iter().any(|reason| reason.what == what) {
            reasons.push(NotReady::new(what, why));
        }
    }
    for handler in facts.handlers.iter().filter(|handler| handler.halted > 0) {
        reasons.push(NotReady::new(
            handler.what(),
            format!(
                "{} of its {} partitions here are halted ({}); the log says why",
                handler.halted,
                handler.partitions,
                places(&handler.halted_at)
            ),
        ));
    }
    for handler in facts.handlers.iter().filter(|handler| handler.stalled > 0) {
        reasons.push(NotReady::new(
            handler.what(),
            format!(
                "{} of its {} partitions here make no progress ({})",
                handler.stalled,
                handler.partitions,
                places(&handler.stalled_at)
            ),
        ));
    }
    for handler in facts.handlers.iter().filter(|handler| handler.is_paused) {
        reasons.push(NotReady::new(
            handler.what(),
            "it pauses because too many of its records fail; the log says why they do",
        ));
    }
    let problems = facts.problems.iter().chain(&facts.waits);
    reasons.extend(problems.map(|(place, problem)| NotReady::new(place, problem)));
    reasons
}

/// Places that are named one by one; of more only the number is told.
const NAMED_MAX: usize = 10;

fn places(all: &[String]) -> String {
    let named = all.iter().take(NAMED_MAX).cloned();
    let more = all.len().saturating_sub(NAMED_MAX);
    let more = (more > 0).then(|| format!("{more} more"));
    named.chain(more).collect::<Vec<_>>().join(", ")
}

impl HandlerFacts {
    /// Names the handler as `/readyz` does.
    fn what(&self) -> String {
        format!("handler {}/{}", self.tenant, self.handler)
    }
}

impl GroupFacts {
    fn add_reasons(&self, remedies: &BTreeMap<String, String>, reasons: &mut Vec<NotReady>) {
        let Self { tenant, group, .. } = self;
        if let Some(late) = &self.late {
            let what = format!("group {group} of tenant {tenant}");
            reasons.push(NotReady::new(what, late));
        }
        match &self.source {
            Source::Absent => reasons.push(NotReady::new(
                format!("group {group} of tenant {tenant}"),
                "its consumer does not run; the log says why",
            )),
            Source::OutOfReach(reason) => {
                let why = format!("group {group} of tenant {tenant}: {reason}");
                reasons.push(NotReady::new("kafka", why));
            }
            Source::Reached { missing_topics } => {
                reasons.extend(missing_topics.iter().map(|topic| {
                    let mut why =
                        format!("it does not exist; group {group} of tenant {tenant} waits for it");
                    if let Some(remedy) = remedies.get(topic) {
                        why = format!("{why}; {remedy}");
                    }
                    NotReady::new(format!("topic {topic}"), why)
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests;
