//! Answers what an order costs, with the order and its price. What is not in the list has no price.

use kafka_wasm_guest::{Message, Result, handler, reply};

/// Prices in cents.
const PRICES: [(&str, u64); 4] = [
    ("tea", 420),
    ("coffee", 790),
    ("cups", 1250),
    ("kettle", 4900),
];

#[derive(serde::Deserialize, serde::Serialize)]
struct Order {
    id: String,
    article: String,
    quantity: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    price_cents: Option<u64>,
}

fn on_message(message: Message) -> Result {
    let mut order: Order = message.json()?;
    let found = PRICES.iter().find(|(article, _)| *article == order.article);
    order.price_cents = found.map(|(_, cents)| cents * order.quantity);
    reply(&message)?.key(&order.id).json(&order)?.send()?;
    Ok(())
}

handler! { on_message }
