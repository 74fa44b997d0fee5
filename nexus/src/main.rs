//! The `nexus` binary; the library of the same name has its parts.

/// Events are many small allocations that end on another thread; the system's allocator, and musl's more so, takes
/// locks for those.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    nexus::cli::main()
}
