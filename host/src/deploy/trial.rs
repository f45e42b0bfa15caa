//! The trial of a handler's components before they serve: each begins, and says what it takes.
//!
//! **Invariant:** other deployments wait for a trial, so all of it together has a bound.

mod record;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

pub(super) use self::record::TrialRecord;
use self::record::quiet;
use super::load::Loaded;
use super::scan::Candidate;
use super::{courses, stages};
use crate::guest::{GuestLog, Handler as Component, Instance, Lent, Setup};
use crate::route::{Matcher, NamedEvent, OwnRule, contested};

/// How long a trial may take.
const TRIAL_MAX: Duration = Duration::from_secs(5);
/// How long the trials of all components of a handler may take together.
const TRIALS_MAX: Duration = Duration::from_secs(10);

/// Lets an instance begin. All deployments wait for it, so a handler's own deadline does not hold in full.
pub(super) async fn try_start(
    candidate: &Candidate,
    component: &Component,
    setup: &Setup,
    which: &str,
) -> Result<Instance, String> {
    let meter = Arc::clone(&setup.meter);
    let log = GuestLog::new(candidate.id.clone(), Arc::from("(trial)"), 0, meter);
    let mut setup = setup.clone();
    setup.limits.deadline = setup.limits.deadline.min(TRIAL_MAX);
    let began = Instant::now();
    let started = Instance::start(component, &setup, log, None, Lent::default()).await;
    started.map_err(|error| {
        let told = format!("{}: {which}{error}", candidate.manifest.display());
        if began.elapsed() < TRIAL_MAX {
            return told;
        }
        format!(
            "{told} (the trial before a deployment has {} s, or limits.deadline-ms where that is less)",
            TRIAL_MAX.as_secs()
        )
    })
}

/// Lets one instance of each component begin and go, as a lane would, and the handler's name its events; returns the rules
/// that come of it. Other deployments wait for it, so all of it together has a bound.
pub(super) async fn try_out(
    candidate: &Candidate,
    loaded: &Loaded,
    setup: &Setup,
) -> Result<Vec<OwnRule>, String> {
    let tried = timeout(TRIALS_MAX, Box::pin(try_each(candidate, loaded, setup))).await;
    tried.unwrap_or_else(|_| {
        Err(format!(
            "{}: its components were not done with their trial within {} s (begin with less, or name fewer components)",
            candidate.manifest.display(),
            TRIALS_MAX.as_secs()
        ))
    })
}

/// As [`try_out`], in a task of its own, which is given up where it does not end: nothing interrupts what a trusted tenant runs.
pub(super) async fn try_apart(
    candidate: Candidate,
    loaded: Loaded,
    setup: Setup,
) -> Result<(Vec<OwnRule>, Loaded, Setup), String> {
    let manifest = candidate.manifest.display().to_string();
    let tried = tokio::spawn(async move {
        let rules = Box::pin(try_out(&candidate, &loaded, &setup)).await;
        rules.map(|rules| (rules, loaded, setup))
    });
    match timeout(TRIALS_MAX + TRIAL_MAX, tried).await {
        Ok(Ok(tried)) => tried,
        Ok(Err(error)) => Err(format!("{manifest}: its trial failed: {error}")),
        Err(_) => Err(format!(
            "{manifest}: a component of it does not end, and nothing interrupts those of a trusted tenant: a thread of the host is lost \
             (mend the component, and start the host again)"
        )),
    }
}

async fn try_each(
    candidate: &Candidate,
    loaded: &Loaded,
    setup: &Setup,
) -> Result<Vec<OwnRule>, String> {
    let mut trial = loaded.trial.clone();
    for (middleware, component) in &loaded.middleware.stages {
        let which = format!("middleware {}: ", middleware.name);
        let setup = stages::setup(middleware, setup);
        let mut instance = try_start(candidate, component, &setup, &which).await?;
        if let Some(trial) = &mut trial {
            let passed = trial.pass(&mut instance).await;
            passed.map_err(|why| failed(candidate, &format!("{which}{why}")))?;
        }
    }
    let manifest = &loaded.manifest;
    courses::try_out(candidate, &manifest.pipelines, &loaded.steps, setup).await?;
    let muted = trial.is_some().then(|| quiet(setup));
    let setup = muted.as_ref().unwrap_or(setup);
    let mut instance = try_start(candidate, &loaded.component, setup, "").await?;
    let manifest = candidate.manifest.display();
    let events = instance.events().await;
    let events =
        events.map_err(|failure| format!("{manifest}: events failed: {}", failure.message))?;
    let events = matchers(&events).map_err(|what| format!("{manifest}: {what}"))?;
    if !events.is_empty() && loaded.manifest.bulk.is_some() {
        return Err(format!(
            "{manifest}: the component has hooks for events, which are handed over one by one, so [bulk] has no meaning (leave \
             it out)"
        ));
    }
    let takes_any = loaded.component.takes().any_record;
    let routing = &loaded.manifest.routing;
    let pipelines = loaded.manifest.pipelines.iter();
    let pipelines = pipelines.map(|pipeline| (&pipeline.name, &pipeline.rule));
    let rules = routing.own_rules(&events, takes_any, pipelines);
    match contested([rules.as_slice()], routing.multi) {
        Some(rule) if loaded.manifest.pipelines.is_empty() => {
            return Err(format!(
                "{manifest}: a [[route]] takes {rule}, and so does the component by a hook of its own (leave the route out)"
            ));
        }
        Some(rule) => {
            return Err(format!(
                "{manifest}: a [[route]] or [[pipeline]] takes {rule}, and so does another one or the component by a hook of its own \
                 (say more of one of them, or write multi = \"all\" where each is to have the record)"
            ));
        }
        None => {}
    }
    if let Some(trial) = &trial {
        let handled = trial.handle(&mut instance, routing, &rules).await;
        handled.map_err(|why| failed(candidate, &why))?;
    }
    Ok(rules)
}

/// Says that the record of the trial was not handled, and what to do about it.
fn failed(candidate: &Candidate, why: &str) -> String {
    format!(
        "{}: deploy.trial-record: {why} (mend the component, or the record)",
        candidate.manifest.display()
    )
}

/// Returns what the component matches events by.
fn matchers(events: &[String]) -> Result<Vec<NamedEvent>, String> {
    let mut matchers: Vec<NamedEvent> = Vec::new();
    for event in events {
        let matcher = Matcher::pattern(event);
        let matcher =
            matcher.map_err(|error| format!("the component names the event {event:?}: {error}"))?;
        if matchers.iter().any(|(other, _)| *other == matcher) {
            return Err(format!("the component names the event {event:?} twice"));
        }
        matchers.push((matcher, Arc::from(event.as_str())));
    }
    Ok(matchers)
}
