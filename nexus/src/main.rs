//! The `nexus` binary: every role, the single-machine mode and the command line.
//!
//! It wires and refuses to decide: what an event means is the business of the crates below.
//!
//! The flow, in five lines:
//! 1. [`cli`] reads the arguments;
//! 2. `nexus dev` reads a folder ([`folder`]), compiles it and runs all roles ([`dev`]);
//! 3. the roles restart one by one when they fail, and drain on Ctrl-C;
//! 4. the admin API ([`api`]) shows what is going on and turns the stop switch;
//! 5. every other verb is a client of that API, but for `send`, which is a provider.

#![expect(unreachable_pub, reason = "in a binary `pub` marks what a module offers to the others")]

mod api;
mod cli;
mod dev;
mod folder;
mod openapi;
mod role;
mod sample;

/// Events are many small allocations that end on another thread; the system's allocator, and musl's more so, takes
/// locks for those.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
