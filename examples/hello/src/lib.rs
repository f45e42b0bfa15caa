use kafka_wasm_guest::{Result, emit, handler};

fn on_message(name: String) -> Result {
    emit("greetings").text(&format!("Hello, {name}!")).send()?;
    Ok(())
}

handler! { on_message }

#[cfg(test)]
mod tests;
