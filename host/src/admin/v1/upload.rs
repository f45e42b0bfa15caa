//! A handler that comes by the control API.
//!
//! Handed a tar archive of its folder; asks the deployer, which tries it out and puts it into the handlers folder.
//! **Invariant:** nothing of a body is read before it is known that whoever sends it may; one is in memory at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::time::timeout;

use super::{Answer, Denied, Desk, Name, Need, handler_id, kind_of, order, respond};
use crate::admin::door::{LONG_VISIT, Stay};
use crate::deploy::{Upload, Wish};
use crate::state_folder::Files;
use crate::tar;

/// Bytes of an archive.
const UPLOAD_MAX: usize = 64 << 20;
/// How long an archive may take to come: others wait for their turn.
const READING: Duration = Duration::from_secs(30);
const TAR: &str = "application/x-tar";
const MANIFEST: &str = "handler.toml";
const TENANT: &str = "tenant.toml";

pub(super) async fn deploy(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(stay): ConnectInfo<Stay>,
    Path(name): Name,
    headers: HeaderMap,
    body: Body,
) -> Response {
    respond(take(&desk, &stay, &name, &headers, body).await)
}

async fn take(
    desk: &Desk,
    stay: &Stay,
    name: &(String, String),
    headers: &HeaderMap,
    body: Body,
) -> Answer {
    let id = handler_id(name)?;
    let who = desk
        .view
        .control
        .access
        .admit(headers, Need::Change(&id.tenant))?;
    if kind_of(headers) != Some(TAR) {
        let why = format!(
            "a handler comes as a tar archive of its folder (Content-Type: {TAR}), such as: tar -cf - -C DIR . | curl -T - -H \
             'Content-Type: {TAR}' …"
        );
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
    if length.is_some_and(|it| it.parse().is_ok_and(|it: u64| it > UPLOAD_MAX as u64)) {
        return Err(too_large());
    }
    let Ok(turn) = Arc::clone(&desk.uploads).try_acquire_owned() else {
        let why = "another handler is being sent in; ask again in a moment";
        return Err((StatusCode::SERVICE_UNAVAILABLE, why.to_owned()));
    };
    // It takes its time, and comes from somebody who may.
    stay.until(LONG_VISIT);
    let read = timeout(READING, to_bytes(body, UPLOAD_MAX)).await;
    let bytes = read.map_err(|_| too_slow())?.map_err(|_| too_large())?;
    let upload = Upload {
        files: Arc::new(files(&bytes)?),
        is_operators: who.is_operator,
    };
    drop(bytes);
    order(desk, &id, who.name, Wish::Deploy(upload), Some(turn)).await
}

/// Unpacks an archive, and refuses what is not for a tenant to send in.
fn files(bytes: &[u8]) -> Result<Files, Denied> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let files = tar::read(bytes).map_err(|error| bad(format!("the archive: {error}")))?;
    if files.contains_key(TENANT) {
        let why = format!(
            "there is a {TENANT} in the archive; it says what a tenant may have, and whoever runs the host puts it into the \
             handlers folder"
        );
        return Err(bad(why));
    }
    if !files.contains_key(MANIFEST) {
        let there: Vec<&str> = files.keys().map(String::as_str).collect();
        let why = format!(
            "there is no {MANIFEST} in the archive (it has {})",
            there.join(", ")
        );
        return Err(bad(why));
    }
    let files = files.into_iter();
    Ok(files
        .map(|(name, content)| (name, content.to_vec()))
        .collect())
}

fn too_slow() -> Denied {
    let why = format!(
        "the archive did not come within {} s; others wait for their turn (larger handlers are put into the handlers folder)",
        READING.as_secs()
    );
    (StatusCode::REQUEST_TIMEOUT, why)
}

fn too_large() -> Denied {
    let why = format!(
        "the archive did not come whole, or has more than {} MiB; larger handlers are put into the handlers folder",
        UPLOAD_MAX >> 20
    );
    (StatusCode::PAYLOAD_TOO_LARGE, why)
}
