//! Requests to the HTTP address, whatever is in them, on an idle host without Kafka and without a network.
//!
//! Handed a request as text; asks the router that the host serves, once where nobody has to say who asks and once where
//! tokens are needed.
//! **Invariant:** each request has an answer, and none is that something went wrong inside; those of `/v1` are JSON.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::OnceLock;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::handler::Handler as _;
use axum::http::Method;
use axum::routing::any_service;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::assignment::Flow;
use crate::audit::Audit;
use crate::catalog::Catalog;
use crate::deploy::{Done, Order, Refusal, Wish};
use crate::layers::Layers;
use crate::release::FileDigest;
use crate::reload::Plan;
use crate::steps::Steps;
use crate::stop::Draining;
use crate::tar;
use crate::telemetry::LogLevel;
use crate::tokens::Tokens;

/// Bytes of an answer, whatever is asked.
const ANSWER_MAX: usize = 1 << 20;

/// Returns what is shown of a host that has nothing to do; what is asked of it goes nowhere.
pub(super) fn idle() -> View {
    let (_, catalog) = watch::channel(Arc::new(Catalog::default()));
    let registry = Arc::new(Registry::default());
    let flow = Flow {
        runtime: Handle::current(),
        catalog: catalog.clone(),
        registry: Arc::clone(&registry),
        drain_timeout: Duration::from_secs(1),
    };
    View {
        registry,
        catalog,
        subscriptions: Arc::new(Mutex::new(Subscriptions::new(
            flow,
            Layers::default(),
            Layers::default(),
            false,
            Steps::default(),
        ))),
        sinks: Arc::new(Sinks::new(Layers::default())),
        exchanges: Arc::new(Exchanges::new(Layers::default(), Layers::default(), 8)),
        board: Arc::default(),
        places: Arc::new(Places::new(8)),
        draining: AtomicBool::new(false),
        watched: Arc::default(),
        control: Control {
            orders: mpsc::channel(1).0,
            reloads: mpsc::channel(1).0,
            state: None,
            access: Access::new(None, Some((Ipv4Addr::LOCALHOST, 0).into()), false),
            audit: Arc::new(Audit::new(None)),
            log: LogLevel::fixed(),
            tls: None,
            drain: watch::Sender::default(),
        },
    }
}

/// Asks for what the input says.
pub(crate) fn api_fuzzed(data: &[u8]) {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Builder::new_current_thread().enable_all().build().ok());
    if let (Some(runtime), Some(asked)) = (runtime, Asked::read(data)) {
        runtime.block_on(async {
            asked.ask(None).await;
            asked.ask(tokens()).await;
        });
    }
}

/// Tokens `read`, `deploy` and `admin`, with the roles of these names.
fn tokens() -> Option<Arc<Tokens>> {
    let mut text = String::new();
    for (token, role) in [
        ("read", "read"),
        ("deploy", "deploy:acme"),
        ("admin", "admin"),
    ] {
        let digest = FileDigest::of(token.as_bytes()).to_string();
        let digest = digest.trim_start_matches("sha256:");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{token} {role} {digest}");
    }
    Tokens::parse(&text).ok().map(Arc::new)
}

/// A request as text.
struct Asked<'a> {
    method: Method,
    path: &'a str,
    headers: Vec<(&'a str, &'a [u8])>,
    body: &'a [u8],
}

impl<'a> Asked<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let end = data.windows(2).position(|it| it == b"\n\n");
        let (head, body) = data.split_at(end.unwrap_or(data.len()));
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = std::str::from_utf8(lines.next()?).ok()?;
        let (method, path) = first.split_once(' ')?;
        let headers = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            Some((
                std::str::from_utf8(name).ok()?,
                value.get(1..)?.trim_ascii(),
            ))
        });
        Some(Self {
            method: method.parse().ok()?,
            path,
            headers: headers.collect(),
            body: body.get(2..).unwrap_or_default(),
        })
    }

    fn request(&self) -> Option<Request> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.path)
            .extension(ConnectInfo(Stay::new()));
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(self.body.to_vec())).ok()
    }

    async fn ask(&self, tokens: Option<Arc<Tokens>>) {
        let Some(request) = self.request() else {
            return;
        };
        let path = request.uri().path().to_owned();
        let mut view = idle();
        view.control.access.set_tokens(tokens);
        let (orders, asked) = mpsc::channel(1);
        let (reloads, again) = mpsc::channel(1);
        view.control.orders = orders;
        view.control.reloads = reloads;
        let host = stand_in(asked, again, view.control.drain.clone());
        let service = any_service(router(Arc::new(view)));
        let answered = tokio::select! {
            answered = service.call(request, ()) => answered,
            () = host => return,
        };
        self.check(&path, answered).await;
    }

    async fn check(&self, path: &str, answered: Response) {
        let status = answered.status();
        let kind = answered.headers().get(CONTENT_TYPE).cloned();
        let body = to_bytes(answered.into_body(), ANSWER_MAX).await;
        let body = body.unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
        if self.method == Method::HEAD || !(path == "/v1" || path.starts_with("/v1/")) {
            return;
        }
        assert_eq!(
            kind,
            Some(HeaderValue::from_static(JSON)),
            "{status} {text}"
        );
        let told = serde_json::from_slice::<serde_json::Value>(&body);
        let told = told.unwrap_or_default();
        let why = told.get("error").and_then(|why| why.as_str());
        let is_good = status.is_success() && told.is_object();
        assert!(
            is_good || why.is_some_and(|why| !why.is_empty()),
            "{status} {text}"
        );
    }
}

/// Does at once what the rest of the host is asked for, which is one thing at most; never ends.
async fn stand_in(
    mut orders: mpsc::Receiver<Order>,
    mut reloads: mpsc::Receiver<Reload>,
    drain: watch::Sender<Draining>,
) {
    let mut draining = drain.subscribe();
    // What it waits for would be locked while it is held.
    let asked = async {
        draining
            .wait_for(|it| *it == Draining::Asked)
            .await
            .map(drop)
    };
    tokio::select! {
        Some(order) = orders.recv() => answer(order),
        Some(reload) = reloads.recv() => {
            let _ = reload.answer.send(Ok(Plan::default()));
        }
        Ok(()) = asked => {
            drain.send_replace(Draining::Done(vec!["acme/orders: a record".to_owned()]));
        }
        else => {}
    }
    std::future::pending::<()>().await;
}

/// Answers as a deployer would, and sees that it is asked for nothing that it must not do.
fn answer(order: Order) {
    let done = match &order.wish {
        Wish::Deploy(upload) => {
            let is_allowed = |name: &String| tar::is_name(name) && name != "tenant.toml";
            assert!(upload.files.keys().all(is_allowed), "{upload:?}");
            assert!(upload.files.contains_key("handler.toml"), "{upload:?}");
            Ok(Done::default())
        }
        Wish::RollBack { to } => Err(Refusal::Unknown(format!("no revision {to:?} is kept"))),
        Wish::Promote => Err(Refusal::Conflict("nothing is tried".to_owned())),
        Wish::Pause | Wish::Resume => Ok(Done::default()),
    };
    let _ = order.answer.send(done);
}
