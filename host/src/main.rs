//! The `kafka-wasm-host` binary; everything is in the library.

fn main() -> std::process::ExitCode {
    kafka_wasm_host::cli::run()
}
