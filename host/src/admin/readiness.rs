//! Whether the host can do its work, and what stands in the way.
//!
//! Pure: handed what is known of the parts, gives the answer of `/readyz`. The rule is a table in the parent module.
//! **Invariant:** whatever makes a host not ready, or less than whole, is named with its reason.

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
    /// What steps wait for, with the step or the handler in question.
    pub(super) waits: Vec<(String, String)>,
    /// Why producers failed for good.
    pub(super) dead_producers: Vec<String>,
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

    /// A topic that does not exist has no records that wait, so it does not count here.
    fn serves(&self, handler: &HandlerFacts) -> bool {
        let is_reached = self.groups.iter().any(|group| {
            group.tenant == handler.tenant
                && group.group == handler.group
                && matches!(group.source, Source::Reached { .. })
        });
        let is_halted = handler.partitions > 0 && handler.halted >= handler.partitions;
        is_reached && !is_halted
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
    for group in &facts.groups {
        group.add_reasons(&mut reasons);
    }
    for handler in facts.handlers.iter().filter(|handler| handler.halted > 0) {
        reasons.push(NotReady::new(
            format!("handler {}/{}", handler.tenant, handler.handler),
            format!(
                "{} of its {} partitions here are halted ({}); the log says why",
                handler.halted,
                handler.partitions,
                handler.halted_where()
            ),
        ));
    }
    for handler in facts.handlers.iter().filter(|handler| handler.is_paused) {
        reasons.push(NotReady::new(
            format!("handler {}/{}", handler.tenant, handler.handler),
            "it pauses because too many of its records fail; the log says why they do",
        ));
    }
    let problems = facts.problems.iter().chain(&facts.waits);
    reasons.extend(problems.map(|(place, problem)| NotReady::new(place, problem)));
    reasons
}

/// Places that are named one by one; of more only the number is told.
const NAMED_MAX: usize = 10;

impl HandlerFacts {
    fn halted_where(&self) -> String {
        let named = self.halted_at.iter().take(NAMED_MAX).cloned();
        let more = self.halted_at.len().saturating_sub(NAMED_MAX);
        let more = (more > 0).then(|| format!("{more} more"));
        named.chain(more).collect::<Vec<_>>().join(", ")
    }
}

impl GroupFacts {
    fn add_reasons(&self, reasons: &mut Vec<NotReady>) {
        let Self { tenant, group, .. } = self;
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
                    let why =
                        format!("it does not exist; group {group} of tenant {tenant} waits for it");
                    NotReady::new(format!("topic {topic}"), why)
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, source: Source) -> GroupFacts {
        GroupFacts {
            tenant: "default".to_owned(),
            group: name.to_owned(),
            source,
        }
    }

    fn reached() -> Source {
        Source::Reached {
            missing_topics: Vec::new(),
        }
    }

    fn handler(name: &str, partitions: usize, halted: usize) -> HandlerFacts {
        HandlerFacts {
            tenant: "default".to_owned(),
            handler: name.to_owned(),
            group: name.to_owned(),
            partitions,
            halted,
            ..HandlerFacts::default()
        }
    }

    /// A host with one handler, `a`, on which all is well.
    fn well() -> Facts {
        Facts {
            looked: true,
            handlers: vec![handler("a", 2, 0)],
            groups: vec![group("a", reached())],
            ..Facts::default()
        }
    }

    /// The same with a second handler, `b`, whose consumer is as given.
    fn two(second: Source) -> Facts {
        let mut facts = well();
        facts.handlers.push(handler("b", 0, 0));
        facts.groups.push(group("b", second));
        facts
    }

    fn cut_off() -> Source {
        Source::OutOfReach("connection refused".to_owned())
    }

    fn problem() -> Vec<(String, String)> {
        vec![("b/handler.toml".to_owned(), "line 1".to_owned())]
    }

    fn missing() -> Source {
        Source::Reached {
            missing_topics: vec!["orders".to_owned()],
        }
    }

    #[track_caller]
    fn assert_judged(facts: Facts, state: State, ready: bool, named: &[&str]) {
        let readiness = judge(facts);
        assert_eq!((readiness.state, readiness.ready), (state, ready));
        let listed = readiness.not_ready.iter();
        let what: Vec<&str> = listed.map(|item| item.what.as_str()).collect();
        assert_eq!(what, named);
        assert!(readiness.not_ready.iter().all(|item| !item.why.is_empty()));
    }

    #[test]
    fn a_host_on_which_all_is_well_serves() {
        assert_judged(well(), State::Serving, true, &[]);
        // More hosts than partitions are no fault of this one.
        let mut facts = well();
        facts.handlers[0].partitions = 0;
        assert_judged(facts, State::Serving, true, &[]);
    }

    #[test]
    fn a_host_that_begins_or_stops_is_not_ready() {
        let named = &["handlers folder"];
        assert_judged(Facts::default(), State::Starting, false, named);
        let mut facts = well();
        facts.draining = true;
        assert_judged(facts.clone(), State::Draining, false, &["host"]);
        facts.looked = false;
        assert_judged(facts, State::Draining, false, &["host", "handlers folder"]);
    }

    #[test]
    fn an_empty_folder_is_ready_and_one_with_bad_handlers_only_is_not() {
        let mut facts = Facts {
            looked: true,
            ..Facts::default()
        };
        assert_judged(facts.clone(), State::NoHandlers, true, &["handlers"]);
        facts.problems = problem();
        let named = &["handlers", "b/handler.toml"];
        assert_judged(facts, State::NoHandlers, false, named);
    }

    #[test]
    fn a_bad_handler_does_not_take_the_good_one_out_of_service() {
        let mut facts = well();
        facts.problems = problem();
        assert_judged(facts, State::Degraded, true, &["b/handler.toml"]);
    }

    #[test]
    fn kafka_out_of_reach_is_not_ready_unless_it_answers_another_group() {
        let mut facts = well();
        facts.groups = vec![group("a", cut_off())];
        assert_judged(facts, State::KafkaUnreachable, false, &["kafka"]);
        assert_judged(two(cut_off()), State::Degraded, true, &["kafka"]);
    }

    #[test]
    fn a_missing_topic_is_listed_and_no_more() {
        let mut facts = well();
        facts.groups = vec![group("a", missing())];
        assert_judged(facts, State::Degraded, true, &["topic orders"]);
    }

    #[test]
    fn a_handler_that_pauses_is_told_and_the_host_stays_ready() {
        let mut facts = well();
        facts.handlers[0].is_paused = true;
        assert_judged(facts, State::Degraded, true, &["handler default/a"]);
    }

    #[test]
    fn halted_partitions_count_when_no_other_is_left() {
        let named = &["handler default/a"];
        let mut facts = well();
        facts.handlers[0].halted = 1;
        facts.handlers[0].halted_at = vec!["orders[3] at offset 17".to_owned()];
        assert_judged(facts.clone(), State::Degraded, true, named);
        assert!(judge(facts.clone()).not_ready[0].why.starts_with(
            "1 of its 2 partitions here are halted (orders[3] at offset 17); the log"
        ));
        facts.handlers[0].halted = 2;
        assert_judged(facts, State::Degraded, false, named);
    }

    #[test]
    fn a_consumer_that_does_not_run_counts_when_no_other_does() {
        let mut facts = well();
        facts.groups = vec![group("a", Source::Absent)];
        let named = &["group a of tenant default"];
        assert_judged(facts, State::Degraded, false, named);
        let named = &["group b of tenant default"];
        assert_judged(two(Source::Absent), State::Degraded, true, named);
    }

    #[test]
    fn a_step_that_waits_is_told_and_the_host_stays_ready() {
        let mut facts = well();
        facts.handlers.push(handler("b", 0, 0));
        facts.waits = vec![("step 2".to_owned(), "waits for default/a".to_owned())];
        assert_judged(facts, State::Degraded, true, &["step 2"]);
    }

    #[test]
    fn a_dead_producer_is_never_ready() {
        let mut facts = well();
        facts.dead_producers = vec!["fenced".to_owned()];
        assert_judged(facts, State::Degraded, false, &["producer"]);
    }

    #[test]
    fn the_same_group_name_of_another_tenant_is_another_group() {
        let mut facts = well();
        facts.groups.push(group("a", cut_off()));
        facts.groups[0].tenant = "acme".to_owned();
        let readiness = judge(facts);
        assert_eq!((readiness.state, readiness.ready), (State::Degraded, false));
        assert_eq!(
            readiness.not_ready[0].why,
            "group a of tenant default: connection refused"
        );
    }

    #[test]
    fn the_answer_has_the_documented_keys() {
        let mut facts = two(missing());
        facts.handlers.truncate(1);
        facts.handlers[0].topics = vec!["t".to_owned()];
        facts.handlers[0].revision = "0a".to_owned();
        let text = serde_json::to_string(&judge(facts)).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"ready":true,"state":"degraded","handlers":[{"tenant":"default","handler":"a","#,
                r#""revision":"0a","group":"a","topics":["t"],"partitions":2,"halted":0}],"#,
                r#""not-ready":[{"what":"topic orders","#,
                r#""why":"it does not exist; group b of tenant default waits for it"}]}"#
            )
        );
    }
}
