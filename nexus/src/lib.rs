//! The `nexus` binary: every role, the single-machine mode and the command line.
//!
//! It wires and refuses to decide: what an event means is the business of the crates below. It is a library so that
//! the reader of the folder can be fuzzed; `main.rs` only calls it.
//!
//! The flow, in five lines:
//! 1. [`cli`] reads the arguments;
//! 2. `nexus dev` reads a folder ([`folder`]), compiles it and runs all roles (`dev`); `nexus ingest` and `nexus gateway`
//!    run one (`role`);
//! 3. the roles restart one by one when they fail, and drain on Ctrl-C;
//! 4. the admin API (`api`) shows what is going on and turns the stop switch;
//! 5. every other verb is a client of that API, but for `send`, which is a provider.

#![expect(unreachable_pub, reason = "`pub` marks what a module offers to the others")]

mod api;
pub mod cli;
mod dev;
pub mod folder;
mod openapi;
mod policy;
mod role;
mod sample;
