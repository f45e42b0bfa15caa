//! From the middleware that a tenant and a handler name to what can be called.
//!
//! **Invariant:** the tenant's comes first, each in the order of its file.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::scan::{Candidate, MANIFEST};
use super::tenant::OfTenant;
use crate::catalog::Chain;
use crate::guest::{Conversation, Handler as Component, Role, Runtime, Setup, Stage};
use crate::ids::{HandlerId, Revision};
use crate::manifest::Middleware;
use crate::stats::Registry;

/// Why middleware may not ask.
const DENIED: Conversation =
    Conversation::Denied("middleware sees records before it is known who handles them");

/// Middleware whose files are read.
#[derive(Debug)]
pub(crate) struct Loading {
    /// What files and settings are recognized by.
    pub(super) id: Revision,
    pub(super) stages: Vec<(Middleware, Component)>,
}

/// Reads and compiles the middleware of a handler's tenant, and `of_handler`. The error holds everything that is wrong, a
/// line each with the file's name.
pub(super) fn load(
    candidate: &Candidate,
    tenant: &OfTenant<'_>,
    of_handler: &[Middleware],
    runtime: &Runtime,
) -> Result<Loading, Vec<String>> {
    if !of_handler.is_empty() && !candidate.has_folder() {
        return Err(vec![format!(
            "{}: middleware: a handler with middleware needs a folder of its own (<handler>/{MANIFEST}, with the \
             components beside it)",
            candidate.manifest.display()
        )]);
    }
    let of_tenant = tenant.middleware().iter();
    let of_tenant = of_tenant.zip(candidate.tenant.iter().cycle());
    let own = of_handler.iter().map(|it| (it, &candidate.manifest));
    let (mut digest, mut stages, mut problems) = (Sha256::new(), Vec::new(), Vec::new());
    for (middleware, file) in of_tenant.chain(own) {
        match component(middleware, file, tenant, runtime, &mut digest) {
            Ok(component) => stages.push((middleware.clone(), component)),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let id = Revision::from_digest(&digest.finalize());
    Ok(Loading { id, stages })
}

fn component(
    middleware: &Middleware,
    file: &Path,
    tenant: &OfTenant<'_>,
    runtime: &Runtime,
    digest: &mut Sha256,
) -> Result<Component, String> {
    let path = file.with_file_name(&middleware.component);
    if !path.exists() {
        return Err(format!(
            "{}: middleware: component = \"{}\": there is no such file beside it",
            file.display(),
            middleware.component
        ));
    }
    let (component, wasm) = tenant.component(&path, Role::Middleware, runtime)?;
    // Lengths, so that no two lists look alike.
    let texts = [&middleware.name].into_iter();
    let texts = texts.chain(
        middleware
            .config
            .iter()
            .flat_map(|(key, value)| [key, value]),
    );
    for bytes in texts.map(String::as_bytes).chain([wasm.as_slice()]) {
        digest.update(bytes.len().to_le_bytes());
        digest.update(bytes);
    }
    Ok(component)
}

/// Returns what instances of middleware are made with; `like` is that of the handler behind it.
pub(super) fn setup(middleware: &Middleware, like: &Setup) -> Setup {
    Setup {
        config: Arc::new(middleware.config.clone()),
        conversation: DENIED,
        ..like.clone()
    }
}

impl Loading {
    /// Makes what lanes call; `like` is what instances of the handler are made with.
    pub(super) fn into_chain(
        self,
        handler: &HandlerId,
        like: &Setup,
        registry: &Registry,
    ) -> Chain {
        let stages = self.stages.into_iter().map(|(middleware, component)| {
            Arc::new(Stage {
                component,
                setup: setup(&middleware, like),
                stats: registry.stage(handler, &middleware.name),
                name: middleware.name,
            })
        });
        Chain {
            id: self.id,
            stages: stages.collect(),
        }
    }
}
