//! The `kafka-wasm-host` binary; everything is in the library.

/// Records are allocated on one thread and freed on another; jemalloc spends less on that than glibc, librdkafka's own
/// memory included.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    kafka_wasm_host::cli::run()
}
