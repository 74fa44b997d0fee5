//! The `nexus` binary; the library of the same name has its parts.

/// Events are many small allocations that end on another thread; the system's allocator, and musl's more so, takes
/// locks for those. This one also gives back what thousands of connections leave.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    nexus::cli::main()
}
