//! The control API: what handlers are like, what is kept of them, and how they are changed.
//!
//! Reading is answered from the running parts; what changes something is asked of the deployer.
//! **Invariant:** each answer is JSON, and one that says no has an `error` with the remedy.

pub(super) mod host;
mod openapi;
mod shapes;
mod table;
mod upload;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::access::{Access, Denied, Need};
use super::reload::Reload;
use super::{Desk, JSON, View};
use crate::audit::Audit;
use crate::deploy::{Done, Order, Refusal, Wish};
use crate::ids::{HandlerId, TenantId};
use crate::state_folder::StateFolder;
use crate::stop::Draining;
use crate::telemetry::LogLevel;
use crate::tls::Tls;

/// Bytes of a request's body.
const BODY_MAX: usize = 64 << 10;
/// How long the deployer may take until it is only said that it has been asked; a connection may last a little longer.
pub(super) const ANSWER: Duration = Duration::from_secs(8);
/// The same where it has to try something out that was sent in.
const LONG_ANSWER: Duration = Duration::from_secs(40);

/// What is needed to change something.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) orders: mpsc::Sender<Order>,
    /// By which the host is asked to read its settings again.
    pub(crate) reloads: mpsc::Sender<Reload>,
    /// What connections begin with, where they are encrypted.
    pub(crate) tls: Option<Tls>,
    /// Where revisions are kept, if they are.
    pub(crate) state: Option<Arc<StateFolder>>,
    pub(crate) access: Access,
    pub(crate) audit: Arc<Audit>,
    pub(crate) log: LogLevel,
    /// Whether the host was asked to drain, and how far it is.
    pub(crate) drain: watch::Sender<Draining>,
}

/// What a request may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) to: Option<String>,
}

/// An answer: what is told, or why not.
pub(super) type Answer = Result<(StatusCode, Value), Denied>;

/// The tenant and the handler of a path.
type Name = Path<(String, String)>;

pub(super) fn routes() -> Router<Arc<Desk>> {
    let mut router = Router::new();
    for route in table::ROUTES {
        router = router.route(route.path, (route.serve)());
    }
    router
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            let asked = table::methods(uri.path()).join(" or ");
            let why = format!("this path is asked by {asked}, not by {method}");
            respond(Err((StatusCode::METHOD_NOT_ALLOWED, why)))
        })
        .route("/v1", any(nothing))
        .route("/v1/", any(nothing))
        .route("/v1/{*rest}", any(nothing))
        .layer(map_response(in_form))
}

/// What axum refuses by itself, such as a name in a path that is no text, is told as everything else is.
async fn in_form(answer: Response) -> Response {
    if answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|it| it == JSON)
    {
        return answer;
    }
    let status = match answer.status() {
        // Nothing has such a name.
        StatusCode::BAD_REQUEST => StatusCode::NOT_FOUND,
        status => status,
    };
    let why = to_bytes(answer.into_body(), BODY_MAX).await;
    let why = why.unwrap_or_default();
    let why = String::from_utf8_lossy(&why);
    let why = format!("the request cannot be read: {why} (names in a path are UTF-8)");
    respond(Err((status, why)))
}

async fn nothing() -> Response {
    let why = format!(
        "nothing is here; the paths are {}",
        table::paths().join(", ")
    );
    respond(Err((StatusCode::NOT_FOUND, why)))
}

async fn list(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    read(desk, move |view| {
        let seen = Seen::by(&headers, view)?;
        let handlers = view.handlers(|id| seen.has(&id.tenant));
        Ok((StatusCode::OK, json!({ "handlers": handlers })))
    })
    .await
}

async fn document(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    read(desk, move |view| {
        Seen::by(&headers, view)?;
        Ok((StatusCode::OK, openapi::document()))
    })
    .await
}

async fn tenants(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    read(desk, move |view| {
        let seen = Seen::by(&headers, view)?;
        let tenants = view.tenants(|tenant| seen.has(tenant));
        Ok((StatusCode::OK, json!({ "tenants": tenants })))
    })
    .await
}

async fn tenant(
    State(desk): State<Arc<Desk>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    read(desk, move |view| {
        let tenant: TenantId = name.parse().map_err(|error| {
            let why = format!("{name} is no name of a tenant: {error}");
            (StatusCode::NOT_FOUND, why)
        })?;
        view.control
            .access
            .admit(&headers, Need::Read(Some(&tenant)))?;
        let told = view.tenants(|it| *it == tenant).pop();
        let none = || format!("this host runs no handler of tenant {tenant}");
        Ok((
            StatusCode::OK,
            told.ok_or_else(|| (StatusCode::NOT_FOUND, none()))?,
        ))
    })
    .await
}

/// What of all tenants somebody may see: who may not see all sees what is of the own tenant.
struct Seen<'a> {
    headers: &'a HeaderMap,
    view: &'a View,
    has_all: bool,
}

impl<'a> Seen<'a> {
    fn by(headers: &'a HeaderMap, view: &'a View) -> Result<Self, Denied> {
        let access = &view.control.access;
        access.enter()?;
        let has_all = match access.admit(headers, Need::Read(None)) {
            Ok(_) => true,
            Err((StatusCode::FORBIDDEN, _)) => false,
            Err(denied) => return Err(denied),
        };
        Ok(Self {
            headers,
            view,
            has_all,
        })
    }

    fn has(&self, tenant: &TenantId) -> bool {
        let need = Need::Read(Some(tenant));
        self.has_all || self.view.control.access.admit(self.headers, need).is_ok()
    }
}

async fn one(State(desk): State<Arc<Desk>>, Path(name): Name, headers: HeaderMap) -> Response {
    read(desk, move |view| {
        let id = handler_id(&name)?;
        let need = Need::Read(Some(&id.tenant));
        view.control.access.admit(&headers, need)?;
        let told = view.handler(&id).ok_or_else(|| unknown(view, &id))?;
        Ok((StatusCode::OK, told))
    })
    .await
}

async fn partitions(
    State(desk): State<Arc<Desk>>,
    Path(name): Name,
    headers: HeaderMap,
) -> Response {
    read(desk, move |view| {
        let id = handler_id(&name)?;
        let need = Need::Read(Some(&id.tenant));
        view.control.access.admit(&headers, need)?;
        let mut told = view.handler(&id).ok_or_else(|| unknown(view, &id))?;
        let partitions = told.get_mut("partitions").map(Value::take);
        let value = json!({
            "tenant": id.tenant.as_str(), "handler": id.name.as_str(), "partitions": partitions,
        });
        Ok((StatusCode::OK, value))
    })
    .await
}

async fn revisions(
    State(desk): State<Arc<Desk>>,
    Path(name): Name,
    headers: HeaderMap,
) -> Response {
    read(desk, move |view| {
        let id = handler_id(&name)?;
        let need = Need::Read(Some(&id.tenant));
        view.control.access.admit(&headers, need)?;
        if view.handlers(|it| *it == id).is_empty() {
            return Err(unknown(view, &id));
        }
        let told = view.revisions(&id);
        Ok((
            StatusCode::OK,
            told.map_err(|why| (StatusCode::CONFLICT, why))?,
        ))
    })
    .await
}

async fn rollback(
    State(desk): State<Arc<Desk>>,
    Path(name): Name,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let wish = |asked: Asked| Ok(Wish::RollBack { to: asked.to });
    respond(change(&desk, &name, &headers, body, wish).await)
}

/// Asks for a change that needs no more words.
fn plainly(wish: Wish) -> MethodRouter<Arc<Desk>> {
    let serve = move |State(desk): State<Arc<Desk>>,
                      Path(name): Name,
                      headers: HeaderMap,
                      body: Body| async move {
        let wish = |asked: Asked| plain(&asked, wish);
        respond(change(&desk, &name, &headers, body, wish).await)
    };
    post(serve)
}

/// A wish that needs no more words.
fn plain(asked: &Asked, wish: Wish) -> Result<Wish, Denied> {
    if asked.to.is_none() {
        return Ok(wish);
    }
    let why = format!("\"to\" means nothing to {wish}; leave it out");
    Err((StatusCode::BAD_REQUEST, why))
}

/// Asks the deployer for a change, and waits for what became of it.
async fn change(
    desk: &Desk,
    name: &(String, String),
    headers: &HeaderMap,
    body: Body,
    wish: impl FnOnce(Asked) -> Result<Wish, Denied>,
) -> Answer {
    let id = handler_id(name)?;
    let control = &desk.view.control;
    let who = control.access.admit(headers, Need::Change(&id.tenant))?;
    let asked = asked(headers, body, "{\"to\": \"0a1b2c3d4e5f\"}").await?;
    let asked = asked.unwrap_or_default();
    order(desk, &id, who.name, wish(asked)?, None).await
}

/// Hands a wish to the deployer, and waits for what became of it.
async fn order(
    desk: &Desk,
    id: &HandlerId,
    who: String,
    wish: Wish,
    turn: Option<OwnedSemaphorePermit>,
) -> Answer {
    changes_yet(&desk.view)?;
    let control = &desk.view.control;
    let patience = match wish {
        Wish::Deploy(_) => LONG_ANSWER,
        _ => ANSWER,
    };
    let (answer, answered) = oneshot::channel();
    let order = Order {
        wish,
        id: id.clone(),
        who,
        answer,
        turn,
    };
    control.orders.try_send(order).map_err(|_| busy())?;
    match timeout(patience, answered).await {
        Ok(Ok(done)) => told(id, done),
        Ok(Err(_)) => Err(stopping()),
        Err(_) => {
            let note = "the host is at work on it or on something before it; ask for the status of the handler";
            let value =
                json!({ "tenant": id.tenant.as_str(), "handler": id.name.as_str(), "note": note });
            Ok((StatusCode::ACCEPTED, value))
        }
    }
}

/// Says no where the host has begun to leave.
pub(super) fn changes_yet(view: &View) -> Result<(), Denied> {
    if !view.draining.load(Ordering::Acquire) {
        return Ok(());
    }
    let why =
        "the host is draining, and changes nothing any more; ask the one that takes its place";
    Err((StatusCode::SERVICE_UNAVAILABLE, why.to_owned()))
}

/// Why what is asked is not even written down.
pub(super) fn busy() -> Denied {
    let why = "the host has more to do than it can remember, or is stopping; ask again in a moment";
    (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
}

/// Why what was asked is not done.
pub(super) fn stopping() -> Denied {
    let why = "the host is stopping; ask again when it has started";
    (StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
}

fn told(id: &HandlerId, done: Result<Done, Refusal>) -> Answer {
    let Done {
        revision,
        was,
        note,
    } = done.map_err(|refusal| {
        let status = match &refusal {
            Refusal::Unknown(_) => StatusCode::NOT_FOUND,
            Refusal::Conflict(_) => StatusCode::CONFLICT,
            Refusal::NotKept(_) => StatusCode::INSUFFICIENT_STORAGE,
            Refusal::Bad(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        };
        (status, refusal.why().to_owned())
    })?;
    let value = json!({
        "tenant": id.tenant.as_str(),
        "handler": id.name.as_str(),
        "revision": revision,
        "was": was,
        "note": note,
    });
    Ok((StatusCode::OK, value))
}

/// Returns what a body is said to be.
fn kind_of(headers: &HeaderMap) -> Option<&str> {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    kind.and_then(|it| it.split(';').next()).map(str::trim)
}

/// Reads the body: a JSON object, or nothing. That it has to be called JSON keeps out the forms of browsers.
pub(super) async fn asked<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
    expected: &str,
) -> Result<Option<T>, Denied> {
    if kind_of(headers) != Some(JSON) {
        let why = "what changes something is JSON (Content-Type: application/json)";
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why.to_owned()));
    }
    let bytes = to_bytes(body, BODY_MAX).await.map_err(|_| {
        let why = format!("the body did not come whole, or has more than {BODY_MAX} bytes");
        (StatusCode::PAYLOAD_TOO_LARGE, why)
    })?;
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let why = format!("the body is not as expected, such as {expected}: {error}");
        (StatusCode::BAD_REQUEST, why)
    })
}

fn handler_id((tenant, handler): &(String, String)) -> Result<HandlerId, Denied> {
    let id = format!("{tenant}/{handler}").parse();
    id.map_err(|error| {
        let why = format!("{tenant}/{handler} is no name of a handler: {error}");
        (StatusCode::NOT_FOUND, why)
    })
}

fn unknown(view: &View, id: &HandlerId) -> Denied {
    let catalog = Arc::clone(&view.catalog.borrow());
    let known = catalog.handlers().filter(|it| it.id.tenant == id.tenant);
    let known: Vec<String> = known.map(|it| it.id.to_string()).collect();
    let known = if known.is_empty() {
        "none of this tenant".to_owned()
    } else {
        known.join(", ")
    };
    let why = format!("this host runs no handler {id} (it runs {known})");
    (StatusCode::NOT_FOUND, why)
}

/// Makes an answer on a thread that may block.
async fn read(desk: Arc<Desk>, look: impl FnOnce(&View) -> Answer + Send + 'static) -> Response {
    let seen = tokio::task::spawn_blocking(move || look(&desk.view)).await;
    respond(seen.unwrap_or_else(|_| {
        let why = "the answer could not be made; the log says why";
        Err((StatusCode::INTERNAL_SERVER_ERROR, why.to_owned()))
    }))
}

pub(super) fn respond(answer: Answer) -> Response {
    let (status, value) = answer.unwrap_or_else(|(status, why)| (status, json!({ "error": why })));
    (status, [(CONTENT_TYPE, JSON)], format!("{value:#}\n")).into_response()
}
