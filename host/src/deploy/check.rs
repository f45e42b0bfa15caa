//! `check`: what a handlers folder holds and whether it would serve, without a broker.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::circles::circles;
use super::conflict::{Party, obstacle};
use super::facts::Facts;
use super::load::{Loaded, load};
use super::scan::{EXPECTED, Scan, is_component, scan, unreadable};
use super::secrets::SecretStore;
use super::trial::try_out;
use crate::guest::{Conversation, Receipts, Runtime, Setup};
use crate::ids::HandlerId;
use crate::manifest::Manifest;
use crate::policy::{Ordering, Subscription};
use crate::provenance::provenance;
use crate::route::{OwnRule, is_choosy};
use crate::secrets::HIDDEN;
use crate::topics::conflict;
use crate::trust::Trust;

/// What was found in a handlers folder.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// A paragraph for each good handler.
    pub(crate) handlers: Vec<String>,
    /// Everything that is wrong, a line each.
    pub(crate) problems: Vec<String>,
    /// What is allowed and may not be meant, a line each.
    pub(crate) warnings: Vec<String>,
}

/// Loads and tries out everything in `folder`.
pub(crate) async fn check(
    folder: &Path,
    runtime: &Runtime,
    secrets: &SecretStore,
    trust: &Trust,
) -> Report {
    let mut report = Report::default();
    let mut scan = match scan(folder) {
        Ok(scan) => scan,
        Err(error) => {
            report.problems.push(unreadable(folder, &error));
            return report;
        }
    };
    let problems = std::mem::take(&mut scan.problems);
    report.problems.extend(problems.into_values());
    let mut good: BTreeMap<HandlerId, (Loaded, Vec<OwnRule>)> = BTreeMap::new();
    for (id, candidate) in &scan.candidates {
        let loaded = match load(candidate, runtime, secrets, trust, &mut Facts::default()) {
            Ok(loaded) => loaded,
            Err(problems) => {
                report.problems.extend(problems);
                continue;
            }
        };
        let setup = Setup {
            limits: loaded.manifest.limits,
            config: Arc::new(loaded.manifest.config.clone()),
            message_max_bytes: crate::sink::MESSAGE_MAX_BYTES,
            key_from: None,
            conversation: Conversation::Denied("this is only a trial"),
            receipts: Receipts::Denied("this is only a trial"),
            prefix: loaded.prefix.clone(),
            grants: Arc::clone(&loaded.grants),
            meter: Arc::default(),
        };
        let rules = match try_out(candidate, &loaded, &setup).await {
            Ok(rules) => rules,
            Err(problem) => {
                report.problems.push(problem);
                Vec::new()
            }
        };
        let new = party(id, &loaded, &rules);
        for (other_id, (other, other_rules)) in &good {
            if let Some(what) = obstacle(new, party(other_id, other, other_rules)) {
                let manifest = candidate.manifest.display();
                report.problems.push(format!("{manifest}: {what}"));
            }
            if let Some(what) = conflict(&loaded.manifest, &other.manifest)
                && let Some(theirs) = scan.candidates.get(other_id)
            {
                let (manifest, theirs) = (candidate.manifest.display(), theirs.manifest.display());
                report.problems.push(format!(
                    "{manifest}: does not go together with {theirs}: {what}"
                ));
            }
        }
        let others = good.keys().filter(|other| other.tenant == id.tenant);
        if let Some(beyond) = loaded.quotas.another_handler(others.count()) {
            let manifest = candidate.manifest.display();
            report.problems.push(format!("{manifest}: {beyond}"));
        }
        report.handlers.push(describe(id, &loaded, &rules));
        good.insert(id.clone(), (loaded, rules));
    }
    report.warnings = warnings(&scan, &good);
    if scan.candidates.is_empty() && report.problems.is_empty() {
        report.problems.push(format!(
            "{}: there are no handlers ({EXPECTED})",
            folder.display()
        ));
    }
    report
}

/// Returns what a deployment would warn of, with the manifests in question.
fn warnings(scan: &Scan, good: &BTreeMap<HandlerId, (Loaded, Vec<OwnRule>)>) -> Vec<String> {
    let parties = good.iter();
    let parties: Vec<Party<'_>> = parties
        .map(|(id, (loaded, rules))| party(id, loaded, rules))
        .collect();
    let circles = circles(&parties).into_iter();
    let told = circles.filter_map(|(place, what)| {
        let candidate = scan.candidates.get(parties.get(place)?.id)?;
        Some(format!("{}: {what}", candidate.manifest.display()))
    });
    told.collect()
}

fn party<'a>(id: &'a HandlerId, loaded: &'a Loaded, rules: &'a [OwnRule]) -> Party<'a> {
    Party {
        id,
        manifest: &loaded.manifest,
        rules,
        middleware: &loaded.middleware.id,
        takes_singles: loaded.component.takes().singles || !loaded.manifest.pipelines.is_empty(),
    }
}

fn describe(id: &HandlerId, loaded: &Loaded, rules: &[OwnRule]) -> String {
    let manifest = &loaded.manifest;
    let topics = match &manifest.subscription {
        Subscription::Topics(topics) => topics
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        Subscription::Pattern(pattern) => format!("pattern {}", pattern.source()),
    };
    let (routes, responses) = (routes(rules), responses(manifest));
    let (middleware, pipelines) = (middleware(loaded), pipelines(manifest));
    let (secrets, provenance) = (secrets(loaded), provenance_of(loaded));
    let limits = &manifest.limits;
    format!(
        "{id}  revision {}\n  hooks        {}\n  imports      {}\n  topics       {topics}\n  group        {}\n  \
         ordering     {}\n{middleware}{routes}{pipelines}{responses}{secrets}{provenance}  dead letters {}\n  limits       {} MiB, {} ms a call, {} attempts, {} records under way a partition\n",
        loaded.revision,
        loaded.component.hooks().join(", "),
        loaded.component.imports().join(", "),
        manifest.group,
        ordering(manifest),
        manifest.dead_letter_topic,
        limits.memory_bytes >> 20,
        limits.deadline.as_millis(),
        manifest.retry.base().max_attempts,
        limits.in_flight_records,
    )
}

/// The line that says what sees records first; empty where nothing does.
fn middleware(loaded: &Loaded) -> String {
    let stages = loaded.middleware.stages.iter();
    let names: Vec<&str> = stages.map(|(middleware, _)| &*middleware.name).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("  middleware   {}\n", names.join(", "))
}

/// The lines that say how its components were made, as they say it themselves; empty where none does.
fn provenance_of(loaded: &Loaded) -> String {
    let components = loaded.files.iter();
    let components = components.filter(|(name, _)| is_component(name));
    let lines = components.flat_map(|(name, wasm)| {
        let lines = provenance(wasm).into_iter();
        lines.map(move |line| format!("{name}: {line}"))
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("  made by      {}\n", lines.join("\n               "))
}

/// The lines that say which texts are secrets; empty where none is.
fn secrets(loaded: &Loaded) -> String {
    let secrets = loaded.secrets.iter();
    let lines: Vec<String> = secrets.map(|it| format!("{it} = {HIDDEN}")).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("  secrets      {}\n", lines.join("\n               "))
}

/// The lines that say what is done step by step; empty where nothing is.
fn pipelines(manifest: &Manifest) -> String {
    let lines = manifest.pipelines.iter().map(|pipeline| {
        let steps: Vec<&str> = pipeline.steps.iter().map(|step| &*step.name).collect();
        format!(
            "{} ({}): {}",
            pipeline.name,
            pipeline.rule,
            steps.join(", ")
        )
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("  pipelines    {}\n", lines.join("\n               "))
}

/// The lines that say which records the handler takes; empty where it takes all.
fn routes(rules: &[OwnRule]) -> String {
    if rules.is_empty() || !is_choosy(rules) {
        return String::new();
    }
    let lines: Vec<String> = rules.iter().map(|(rule, _)| rule.to_string()).collect();
    format!("  routes       {}\n", lines.join("\n               "))
}

/// The line that says where responses arrive; empty where the handler asks nobody.
fn responses(manifest: &Manifest) -> String {
    let routes = manifest.responses.iter().map(|route| match &route.event {
        Some(event) => format!("{} (event {event})", route.topic),
        None => route.topic.to_string(),
    });
    let routes: Vec<String> = routes.collect();
    if routes.is_empty() {
        return String::new();
    }
    format!("  responses    {}\n", routes.join(", "))
}

fn ordering(manifest: &Manifest) -> String {
    let scope = match manifest.ordering {
        Ordering::Partition => "records of a partition in order",
        Ordering::Key => "records of a key in order, others in parallel",
        Ordering::None => "all records in parallel",
    };
    match manifest.concurrency {
        Some(instances) => format!("{scope}, {instances} at once"),
        None => scope.to_owned(),
    }
}
