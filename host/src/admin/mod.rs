//! What the host tells those who run it, over HTTP: is it alive, is it ready, what did it count, what are its handlers
//! like; and what is asked of it there.
//!
//! Handed a [`View`] of the running parts, which it only reads; for changes it asks the deployer. A request is answered on a thread that may block, so
//! that a scrape never delays a record.
//! **Invariant:** `/livez` fails only where a restart helps; Kafka out of reach is no such case.
//!
//! # When `/readyz` answers 200
//!
//! | state | status | when |
//! |---|---|---|
//! | `draining` | 503 | the host is stopping |
//! | `starting` | 503 | the handlers folder was not looked at yet |
//! | `no-handlers` | 200, or 503 where handlers were refused | nothing is deployed |
//! | `kafka-unreachable` | 503 | no group reaches Kafka |
//! | `degraded` | 200 while a handler serves, else 503 | something is listed under `not-ready` |
//! | `serving` | 200 | nothing is |
//!
//! A handler serves when its group reaches Kafka, its consumer's thread comes round, and not all of its partitions are
//! halted or stalled. A topic that does not exist, a refused deployment, a halted or stalled partition and one group of
//! several that does not reach Kafka are listed and no more: to take the host out of service would stop the handlers that
//! work and would not help the others. Who wants a stalled partition to be 503 says so (`watchdog.action`). A producer that
//! failed for good is 503, and `/livez` asks for the restart; one of requests and receipts, in the place of which another
//! one comes, is listed and no more.

mod access;
mod door;
mod facts;
#[cfg(any(fuzzing, test))]
mod fuzzed;
mod head;
mod line;
mod metrics;
mod names;
mod process;
mod readiness;
mod reload;
mod report;
mod tally;
mod tenants;
#[cfg(test)]
mod tests;
mod v1;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

pub(crate) use self::access::Access;
use self::door::{Door, Stay};
#[cfg(any(fuzzing, test))]
pub(crate) use self::fuzzed::api_fuzzed;
pub(crate) use self::reload::Reload;
use self::tally::Tally;
pub(crate) use self::v1::Control;
use crate::catalog::CatalogReader;
use crate::deploy::Board;
use crate::guest::Places;
use crate::reply::Exchanges;
use crate::sink::Sink;
use crate::sinks::Sinks;
use crate::stats::Registry;
use crate::subscriptions::Subscriptions;
use crate::tls::Tls;
use crate::watcher::Watched;

/// How long answers under way may take once the host has stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// What is written at `/metrics`, see the `OpenMetrics` specification, version 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";
const NOTHING_HERE: &str =
    "nothing is here; the paths are /livez, /readyz, /metrics and /v1/handlers\n";

/// What can go wrong with the HTTP server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address cannot be listened on.
    #[error("cannot serve HTTP on {addr}: {source}; name another address with --http")]
    Bind {
        addr: SocketAddr,
        source: std::io::Error,
    },
    /// The server ended by itself.
    #[error("serving HTTP on {addr} ended: {source}")]
    Serve {
        addr: SocketAddr,
        source: std::io::Error,
    },
}

/// The running parts, as far as they are shown.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) registry: Arc<Registry>,
    pub(crate) catalog: CatalogReader,
    pub(crate) subscriptions: Arc<Mutex<Subscriptions>>,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) exchanges: Arc<Exchanges>,
    pub(crate) board: Arc<Board>,
    pub(crate) places: Arc<Places>,
    /// Set when the host begins to stop.
    pub(crate) draining: AtomicBool,
    pub(crate) watched: Arc<Watched>,
    pub(crate) control: Control,
}

/// The address that health and metrics are served on.
#[derive(Debug)]
pub(crate) struct Admin {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<Tls>,
}

impl Admin {
    /// Begins to listen; port 0 takes a free one.
    pub(crate) async fn bind(addr: SocketAddr, tls: Option<Tls>) -> Result<Self, Error> {
        let bind_error = |source| Error::Bind { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(bind_error)?;
        let addr = listener.local_addr().map_err(bind_error)?;
        Ok(Self {
            listener,
            addr,
            tls,
        })
    }

    /// Returns the address, with the port that was taken.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns whether connections are encrypted.
    pub(crate) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Answers requests until `stop` completes, and those under way for a second longer.
    pub(crate) async fn serve(
        self,
        view: Arc<View>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Error> {
        let Self {
            listener,
            addr,
            tls,
        } = self;
        let (stopping, stopped) = oneshot::channel::<()>();
        let server = axum::serve(Door::new(listener, tls), service(view)).with_graceful_shutdown(
            async move {
                stop.await;
                // Nobody waits for it once the server has ended.
                let _ = stopping.send(());
            },
        );
        let give_up = async {
            // Without a message the server has ended, and is seen first.
            let _ = stopped.await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        tokio::select! {
            biased;
            ended = server.into_future() => ended.map_err(|source| Error::Serve { addr, source }),
            () = give_up => Ok(()),
        }
    }
}

/// What all requests share.
#[derive(Debug)]
struct Desk {
    view: Arc<View>,
    delivered: Mutex<Tally<Sink>>,
    /// The turn of whoever sends in a handler.
    uploads: Arc<Semaphore>,
}

fn service(view: Arc<View>) -> IntoMakeServiceWithConnectInfo<Router, Stay> {
    router(view).into_make_service_with_connect_info()
}

fn router(view: Arc<View>) -> Router {
    let desk = Desk {
        view,
        delivered: Mutex::default(),
        uploads: Arc::new(Semaphore::new(1)),
    };
    Router::new()
        .route("/livez", get(|desk| answer(desk, livez)))
        .route("/readyz", get(|desk| answer(desk, readyz)))
        .route("/metrics", get(|desk| answer(desk, metrics_page)))
        .merge(v1::routes())
        .fallback(async || (StatusCode::NOT_FOUND, NOTHING_HERE))
        .layer(map_response(finish))
        .with_state(Arc::new(desk))
}

/// Makes an answer on a thread that may block: locks are taken, and the last user of a producer closes it.
async fn answer(State(desk): State<Arc<Desk>>, make: fn(&Desk) -> Response) -> Response {
    tokio::task::spawn_blocking(move || make(&desk))
        .await
        .unwrap_or_else(|_| failed("the answer could not be made; the log says why"))
}

/// One connection serves one request, see [`Door`]; and what is answered is true now only.
async fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn failed(reason: &str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}\n")).into_response()
}

fn livez(desk: &Desk) -> Response {
    match desk.view.dead_producers().first() {
        None => "alive\n".into_response(),
        Some(reason) => failed(&format!(
            "a producer failed for good, restart the host: {reason}"
        )),
    }
}

fn readyz(desk: &Desk) -> Response {
    let readiness = readiness::judge(desk.view.facts());
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    match serde_json::to_string_pretty(&readiness) {
        Ok(text) => (status, [(CONTENT_TYPE, JSON)], text + "\n").into_response(),
        Err(error) => failed(&error.to_string()),
    }
}

fn metrics_page(desk: &Desk) -> Response {
    let scrape = desk.view.scrape(&mut desk.delivered.lock());
    match metrics::text(scrape) {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => failed(&error.to_string()),
    }
}
