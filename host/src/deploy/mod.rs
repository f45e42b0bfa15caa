//! Deploying: from files in the handlers folder to handlers that serve.

mod admission;
mod asking;
mod board;
mod check;
mod circles;
mod conflict;
mod courses;
mod deployer;
mod diff;
mod facts;
mod find;
mod known;
mod load;
mod orders;
mod retention;
mod revisions;
mod rollback;
mod scan;
mod secrets;
mod stages;
mod tenant;
mod topics;
mod watch;

pub(crate) use board::Board;
pub(crate) use check::check;
pub(crate) use deployer::Deployer;
pub(crate) use diff::diff;
pub(crate) use find::{FindError, find_manifest, find_manifests, find_sharer};
pub(crate) use orders::{Done, Order, Refusal, Wish};
pub(crate) use scan::EXPECTED;
pub(crate) use secrets::SecretStore;
pub(crate) use topics::TopicKeeper;
pub(crate) use watch::FolderWatch;
