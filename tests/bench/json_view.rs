//! What the fixture `fields` does, in a native loop: three fields of a value, by `serde_json::Value`.
//!
//! **Invariant:** the same fields are read as the same types, and the same records are sent on.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Reads and looks at the fields of an order; an error where the record shall not be sent on.
pub(crate) fn check(value: &[u8]) -> Result<()> {
    let order: Value = serde_json::from_slice(value)?;
    let id = order.get("id").and_then(Value::as_u64).context("no id")?;
    let name = order.get("name").and_then(Value::as_str);
    let total = order.get("total").and_then(Value::as_f64);
    let (name, total) = (name.context("no name")?, total.context("no total")?);
    ensure!(!name.is_empty() && total >= 0.0, "order {id} is strange");
    Ok(())
}
