//! Which records a handler takes, as its manifest says it.

use super::{parse, problems_of};
use crate::record::{Header, RecordView};
use crate::route::{Event, Multi, OnUnmatched, RouteTable, Routing};

/// What is left unsaid.
pub(super) fn unsaid() -> Routing {
    Routing {
        source: "value:/event".parse().unwrap(),
        multi: Multi::First,
        unmatched: OnUnmatched::Skip,
        max_hops: 32,
        rules: Vec::new(),
    }
}

#[test]
fn routes_are_read_as_written() {
    let manifest = parse(
        "topics = [\"a\", \"b\"]\nmulti = \"all\"\nunmatched = \"dead-letter\"\nevent.source = \"header:kind\"\n\
         [[route]]\ntopic = \"a\"\nevent = \"order.*\"\n[[route]]\nheaders = { region = \"eu\", urgent = \"*\" }",
    );
    let routing = manifest.routing;
    assert_eq!(
        (routing.multi, routing.unmatched),
        (Multi::All, OnUnmatched::DeadLetter)
    );
    let rules: Vec<String> = routing.rules.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        ["topic a, event order.*", "header region=eu, header urgent"]
    );
    let header = |key: &'static str, value| Header {
        key: key.into(),
        value,
    };
    let view = RecordView {
        topic: "a",
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: None,
        value: None,
        headers: vec![
            header("kind", Some(&b"x"[..])),
            header("kind", Some(b"order.paid")),
        ],
    };
    let named = routing.source.read(&view);
    assert_eq!(named.event(), Event::Text("order.paid"));
    let table = RouteTable::new(&routing.rules, Multi::First).unwrap();
    assert_eq!(
        table
            .route("a", named.event(), &view.headers)
            .unwrap()
            .as_slice(),
        [0]
    );
}

#[test]
fn a_route_that_cannot_be_meant_is_refused() {
    let problems = problems_of(
        "event.source = \"body:x\"\nroute = [{ topic = \"b\" }, { event = \"\" }, { event = \"x\" }, { event = \"x\" }]",
    );
    assert_eq!(
        problems,
        [
            "2: event.source: expected \"value:/json/pointer\", \"key\" or \"header:name\"",
            "3: route[0].topic: b is none of the handler's topics, so no record can match",
            "3: route[1].event: the pattern is empty",
            "3: route[3].event: this route is there twice",
        ]
    );
    let pointer = problems_of("event.source = \"value:event\"");
    assert!(pointer[0].starts_with("2: event.source: "), "{pointer:?}");
    let long = format!("route = [{{ event = \"{}\" }}]", "x".repeat(257));
    let long = problems_of(&long);
    assert!(
        long[0].contains("the text has 257 bytes, more than 256"),
        "{long:?}"
    );
    let parks = problems_of("multi = \"all\"\nordering = \"key\"\non-exhausted = \"park\"");
    assert!(
        parks[0].starts_with("2: multi: ") && parks.len() == 1,
        "{parks:?}"
    );
    let waits = problems_of("multi = \"all\"\nordering = \"none\"\nretry.topic-delays-ms = [1000]");
    assert!(
        waits[0].starts_with("2: multi: ") && waits.len() == 1,
        "{waits:?}"
    );
}
