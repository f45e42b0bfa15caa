//! Middleware: an order that nobody can price is rejected before any handler sees it.

use kafka_wasm_guest::{Message, Reception, Result, handler, reject};

/// More of one article is a mistake.
const QUANTITY_MAX: u32 = 1000;

#[derive(serde::Deserialize)]
struct Order {
    id: String,
    article: String,
    quantity: u32,
}

fn middleware(message: Message) -> Result<Reception> {
    if message.value().is_none() {
        return Ok(Reception::Drop);
    }
    let order: Order = message.json()?;
    if order.id.is_empty() || order.article.is_empty() {
        return Err(reject("an order has an id and an article"));
    }
    if !(1..=QUANTITY_MAX).contains(&order.quantity) {
        let why = format!("{} of {} cannot be ordered", order.quantity, order.article);
        return Err(reject(why));
    }
    Ok(Reception::Pass)
}

handler! { middleware }

#[cfg(test)]
mod tests {
    use kafka_wasm_guest::testing::message;

    use super::*;

    fn received(order: &str) -> Result<Reception> {
        middleware(message("orders").text(order).build())
    }

    #[test]
    fn an_order_passes_as_it_is() {
        let order = r#"{"event":"order.created","id":"1","article":"tea","quantity":2}"#;
        assert!(matches!(received(order), Ok(Reception::Pass)));
    }

    #[test]
    fn what_nobody_can_price_is_rejected() {
        for order in [
            "no JSON",
            r#"{"id":"1","article":"tea","quantity":0}"#,
            r#"{"id":"1","article":"tea","quantity":1001}"#,
            r#"{"id":"","article":"tea","quantity":1}"#,
        ] {
            assert!(received(order).is_err(), "{order}");
        }
    }
}
