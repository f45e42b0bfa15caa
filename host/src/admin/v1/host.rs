//! What is asked of a host as a whole: what it logs, and to drain.
//!
//! **Invariant:** a host that was asked to drain never reads again; it waits to be stopped.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{ANSWER, Answer, Desk, Need, asked, read, respond};
use crate::audit::Change;
use crate::stop::Draining;

/// What a request for another level may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    directives: String,
}

/// What a request may say that has nothing to say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Nothing {}

pub(super) async fn log_level(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    read(desk, move |view| {
        view.control.access.admit(&headers, Need::Read(None))?;
        let directives = view.control.log.get();
        Ok((StatusCode::OK, json!({ "directives": directives })))
    })
    .await
}

pub(super) async fn set_log_level(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(change_level(&desk, &headers, body).await)
}

async fn change_level(desk: &Desk, headers: &HeaderMap, body: Body) -> Answer {
    let control = &desk.view.control;
    let who = control.access.admit(headers, Need::Host)?;
    let expected = "{\"directives\": \"info,guest=debug\"}";
    let level: Level = asked(headers, body, expected).await?.ok_or_else(|| {
        let why = format!("the body is empty; expected such as {expected}");
        (StatusCode::BAD_REQUEST, why)
    })?;
    let set = control.log.set(&level.directives);
    control.audit.note(&Change {
        detail: Some(&level.directives),
        refused: set.as_ref().err().map(String::as_str),
        ..Change::of_host(&who.name, "loglevel")
    });
    let was = set.map_err(|why| (StatusCode::BAD_REQUEST, format!("directives: {why}")))?;
    Ok((
        StatusCode::OK,
        json!({ "directives": level.directives, "was": was }),
    ))
}

pub(super) async fn draining(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    read(desk, move |view| {
        view.control.access.admit(&headers, Need::Read(None))?;
        Ok((StatusCode::OK, told(&view.control.drain.borrow())))
    })
    .await
}

pub(super) async fn drain(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(begin(&desk, &headers, body).await)
}

/// Asks the host to drain, and waits a while for its end. Who asks again waits for the same one.
async fn begin(desk: &Desk, headers: &HeaderMap, body: Body) -> Answer {
    let control = &desk.view.control;
    let who = control.access.admit(headers, Need::Host)?;
    let _: Option<Nothing> = asked(headers, body, "{}").await?;
    let is_new = control.drain.send_if_modified(|it| {
        let is_new = *it == Draining::No;
        if is_new {
            *it = Draining::Asked;
        }
        is_new
    });
    if is_new {
        control.audit.note(&Change::of_host(&who.name, "drain"));
    }
    let mut drain = control.drain.subscribe();
    let is_over = |it: &Draining| matches!(it, Draining::Done(_));
    let done = timeout(ANSWER, drain.wait_for(is_over)).await;
    let status = match done {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::ACCEPTED,
    };
    let told = told(&control.drain.borrow());
    Ok((status, told))
}

fn told(draining: &Draining) -> Value {
    let (state, left_open) = match draining {
        Draining::No => ("serving", &[][..]),
        Draining::Asked => ("draining", &[][..]),
        Draining::Done(left_open) => ("drained", left_open.as_slice()),
    };
    json!({ "state": state, "left-open": left_open })
}
