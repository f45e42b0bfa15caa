//! The paths of the control API: by which methods they are asked, and by what they are answered.
//!
//! **Invariant:** the router has what stands here, and nothing else.

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post, put};

use super::shapes::{
    CHANGED, DOCUMENT, DRAINING, HANDLER, HANDLERS, LEVEL, LEVEL_SET, NOTHING, PARTITIONS,
    RELOADED, REVISIONS, Shape, TENANT, TENANTS, TO,
};
use super::{Desk, plainly};
use crate::admin::reload::reload;
use crate::deploy::Wish;

/// A path and a method.
pub(super) struct Route {
    /// Its name in the document.
    pub(super) id: &'static str,
    pub(super) method: &'static str,
    /// As the router has it, with names in braces.
    pub(super) path: &'static str,
    /// What is done, in words.
    pub(super) what: &'static str,
    /// Who may ask for it.
    pub(super) who: Role,
    pub(super) body: Body,
    /// What the answer looks like, and the statuses of an answer that is none of why not.
    pub(super) answer: &'static Shape,
    pub(super) good: &'static [u16],
    /// The statuses of the others, besides 401 and 403.
    pub(super) bad: &'static [u16],
    pub(super) serve: fn() -> MethodRouter<Arc<Desk>>,
}

/// Which tokens something takes, where the host has a file of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    /// Any; who may see one tenant sees what is of that one.
    Own,
    /// One to look at everything.
    Read,
    /// One to look at the tenant.
    Tenant,
    /// One to change the tenant's handlers.
    Deploy,
    /// One for everything.
    Admin,
}

impl Role {
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Own => "any role; with deploy:TENANT, that tenant is shown only",
            Self::Read => "the role read or admin",
            Self::Tenant => "the role read, admin, or deploy:TENANT of this tenant",
            Self::Deploy => "the role admin, or deploy:TENANT of this tenant",
            Self::Admin => "the role admin",
        }
    }
}

/// What is sent along.
pub(super) enum Body {
    None,
    /// JSON of this shape, and whether it has to be there.
    Json(&'static Shape, bool),
    Tar,
}

/// Why a change is not made.
const CHANGE: &[u16] = &[400, 404, 409, 413, 415, 503, 507];

/// All of them, in the order of the documentation.
pub(super) static ROUTES: &[Route] = &[
    Route {
        id: "listHandlers",
        method: "GET",
        path: "/v1/handlers",
        what: "What the handlers do",
        who: Role::Own,
        body: Body::None,
        answer: &HANDLERS,
        good: &[200],
        bad: &[],
        serve: || get(super::list),
    },
    Route {
        id: "getHandler",
        method: "GET",
        path: "/v1/handlers/{tenant}/{handler}",
        what: "What a handler does, with its partitions",
        who: Role::Tenant,
        body: Body::None,
        answer: &HANDLER,
        good: &[200],
        bad: &[404],
        serve: || get(super::one),
    },
    Route {
        id: "deployHandler",
        method: "PUT",
        path: "/v1/handlers/{tenant}/{handler}",
        what: "Deploys a handler: a tar archive of its folder",
        who: Role::Deploy,
        body: Body::Tar,
        answer: &CHANGED,
        good: &[200, 202],
        bad: &[400, 404, 408, 409, 413, 415, 422, 503, 507],
        serve: || put(super::upload::deploy),
    },
    Route {
        id: "listPartitions",
        method: "GET",
        path: "/v1/handlers/{tenant}/{handler}/partitions",
        what: "The partitions that this host reads for a handler",
        who: Role::Tenant,
        body: Body::None,
        answer: &PARTITIONS,
        good: &[200],
        bad: &[404],
        serve: || get(super::partitions),
    },
    Route {
        id: "listRevisions",
        method: "GET",
        path: "/v1/handlers/{tenant}/{handler}/revisions",
        what: "What is kept of a handler, the newest first",
        who: Role::Tenant,
        body: Body::None,
        answer: &REVISIONS,
        good: &[200],
        bad: &[404, 409],
        serve: || get(super::revisions),
    },
    Route {
        id: "rollbackHandler",
        method: "POST",
        path: "/v1/handlers/{tenant}/{handler}/rollback",
        what: "Serves a revision that is kept, or the one before",
        who: Role::Deploy,
        body: Body::Json(&TO, false),
        answer: &CHANGED,
        good: &[200, 202],
        bad: CHANGE,
        serve: || post(super::rollback),
    },
    Route {
        id: "promoteHandler",
        method: "POST",
        path: "/v1/handlers/{tenant}/{handler}/promote",
        what: "Lets the revision serve that is tried",
        who: Role::Deploy,
        body: Body::Json(&NOTHING, false),
        answer: &CHANGED,
        good: &[200, 202],
        bad: CHANGE,
        serve: || plainly(Wish::Promote),
    },
    Route {
        id: "pauseHandler",
        method: "POST",
        path: "/v1/handlers/{tenant}/{handler}/pause",
        what: "Hands no more records to a handler",
        who: Role::Deploy,
        body: Body::Json(&NOTHING, false),
        answer: &CHANGED,
        good: &[200, 202],
        bad: CHANGE,
        serve: || plainly(Wish::Pause),
    },
    Route {
        id: "resumeHandler",
        method: "POST",
        path: "/v1/handlers/{tenant}/{handler}/resume",
        what: "Lets a handler go on",
        who: Role::Deploy,
        body: Body::Json(&NOTHING, false),
        answer: &CHANGED,
        good: &[200, 202],
        bad: CHANGE,
        serve: || plainly(Wish::Resume),
    },
    Route {
        id: "listTenants",
        method: "GET",
        path: "/v1/tenants",
        what: "What the tenants use of what they may have",
        who: Role::Own,
        body: Body::None,
        answer: &TENANTS,
        good: &[200],
        bad: &[],
        serve: || get(super::tenants),
    },
    Route {
        id: "getTenant",
        method: "GET",
        path: "/v1/tenants/{tenant}",
        what: "What a tenant uses of what it may have",
        who: Role::Tenant,
        body: Body::None,
        answer: &TENANT,
        good: &[200],
        bad: &[404],
        serve: || get(super::tenant),
    },
    Route {
        id: "getLogLevel",
        method: "GET",
        path: "/v1/loglevel",
        what: "What is logged",
        who: Role::Read,
        body: Body::None,
        answer: &LEVEL,
        good: &[200],
        bad: &[],
        serve: || get(super::host::log_level),
    },
    Route {
        id: "setLogLevel",
        method: "PUT",
        path: "/v1/loglevel",
        what: "Changes what is logged",
        who: Role::Admin,
        body: Body::Json(&LEVEL, true),
        answer: &LEVEL_SET,
        good: &[200],
        bad: &[400, 413, 415],
        serve: || put(super::host::set_log_level),
    },
    Route {
        id: "getDrain",
        method: "GET",
        path: "/v1/drain",
        what: "Whether the host was asked to drain",
        who: Role::Read,
        body: Body::None,
        answer: &DRAINING,
        good: &[200],
        bad: &[],
        serve: || get(super::host::draining),
    },
    Route {
        id: "drain",
        method: "POST",
        path: "/v1/drain",
        what: "Lets the host finish and leave its groups",
        who: Role::Admin,
        body: Body::Json(&NOTHING, false),
        answer: &DRAINING,
        good: &[200, 202],
        bad: &[400, 413, 415],
        serve: || post(super::host::drain),
    },
    Route {
        id: "reload",
        method: "POST",
        path: "/v1/reload",
        what: "Reads the settings of the host again",
        who: Role::Admin,
        body: Body::Json(&NOTHING, false),
        answer: &RELOADED,
        good: &[200, 202],
        bad: &[400, 409, 413, 415, 503],
        serve: || post(reload),
    },
    Route {
        id: "getDocument",
        method: "GET",
        path: "/v1/openapi.json",
        what: "This document",
        who: Role::Own,
        body: Body::None,
        answer: &DOCUMENT,
        good: &[200],
        bad: &[],
        serve: || get(super::document),
    },
];

/// Lists the paths, each once.
pub(super) fn paths() -> Vec<&'static str> {
    let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    paths.dedup();
    paths
}

/// Lists the methods by which a path is asked.
pub(super) fn methods(path: &str) -> Vec<&'static str> {
    let own = ROUTES.iter().filter(|route| fits(route.path, path));
    own.map(|route| route.method).collect()
}

fn fits(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(name), Some(_)) if name.starts_with('{') => {}
            (Some(name), Some(segment)) if name == segment => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_methods_of_its_routes() {
        assert_eq!(methods("/v1/handlers"), ["GET"]);
        assert_eq!(methods("/v1/handlers/a/b/pause"), ["POST"]);
        assert!(methods("/v1/handlers/a/b/c").is_empty());
        assert!(methods("/v1/handlers/").is_empty());
    }
}
