//! Reads what is done with records step by step.
//!
//! **Invariant:** in what leaves this file no two pipelines have the same name, nor two steps of one; each has a step.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::components::{self, SUFFIX};
use super::{closest, count, routes};
use crate::ids::PipelineName;
use crate::manifest::keys::pipeline as keys;
use crate::manifest::{Key, Reader, Text, responses};
use crate::pipeline::{
    Awaited, BUILT_INS, BuiltIn, ComponentWork, OnStepError, Pipe, Pipeline, Step, Work,
};
use crate::policy::{Delivery, ResponseRoute, Subscription};

/// The remedy for a topic that is missing.
const NAME_IT: &str = "name the topic";

/// What a manifest says beside its pipelines that the requests of steps have to fit.
struct Around<'a> {
    /// Whether no transaction forbids requests.
    may_ask: bool,
    /// Where answers arrive; those of the steps are added.
    responses: &'a mut Vec<ResponseRoute>,
}

/// Reads the tables `[[pipeline]]`; where the answers to its requests arrive is added to `responses`.
pub(super) fn pipelines(
    reader: &mut Reader<'_>,
    subscription: Option<&Subscription>,
    (delivery, side_effects): (Delivery, bool),
    responses: &mut Vec<ResponseRoute>,
) -> Vec<Pipeline> {
    let mut around = Around {
        may_ask: delivery == Delivery::AtLeastOnce || side_effects,
        responses,
    };
    let offset = reader.offset(&keys::PIPELINE);
    let mut pipelines: Vec<Pipeline> = Vec::new();
    reader.each_row(&keys::PIPELINE, |row, start| {
        let name = name(row, start);
        let rule = routes::rule(row, start, subscription);
        let max_concurrent = row
            .offset(&keys::MAX_CONCURRENT)
            .map(|_| count(row, &keys::MAX_CONCURRENT));
        let steps = steps(row, start, &mut around);
        let Some(name) = name else {
            return;
        };
        if pipelines.iter().any(|other| other.name == name) {
            row.problem(
                &keys::NAME,
                Some(start),
                &format!("there are two pipelines of the name {name}"),
            );
        }
        pipelines.push(Pipeline {
            name,
            rule,
            max_concurrent,
            steps,
        });
    });
    if !pipelines.is_empty() && reader.has_table("bulk") {
        let what = "a pipeline is handed records one by one, so [[pipeline]] and [bulk] exclude each other (leave one of \
                    them out)";
        reader.problem(&keys::PIPELINE, offset, what);
    }
    pipelines
}

fn name(row: &mut Reader<'_>, start: usize) -> Option<Arc<str>> {
    if row.offset(&keys::NAME).is_none() {
        let what = "missing (metrics and messages name the pipeline by it)";
        row.problem(&keys::NAME, Some(start), what);
    }
    let name: PipelineName = row.parsed(&keys::NAME)?;
    Some(Arc::from(name.as_str()))
}

fn steps(row: &mut Reader<'_>, start: usize, around: &mut Around<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_empty = true;
    row.each_row(&keys::STEP, |row, start| {
        is_empty = false;
        let Some(step) = step(row, start, around) else {
            return;
        };
        if steps.iter().any(|other| other.name == step.name) {
            let what = format!(
                "there are two steps of the name {} (give one of them another name = \"…\")",
                step.name
            );
            row.problem(&keys::NAME_OF_STEP, Some(start), &what);
        }
        steps.push(step);
    });
    if is_empty {
        let what = "missing (a pipeline has one step at least: [[pipeline.step]])";
        row.problem(&keys::STEP, Some(start), what);
    }
    steps
}

fn step(row: &mut Reader<'_>, start: usize, around: &mut Around<'_>) -> Option<Step> {
    let work = work(row, start);
    let pipe = pipe(row, start, around);
    let given: Option<PipelineName> = row.parsed(&keys::NAME_OF_STEP);
    let is_repeatable = row.flag(&keys::REPEATABLE).unwrap_or(true);
    let on_error = match row.choice(&keys::ON_ERROR) {
        Some("go-on") => OnStepError::GoOn,
        Some("skip") => OnStepError::Skip,
        Some("dead-letter") => OnStepError::DeadLetter,
        Some("halt") => OnStepError::Halt,
        _ => OnStepError::Retry,
    };
    let says_work = [&keys::COMPONENT, &keys::USE];
    let says_nothing =
        says_work.iter().all(|key| row.offset(key).is_none()) && !row.has_table("pipe");
    if says_nothing {
        let what = "there is nothing to do (say it by component, use or pipe)";
        row.problem(&keys::COMPONENT, Some(start), what);
    }
    let name = given.map_or_else(|| unnamed(row), |name| Arc::from(name.as_str()));
    (work.is_some() || pipe.is_some()).then_some(Step {
        name,
        work,
        pipe,
        is_repeatable,
        on_error,
    })
}

/// Returns the name of a step that has none of its own.
fn unnamed(row: &mut Reader<'_>) -> Arc<str> {
    let text = |row: &mut Reader<'_>, key: &'static Key| {
        row.offset(key)?;
        row.text(key).map(|text| text.text)
    };
    let file = text(row, &keys::COMPONENT);
    let stem = file.and_then(|file| file.strip_suffix(SUFFIX).map(str::to_owned));
    let name = stem.or_else(|| text(row, &keys::USE));
    name.map_or_else(|| Arc::from("pipe"), Arc::from)
}

/// Reads what changes the message; none where nothing does or a problem was noted.
fn work(row: &mut Reader<'_>, start: usize) -> Option<Work> {
    if row.offset(&keys::ARGS).is_some() && !row.has_table("args") {
        // Which was noted.
        return None;
    }
    let arguments = row.arguments(&keys::ARGS);
    let component = row.offset(&keys::COMPONENT);
    if let (Some(_), Some(offset)) = (component, row.offset(&keys::USE)) {
        let what = "the step has a component already (make two steps of it)";
        row.problem(&keys::USE, Some(offset), what);
        return None;
    }
    let (config, secrets) = row.texts(&keys::CONFIG);
    if component.is_none() && row.offset(&keys::CONFIG).is_some() {
        let offset = row.offset(&keys::CONFIG);
        let what =
            "is for a component, and the step has none (leave it out, or name the component)";
        row.problem(&keys::CONFIG, offset, what);
    }
    if component.is_some() {
        let file = components::component(row, &keys::COMPONENT)?;
        return Some(Work::Component(ComponentWork {
            file,
            arguments: Value::Object(arguments).to_string(),
            config,
            secrets,
        }));
    }
    if row.offset(&keys::USE).is_none() {
        if let Some(offset) = row.offset(&keys::ARGS) {
            let what = "there is nothing that takes arguments (name a component, or a built-in step by use)";
            row.problem(&keys::ARGS, Some(offset), what);
        }
        return None;
    }
    let Text { text, .. } = row.text(&keys::USE)?;
    match BuiltIn::new(&text, &arguments) {
        Some(Ok(step)) => Some(Work::BuiltIn(step)),
        Some(Err(error)) => {
            let offset = row.offset(&keys::ARGS).unwrap_or(start);
            row.problem(&keys::ARGS, Some(offset), &error.to_string());
            None
        }
        None => {
            let near = closest(&text, BUILT_INS);
            let hint = near.map(|near| format!(" (did you mean \"{near}\"?)"));
            let hint = hint.unwrap_or_default();
            row.mismatch(&keys::USE, &hint);
            None
        }
    }
}

/// Reads where the message is sent on to; none where it is not, or a problem was noted.
fn pipe(row: &mut Reader<'_>, start: usize, around: &mut Around<'_>) -> Option<Pipe> {
    if !row.has_table("pipe") {
        return None;
    }
    let topic = responses::topic(row, &keys::PIPE_TOPIC, start, NAME_IT);
    let event = responses::event(row, &keys::PIPE_EVENT);
    let response = row
        .has_table("pipe.response")
        .then(|| awaited(row, start, around));
    let pipe = Pipe {
        topic: topic?,
        event,
        // Where a problem was noted there is no manifest.
        response: response.flatten(),
    };
    if let Some(awaited) = &pipe.response
        && awaited.topic == pipe.topic
    {
        let what = format!(
            "{} is where the request goes, which would be taken for its own answer (let it come by another topic)",
            pipe.topic
        );
        let offset = row.offset(&keys::RESPONSE_TOPIC);
        row.problem(&keys::RESPONSE_TOPIC, offset, &what);
    }
    Some(pipe)
}

fn awaited(row: &mut Reader<'_>, start: usize, around: &mut Around<'_>) -> Option<Awaited> {
    let topic = responses::topic(row, &keys::RESPONSE_TOPIC, start, NAME_IT);
    let event = responses::event(row, &keys::RESPONSE_EVENT);
    let timeout = Duration::from_millis(row.whole(&keys::RESPONSE_TIMEOUT_MS));
    if !around.may_ask {
        let what = "a request is written at once and no transaction takes it back, which delivery = \"exactly-once\" is \
                    meant to exclude (write side-effects = \"allowed\", or leave pipe.response out)";
        let offset = row.offset(&keys::RESPONSE_TOPIC);
        row.problem(&keys::RESPONSE_TOPIC, offset, what);
    }
    let topic = topic?;
    let route = ResponseRoute {
        topic: topic.clone(),
        event,
    };
    if !around.responses.contains(&route) {
        around.responses.push(route);
    }
    Some(Awaited { topic, timeout })
}
