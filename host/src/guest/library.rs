//! The code of components: that which is in use, that of the cache, or that which is compiled.
//!
//! Handlers with the same bytes share it, whoever their tenants are: code is never written to, and what an instance has is its own.
//! **Invariant:** what no handler uses any more is forgotten.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wasmtime::component::Component;

use super::component::{Code, Error, Role, chain};
use super::engine::Runtime;
use crate::ids::hex;
use crate::quotas::Beyond;
use crate::release::FileDigest;

/// What code is known by: the bytes, what they are to be, and whether what it runs can be interrupted.
type Name = (FileDigest, Role, bool);

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Library(Arc<Mutex<HashMap<Name, Weak<Code>>>>);

impl Library {
    /// Returns code that is in use.
    pub(super) fn get(&self, name: &Name) -> Option<Arc<Code>> {
        self.0.lock().get(name)?.upgrade()
    }

    /// Lists the digests of what is in use.
    fn in_use(&self) -> BTreeSet<String> {
        let books = self.0.lock();
        let in_use = books.iter().filter(|(_, code)| code.strong_count() > 0);
        in_use
            .map(|((digest, ..), _)| hex(digest.bytes()))
            .collect()
    }

    /// Takes up new code; returns that which is used, where somebody else was quicker.
    pub(super) fn put(&self, name: Name, code: Arc<Code>) -> Arc<Code> {
        let mut books = self.0.lock();
        books.retain(|_, code| code.strong_count() > 0);
        if let Some(other) = books.get(&name).and_then(Weak::upgrade) {
            return other;
        }
        books.insert(name, Arc::downgrade(&code));
        code
    }
}

/// Compiles a component, or takes it from the cache; returns how long it took to compile as well.
pub(super) fn compiled(
    runtime: &Runtime,
    (wasm, digest): (&[u8], &FileDigest),
    too_long: impl Fn(Duration) -> Option<Beyond>,
) -> Result<(Component, Option<Duration>), Error> {
    let engine = &runtime.engine;
    let cache = runtime.cache.as_ref();
    if let Some(component) = cache.and_then(|cache| cache.load(engine, wasm)) {
        return Ok((component, None));
    }
    // It would take as long again.
    if let Some(beyond) = runtime.slow.get(digest).and_then(&too_long) {
        return Err(Error::Slow(beyond));
    }
    let began = Instant::now();
    let component = Component::new(engine, wasm).map_err(|error| Error::Compile(chain(&error)))?;
    let took = began.elapsed();
    if let Some(beyond) = too_long(took) {
        runtime.slow.note(*digest, took);
        return Err(Error::Slow(beyond));
    }
    if let Some(cache) = cache {
        cache.store(engine, wasm, &component, runtime.library.in_use());
    }
    Ok((component, Some(took)))
}

#[cfg(test)]
mod tests {
    use super::super::Handler;
    use super::super::component::EMPTY;
    use super::*;

    #[test]
    fn equal_components_have_one_code_and_it_goes_with_the_last() {
        let runtime = Runtime::new(1, None).unwrap();
        let load = |role| Handler::load(&runtime, EMPTY, role).unwrap();
        let (one, two) = (load(Role::Beside), load(Role::Beside));
        assert!(Arc::ptr_eq(&one.code, &two.code));
        assert_eq!(runtime.library.0.lock().len(), 1);
        drop((one, two));
        let trusted = runtime.of(true).unwrap();
        let other = Handler::load(&trusted, EMPTY, Role::Beside).unwrap();
        assert_eq!(runtime.library.0.lock().len(), 1);
        assert!(!Arc::ptr_eq(&load(Role::Beside).code, &other.code));
    }
}
