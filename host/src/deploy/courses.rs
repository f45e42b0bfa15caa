//! From the pipelines of a manifest to what can be run.
//!
//! **Invariant:** each step that names a component has it, and the component has agreed to the arguments of the step.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::scan::{Candidate, MANIFEST};
use super::tenant::OfTenant;
use super::trial::try_start;
use crate::catalog::{Course, Station};
use crate::guest::{Handler as Component, Role, Runtime, Setup, Stage};
use crate::ids::HandlerId;
use crate::pipeline::{ComponentWork, Pipeline, Step, Work};
use crate::stats::Registry;

/// The components of all steps, in the order of the manifest.
#[derive(Debug, Default)]
pub(crate) struct StepComponents(Vec<Component>);

/// Reads and compiles the components of all steps; adds them to what the revision is made of. The error holds everything
/// that is wrong, a line each with the file's name.
pub(super) fn load(
    candidate: &Candidate,
    pipelines: &[Pipeline],
    tenant: &OfTenant<'_>,
    runtime: &Runtime,
    digest: &mut Sha256,
) -> Result<StepComponents, Vec<String>> {
    let (mut components, mut problems) = (Vec::new(), Vec::new());
    for (place, pipeline) in pipelines.iter().enumerate() {
        for (step, _, work) in pipeline.components() {
            let key = format!("pipeline[{place}].step[{step}].component");
            match component(candidate, &key, work, (tenant, runtime), digest) {
                Ok(component) => components.push(component),
                Err(problem) => problems.push(problem),
            }
        }
    }
    if problems.is_empty() {
        Ok(StepComponents(components))
    } else {
        Err(problems)
    }
}

fn component(
    candidate: &Candidate,
    key: &str,
    work: &ComponentWork,
    (tenant, runtime): (&OfTenant<'_>, &Runtime),
    digest: &mut Sha256,
) -> Result<Component, String> {
    let (manifest, file) = (candidate.manifest.display(), &work.file);
    if !candidate.has_folder() {
        return Err(format!(
            "{manifest}: {key}: a handler whose steps have components needs a folder of its own (<handler>/{MANIFEST}, with \
             the components beside it)"
        ));
    }
    let path = candidate.manifest.with_file_name(file);
    if !path.exists() {
        return Err(format!(
            "{manifest}: {key} = \"{file}\": there is no such file beside the manifest (put it there, or name another one)"
        ));
    }
    let (component, wasm) = tenant.component(&path, Role::Step, runtime)?;
    digest.update(wasm.len().to_le_bytes());
    digest.update(&wasm);
    Ok(component)
}

/// Lets an instance of each step's component begin, and asks whether it takes the arguments.
pub(super) async fn try_out(
    candidate: &Candidate,
    pipelines: &[Pipeline],
    components: &StepComponents,
    setup: &Setup,
) -> Result<(), String> {
    let mut components = components.0.iter();
    for (place, pipeline) in pipelines.iter().enumerate() {
        for (at, step, work) in pipeline.components() {
            let Some(component) = components.next() else {
                return Ok(());
            };
            let which = format!("pipeline {}, step {}: ", pipeline.name, step.name);
            let setup = setup_of(work, setup);
            let mut instance = try_start(candidate, component, &setup, &which).await?;
            let checked = instance.check_arguments(&work.arguments).await;
            checked.map_err(|why| {
                format!(
                    "{}: pipeline[{place}].step[{at}].args: {} does not take them: {why} (write the args that the component \
                     expects)",
                    candidate.manifest.display(),
                    work.file
                )
            })?;
        }
    }
    Ok(())
}

/// Returns what instances of a step are made with; `like` is that of the handler.
fn setup_of(work: &ComponentWork, like: &Setup) -> Setup {
    Setup {
        config: Arc::new(work.config.clone()),
        ..like.clone()
    }
}

impl StepComponents {
    /// Makes what lanes run; `like` is what instances of the handler are made with.
    pub(super) fn into_courses(
        self,
        handler: &HandlerId,
        pipelines: &[Pipeline],
        like: &Setup,
        registry: &Registry,
    ) -> Vec<Course> {
        let mut components = self.0.into_iter();
        let mut station = |pipeline: &Pipeline, step: &Step| {
            let stage = match &step.work {
                Some(Work::Component(work)) => components.next().map(|component| {
                    Arc::new(Stage {
                        name: step.name.to_string(),
                        component,
                        setup: setup_of(work, like),
                        // Those are of middleware.
                        stats: Arc::default(),
                    })
                }),
                _ => None,
            };
            Station {
                step: step.clone(),
                stage,
                duration: registry.step(handler, &pipeline.name, &step.name),
            }
        };
        let pipelines = pipelines.iter();
        let courses = pipelines.map(|pipeline| Course {
            name: Arc::clone(&pipeline.name),
            stations: pipeline
                .steps
                .iter()
                .map(|step| station(pipeline, step))
                .collect(),
            permits: pipeline
                .max_concurrent
                .map(|records| Arc::new(Semaphore::new(records))),
        });
        courses.collect()
    }
}
