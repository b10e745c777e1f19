//! `kairos`.

/// Requests are put together on one thread and their rows written by another: the system's allocator
/// takes twice as long for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    kairos_server::run()
}
