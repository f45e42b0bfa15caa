//! Which handlers may begin to read: those of a later step only when those of all earlier ones have caught up.
//!
//! Handed the steps as the operator named them, and now and then how far each handler is behind; says who has started.
//! What is asked of Kafka, and subscribing, happen elsewhere.
//! **Invariant:** a step starts after the one before it, and what has started stays started.

use std::collections::BTreeMap;
use std::fmt;

use crate::ids::HandlerId;
use crate::manifest::closest;

/// What the operator says about steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The handlers of each step, in the order of the steps. None is named twice.
    pub steps: Vec<Vec<HandlerId>>,
    /// Records that a handler may be behind, over all partitions that it reads, and count as caught up.
    pub lag_max: u64,
}

impl Plan {
    /// Leaves out handlers that this host does not run; all stay where `only` is empty.
    #[must_use]
    pub fn only(mut self, only: &[HandlerId]) -> Self {
        if !only.is_empty() {
            for step in &mut self.steps {
                step.retain(|id| only.contains(id));
            }
            self.steps.retain(|step| !step.is_empty());
        }
        self
    }

    /// Says of each name that belongs to none of these handlers that it does, with the handler and its step.
    pub fn unknown(&self, handlers: &[HandlerId]) -> Vec<(String, String)> {
        let numbered = (1..).zip(&self.steps);
        let named = numbered.flat_map(|(number, step)| step.iter().map(move |id| (number, id)));
        named
            .filter(|(_, id)| !handlers.contains(id))
            .map(|(number, id)| {
                let neighbours = handlers.iter().filter(|it| it.tenant == id.tenant);
                let near = closest(id.name.as_str(), neighbours.map(|it| it.name.as_str()))
                    .map(|near| format!(" (did you mean {}/{near}?)", id.tenant))
                    .unwrap_or_default();
                let why = format!("is named in step {number} of `steps` and not deployed{near}");
                (format!("handler {id}"), why)
            })
            .collect()
    }
}

/// How far a handler is behind the ends of what it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// So many records, over all partitions and whoever reads them.
    Records(u64),
    /// Not known, for this reason.
    Unknown(String),
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(1) => f.write_str("1 record behind"),
            Self::Records(records) => write!(f, "{records} records behind"),
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    plan: Plan,
    /// How many steps have started.
    started: usize,
    /// What the next step waits for, as of the last look; none before the first.
    waits_for: Option<Vec<(HandlerId, Behind)>>,
}

impl Steps {
    /// Starts the first step.
    pub fn new(plan: Plan) -> Self {
        Self {
            started: plan.steps.len().min(1),
            plan,
            waits_for: None,
        }
    }

    /// Returns the plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns whether a handler may read. One that no step names always may.
    pub fn has_started(&self, id: &HandlerId) -> bool {
        let step = self.plan.steps.iter().position(|step| step.contains(id));
        step.is_none_or(|step| step < self.started)
    }

    /// Returns whether a step has not started.
    pub fn is_waiting(&self) -> bool {
        self.started < self.plan.steps.len()
    }

    /// Lists the handlers that have to catch up before the next step starts.
    pub fn earlier(&self) -> impl Iterator<Item = &HandlerId> {
        self.plan.steps.iter().take(self.started).flatten()
    }

    /// Starts the next step if all handlers of the earlier ones have caught up; returns its number, from 1. `behind` has
    /// those that are deployed.
    pub fn look(&mut self, behind: &BTreeMap<HandlerId, Behind>) -> Option<usize> {
        if !self.is_waiting() {
            return None;
        }
        let unknown = Behind::Unknown("it is not deployed".to_owned());
        let waits_for: Vec<(HandlerId, Behind)> = self
            .earlier()
            .map(|id| (id.clone(), behind.get(id).unwrap_or(&unknown).clone()))
            .filter(|(_, behind)| !self.is_caught_up(behind))
            .collect();
        if !waits_for.is_empty() {
            self.waits_for = Some(waits_for);
            return None;
        }
        self.started += 1;
        self.waits_for = None;
        Some(self.started)
    }

    /// Returns what the next step waits for, as of the last look.
    pub fn waits_for(&self) -> &[(HandlerId, Behind)] {
        self.waits_for.as_deref().unwrap_or_default()
    }

    /// Says of each step that has not started what it waits for.
    pub fn waits(&self) -> Vec<(String, String)> {
        let steps = (self.started + 1)..=self.plan.steps.len();
        steps
            .map(|step| {
                let why = match &self.waits_for {
                    _ if step > self.started + 1 => format!("waits for step {}", step - 1),
                    None => "waits for the earlier steps".to_owned(),
                    Some(handlers) => self.why(handlers),
                };
                (format!("step {step}"), why)
            })
            .collect()
    }

    fn why(&self, handlers: &[(HandlerId, Behind)]) -> String {
        let told: Vec<String> = handlers
            .iter()
            .map(|(id, behind)| format!("{id} ({behind})"))
            .collect();
        let lag_max = self.plan.lag_max;
        format!("waits for {} (steps-lag-max = {lag_max})", told.join(", "))
    }

    fn is_caught_up(&self, behind: &Behind) -> bool {
        matches!(behind, Behind::Records(records) if *records <= self.plan.lag_max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> HandlerId {
        name.parse().unwrap()
    }

    fn plan(steps: &[&[&str]], lag_max: u64) -> Plan {
        let step = |names: &&[&str]| names.iter().map(|name| id(name)).collect();
        Plan {
            steps: steps.iter().map(step).collect(),
            lag_max,
        }
    }

    fn behind(all: &[(&str, u64)]) -> BTreeMap<HandlerId, Behind> {
        all.iter()
            .map(|(name, records)| (id(name), Behind::Records(*records)))
            .collect()
    }

    #[test]
    fn without_steps_everybody_has_started() {
        let mut steps = Steps::default();
        assert!(steps.has_started(&id("a")) && !steps.is_waiting());
        assert_eq!(steps.look(&BTreeMap::new()), None);
        assert_eq!(steps.waits(), []);
    }

    #[test]
    fn a_step_starts_when_all_earlier_ones_have_caught_up_and_says_what_it_waits_for() {
        let mut steps = Steps::new(plan(&[&["a", "b"], &["c"], &["d"]], 5));
        let started =
            |steps: &Steps| ["a", "b", "c", "d", "e"].map(|it| steps.has_started(&id(it)));
        assert_eq!(started(&steps), [true, true, false, false, true]);
        assert_eq!(steps.look(&behind(&[("a", 5), ("b", 6)])), None);
        let waits = steps.waits();
        let expected = "waits for default/b (6 records behind) (steps-lag-max = 5)";
        assert_eq!(waits[0], ("step 2".to_owned(), expected.to_owned()));
        assert_eq!(waits[1].1, "waits for step 2");
        // What is not known is not caught up.
        assert_eq!(steps.look(&behind(&[("a", 0)])), None);
        assert_eq!(steps.waits_for()[0].0, id("b"));
        assert_eq!(steps.look(&behind(&[("a", 5), ("b", 0)])), Some(2));
        assert_eq!(started(&steps), [true, true, true, false, true]);
        // An earlier step that is behind again holds the next one, too.
        assert_eq!(steps.look(&behind(&[("a", 9), ("b", 0), ("c", 0)])), None);
        assert_eq!(steps.waits_for()[0].0, id("a"));
        assert_eq!(
            steps.look(&behind(&[("a", 1), ("b", 0), ("c", 0)])),
            Some(3)
        );
        assert!(!steps.is_waiting());
        assert_eq!(steps.waits(), []);
    }

    #[test]
    fn names_of_no_handler_are_told_with_their_step() {
        let plan = plan(&[&["orders"], &["acme/bill"]], 0);
        let unknown = plan.unknown(&[id("orders"), id("acme/bills")]);
        let why =
            "is named in step 2 of `steps` and not deployed (did you mean acme/bills?)".to_owned();
        assert_eq!(unknown, [("handler acme/bill".to_owned(), why)]);
    }

    #[test]
    fn handlers_that_a_host_does_not_run_are_not_waited_for() {
        let all = plan(&[&["a"], &["b", "c"], &["d"]], 7);
        assert_eq!(all.clone().only(&[]), all);
        assert_eq!(all.only(&[id("c"), id("d")]), plan(&[&["c"], &["d"]], 7));
    }

    proptest! {
        /// The model starts a step when each handler before it was seen within the bound at one look.
        #[test]
        fn steps_start_in_order_and_stay_started(
            sizes in proptest::collection::vec(1usize..3, 1..5),
            lag_max in 0u64..3,
            looks in proptest::collection::vec(proptest::collection::vec(proptest::option::of(0u64..5), 8), 0..12),
        ) {
            let mut names = (0..8).map(|n| id(&format!("h{n}")));
            let steps: Vec<Vec<HandlerId>> =
                sizes.iter().map(|size| names.by_ref().take(*size).collect()).collect();
            let flat: Vec<(usize, HandlerId)> = steps
                .iter()
                .enumerate()
                .flat_map(|(at, step)| step.iter().map(move |id| (at, id.clone())))
                .collect();
            let mut found = Steps::new(Plan { steps: steps.clone(), lag_max });
            let mut model = 1;
            for look in looks {
                let lags: BTreeMap<HandlerId, Behind> = flat
                    .iter()
                    .zip(&look)
                    .filter_map(|((_, id), lag)| Some((id.clone(), Behind::Records((*lag)?))))
                    .collect();
                let held = flat.iter().zip(&look).any(|((at, _), lag)| {
                    *at < model && lag.is_none_or(|lag| lag > lag_max)
                });
                let starts = model < steps.len() && !held;
                model += usize::from(starts);
                prop_assert_eq!(found.look(&lags), starts.then_some(model));
                for (at, id) in &flat {
                    prop_assert_eq!(found.has_started(id), *at < model);
                }
                prop_assert_eq!(found.waits().len(), steps.len() - model);
                prop_assert_eq!(found.is_waiting(), model < steps.len());
            }
        }
    }
}
