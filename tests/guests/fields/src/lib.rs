//! The reader of the benchmark: reads three fields of an order, looks at them and sends the record on
//! as it is to the topic that config `output` names (`out`).

use kafka_wasm_guest::{Result, config, forward, handler, json_view, reject};

thread_local! {
    static OUTPUT: String = config("output").unwrap_or_else(|| "out".into());
}

json_view! {
    struct Order {
        id: u64 = "/id",
        name: String = "/name",
        total: f64 = "/total",
    }
}

fn on_view(order: Order) -> Result {
    if order.name.is_empty() || order.total < 0.0 {
        return Err(reject(format!("order {} is strange", order.id)));
    }
    OUTPUT.with(|output| forward(output).send())?;
    Ok(())
}

handler! { on_view }
