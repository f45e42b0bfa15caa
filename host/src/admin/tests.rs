//! The server as a whole, on a free port, without Kafka and without handlers.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::fuzzed::idle as view;
use super::*;

/// Asks for a path, as a client that would like to keep the connection.
async fn get(addr: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: host\r\n\r\n");
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .await
    .unwrap()
}

async fn bind() -> Admin {
    Admin::bind((Ipv4Addr::LOCALHOST, 0).into(), None)
        .await
        .unwrap()
}

#[tokio::test]
async fn each_path_answers_until_the_host_stops() {
    let admin = bind().await;
    let addr = admin.addr();
    let view = Arc::new(view());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(admin.serve(Arc::clone(&view), async {
        let _ = stopped.await;
    }));

    let live = get(addr, "/livez").await;
    assert!(live.starts_with("HTTP/1.1 200 OK\r\n"), "{live}");
    assert!(live.ends_with("\r\n\r\nalive\n"), "{live}");

    let ready = get(addr, "/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 503 ") && ready.contains("content-type: application/json\r\n")
    );
    assert!(ready.contains("\"state\": \"starting\""), "{ready}");
    view.draining.store(true, Ordering::Release);
    let ready = get(addr, "/readyz").await;
    assert!(ready.contains("\"state\": \"draining\""), "{ready}");

    let lane = view.registry.open(
        &"acme/bills".parse().unwrap(),
        &Arc::from("orders"),
        Some(0),
    );
    lane.retries.add(3);
    let page = get(addr, "/metrics").await;
    assert!(page.contains("content-type: application/openmetrics-text; version=1.0.0"));
    let retries =
        "kafka_wasm_retries_total{tenant=\"acme\",handler=\"bills\",topic=\"orders\"} 3\n";
    assert!(
        page.contains(retries) && page.ends_with("\n# EOF\n"),
        "{page}"
    );

    let lost = get(addr, "/").await;
    assert!(
        lost.starts_with("HTTP/1.1 404 ") && lost.ends_with(NOTHING_HERE),
        "{lost}"
    );

    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(addr).is_err());
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_hold_up_the_stop() {
    let admin = bind().await;
    let addr = admin.addr();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(admin.serve(Arc::new(view()), async {
        let _ = stopped.await;
    }));
    let _silent = TcpStream::connect(addr).unwrap();
    // An answer shows that the silent one was let in before.
    get(addr, "/livez").await;
    let start = Instant::now();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_taken_address_is_named_with_the_remedy() {
    let admin = bind().await;
    let error = Admin::bind(admin.addr(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!("cannot serve HTTP on {}: ", admin.addr())),
        "{error}"
    );
    assert!(error.contains("--http"), "{error}");
}
