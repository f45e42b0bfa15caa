//! The folders that outlast a host: compiled components, and revisions.
//!
//! Handed the settings, makes them ready.
//! **Invariant:** a folder that cannot be used keeps no handler from serving, but one that is another host's ends the start.

use std::path::Path;
use std::sync::Arc;

use super::Error;
use crate::config::ServeConfig;
use crate::guest::{AotCache, Runtime};
use crate::state_folder::{self, StateFolder};

/// Makes the WebAssembly runtime. A cache folder that cannot be used only costs time.
pub(crate) fn runtime(instances_max: u32, cache: Option<(&Path, u64)>) -> Result<Runtime, Error> {
    let cache = cache.and_then(|(folder, max_mib)| {
        AotCache::open(folder, max_mib << 20)
            .inspect_err(|error| tracing::warn!(%error, "compiled components are not kept"))
            .ok()
    });
    Runtime::new(instances_max, cache).map_err(|error| Error::Runtime(error.to_string()))
}

/// Returns the folder of compiled components and how many MiB it may hold.
pub(super) fn cache(config: &ServeConfig) -> Option<(&Path, u64)> {
    Some((config.cache.as_deref()?, config.cache_max_mib))
}

/// Makes the state folder ready, where there is one. But for another host there, what stands in the way keeps no handler from
/// serving.
pub(super) async fn state_folder(config: &ServeConfig) -> Result<Option<Arc<StateFolder>>, Error> {
    let Some(root) = config.control.state.clone() else {
        return Ok(None);
    };
    let mut state = StateFolder::new(root, config.control.revisions_kept);
    if let Err(error @ state_folder::Error::Taken { .. }) = state.lock() {
        return Err(Error::State(error.to_string()));
    }
    let state = Arc::new(state);
    let swept = Arc::clone(&state);
    let swept = tokio::task::spawn_blocking(move || swept.sweep().and_then(|()| swept.probe()));
    let swept = swept.await;
    if let Ok(Err(error)) = swept {
        tracing::warn!(%error, "revisions may not be kept");
    }
    Ok(Some(state))
}
