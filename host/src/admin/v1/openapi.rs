//! The description of the control API for programs, in `OpenAPI` 3.1.
//!
//! Made of the table that the router is made of.
//! **Invariant:** what is in it is what is served; a claim asks all of it.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::shapes::{ERROR, SHAPES, reference};
use super::table::{Body, ROUTES, Route};

/// Makes the document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(route.method.to_lowercase(), operation(route));
        }
    }
    let schemas = SHAPES
        .iter()
        .map(|shape| (shape.name.to_owned(), (shape.schema)()));
    let schemas: Map<String, Value> = schemas.collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "kafka-wasm-host",
            "summary": "What is asked of a running host.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        // Where the host has a file of tokens, one is needed.
        "security": [{ "token": [] }, {}],
    })
}

fn operation(route: &Route) -> Value {
    let mut responses = Map::new();
    for status in route.good {
        let answer = content("application/json", &reference(route.answer));
        responses.insert(
            status.to_string(),
            json!({ "description": words(*status), "content": answer }),
        );
    }
    // Everything can be refused by the address and by the role.
    for status in [401, 403].iter().chain(route.bad) {
        let answer = content("application/json", &reference(&ERROR));
        responses.insert(
            status.to_string(),
            json!({ "description": words(*status), "content": answer }),
        );
    }
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.what,
        "description": format!("Takes {}.", route.who.in_words()),
        "parameters": parameters(route.path),
        "responses": responses,
    });
    if let (Some(fields), Some(body)) = (operation.as_object_mut(), body(&route.body)) {
        fields.insert("requestBody".to_owned(), body);
    }
    operation
}

fn body(body: &Body) -> Option<Value> {
    match body {
        Body::None => None,
        Body::Json(shape, is_required) => {
            let content = content("application/json", &reference(shape));
            Some(json!({ "required": is_required, "content": content }))
        }
        Body::Tar => {
            let content = content("application/x-tar", &json!({}));
            Some(json!({ "required": true, "content": content }))
        }
    }
}

fn content(kind: &str, schema: &Value) -> Value {
    json!({ kind: { "schema": schema } })
}

/// The names in a path.
fn parameters(path: &str) -> Vec<Value> {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

fn words(status: u16) -> String {
    let status = StatusCode::from_u16(status).ok();
    let words = status.and_then(|it| it.canonical_reason());
    words.unwrap_or_default().to_owned()
}
