//! The document of the control API says what is served: each path is asked, and each answer has the shape that it says.

use std::collections::BTreeSet;

use harness::http::request;
use harness::{Host, guest};
use serde_json::Value;

use super::{handlers, with_tokens};

const HANDLER: &str = "/v1/handlers/{tenant}/{handler}";

/// What is asked, by the path of the document; the body's kind and text; and the status of the answer.
const ASKED: &[(&str, &str, &str, &str, u16)] = &[
    ("get", "/v1/openapi.json", "", "", 200),
    ("get", "/v1/handlers", "", "", 200),
    ("get", HANDLER, "", "", 200),
    ("put", HANDLER, "application/x-tar", "not one", 400),
    ("put", HANDLER, "text/plain", "", 415),
    (
        "get",
        "/v1/handlers/{tenant}/{handler}/partitions",
        "",
        "",
        200,
    ),
    (
        "get",
        "/v1/handlers/{tenant}/{handler}/revisions",
        "",
        "",
        200,
    ),
    (
        "post",
        "/v1/handlers/{tenant}/{handler}/rollback",
        "application/json",
        "{\"to\": \"00\"}",
        404,
    ),
    (
        "post",
        "/v1/handlers/{tenant}/{handler}/rollback",
        "application/json",
        "[",
        400,
    ),
    (
        "post",
        "/v1/handlers/{tenant}/{handler}/pause",
        "application/json",
        "{}",
        200,
    ),
    ("get", HANDLER, "", "", 200),
    (
        "post",
        "/v1/handlers/{tenant}/{handler}/resume",
        "application/json",
        "{}",
        200,
    ),
    (
        "post",
        "/v1/handlers/{tenant}/{handler}/resume",
        "",
        "",
        415,
    ),
    ("get", "/v1/tenants", "", "", 200),
    ("get", "/v1/tenants/{tenant}", "", "", 200),
    ("get", "/v1/loglevel", "", "", 200),
    (
        "put",
        "/v1/loglevel",
        "application/json",
        "{\"directives\": \"info\"}",
        200,
    ),
    (
        "put",
        "/v1/loglevel",
        "application/json",
        "{\"directives\": \"inof\"}",
        400,
    ),
    ("post", "/v1/reload", "application/json", "{}", 200),
    (
        "post",
        "/v1/handlers/{tenant}/{handler}/promote",
        "application/json",
        "{}",
        409,
    ),
    ("get", "/v1/drain", "", "", 200),
    // The last one: nothing is changed after it.
    ("post", "/v1/drain", "application/json", "{}", 200),
    (
        "post",
        "/v1/handlers/{tenant}/{handler}/pause",
        "application/json",
        "{}",
        503,
    ),
];

/// Lists where a value is not as a schema of the document says.
fn misfits(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#'));
        let schema = schema.unwrap_or_else(|| panic!("{name} is not in the document"));
        return misfits(document, schema, value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = any
            .iter()
            .any(|it| misfits(document, it, value, at).is_empty());
        return if fits {
            Vec::new()
        } else {
            vec![format!("{at}: {value}")]
        };
    }
    let is_of_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        other => panic!("{at}: a schema of type {other:?}: {schema}"),
    };
    let is_known = schema["enum"]
        .as_array()
        .is_none_or(|words| words.contains(value));
    if !is_of_type || !is_known {
        return vec![format!("{at}: {value} is not {schema}")];
    }
    let mut found = Vec::new();
    for item in value.as_array().into_iter().flatten() {
        found.extend(misfits(document, &schema["items"], item, at));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            found.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => found.extend(misfits(document, schema, value, &format!("{at}.{name}"))),
            None if schema["additionalProperties"] == false => {
                found.push(format!("{at}: {name} is not in the document"))
            }
            None => {}
        }
    }
    found
}

#[test]
fn every_route_answers_as_the_document_says() {
    let (folder, aside) = (handlers(), tempfile::tempdir().unwrap());
    // One that is refused is told of, too.
    let wrong = "topics = [\"orders\"]\nordering = \"none of these\"\n";
    folder.handler("bad", guest("act"), wrong).unwrap();
    let toml = with_tokens(aside.path());
    let state = aside.path().join("state").display().to_string();
    let host = Host::dev().handlers(folder.path());
    let host = host.args(["--config", &toml, "--state", &state]);
    let host = host.start_ready().unwrap();
    let token = ("Authorization", "Bearer s3cret-root");
    let ask = |what: &str, headers: &[(&str, &str)], body: &str| {
        let (status, answer) = request(host.http_addr(), what, headers, body).unwrap();
        let answer: Value =
            serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{what}: {answer}"));
        (status, answer)
    };
    let (status, document) = ask("GET /v1/openapi.json", &[token], "");
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));

    let (mut asked, mut problems) = (BTreeSet::new(), Vec::new());
    for (method, path, kind, body, expected) in ASKED {
        let place = path
            .replace("{tenant}", "default")
            .replace("{handler}", "good");
        let what = format!("{} {place}", method.to_uppercase());
        let headers = [token, ("Content-Type", kind)];
        let (status, answer) = ask(&what, &headers, body);
        let responses = &document["paths"][path][method]["responses"];
        let schema = &responses[status.to_string()]["content"]["application/json"]["schema"];
        if status != *expected || schema.is_null() {
            problems.push(format!("{what}: {status} {answer}"));
            continue;
        }
        problems.extend(misfits(&document, schema, &answer, &what));
        asked.insert(((*path).to_owned(), (*method).to_owned()));
        // Whoever shows no token is told so, on every path; nothing was done for it.
        let (status, answer) = ask(&what, &headers[1..], body);
        let schema = &responses["401"]["content"]["application/json"]["schema"];
        assert_eq!(status, 401, "{what}: {answer}");
        problems.extend(misfits(&document, schema, &answer, &what));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let paths = document["paths"].as_object().unwrap().iter();
    let all: BTreeSet<(String, String)> = paths
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .keys()
                .map(|it| (path.clone(), it.clone()))
        })
        .collect();
    assert_eq!(all, asked, "each route of the document is asked here");
    // What stands in it by reference is there.
    for (_, methods) in document["paths"].as_object().unwrap() {
        for (_, operation) in methods.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            if let Some(name) = body.as_str() {
                assert!(
                    document.pointer(name.trim_start_matches('#')).is_some(),
                    "{name}"
                );
            }
        }
    }
    host.stop().unwrap();
}
