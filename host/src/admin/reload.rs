//! `POST /v1/reload`: has the host read its settings again.
//!
//! **Invariant:** what is answered has been done, but for what is still to be deployed.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Desk;
use super::access::Need;
use super::v1::host::Nothing;
use super::v1::{ANSWER, Answer, asked, busy, changes_yet, respond, stopping};
use crate::reload::{Change, Plan};

/// What the host is asked, by whom.
#[derive(Debug)]
pub(crate) struct Reload {
    pub(crate) who: String,
    /// What changed and what did not, or everything that is wrong, a line each.
    pub(crate) answer: oneshot::Sender<Result<Plan, Vec<String>>>,
}

pub(super) async fn reload(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(ask(&desk, &headers, body).await)
}

async fn ask(desk: &Desk, headers: &HeaderMap, body: Body) -> Answer {
    let control = &desk.view.control;
    let who = control.access.admit(headers, Need::Host)?;
    let _: Option<Nothing> = asked(headers, body, "{}").await?;
    changes_yet(&desk.view)?;
    let (answer, answered) = oneshot::channel();
    let reload = Reload {
        who: who.name,
        answer,
    };
    control.reloads.try_send(reload).map_err(|_| busy())?;
    match timeout(ANSWER, answered).await {
        Ok(Ok(Ok(plan))) => Ok((StatusCode::OK, told(&plan))),
        Ok(Ok(Err(problems))) => Err((StatusCode::CONFLICT, problems.join("\n"))),
        Ok(Err(_)) => Err(stopping()),
        Err(_) => {
            let note = "the host is at work on something before it; the log says what became of it";
            Ok((StatusCode::ACCEPTED, json!({ "note": note })))
        }
    }
}

fn told(plan: &Plan) -> Value {
    let list = |changes: &[Change]| changes.iter().map(told_change).collect::<Vec<_>>();
    json!({
        "changed": list(&plan.live),
        "needs-restart": list(&plan.restart),
        "overruled": list(&plan.overruled),
        "lines": plan.lines(),
    })
}

fn told_change(change: &Change) -> Value {
    json!({
        "key": change.key,
        "from": change.from,
        "to": change.to,
        "is-secret": change.is_secret,
    })
}
