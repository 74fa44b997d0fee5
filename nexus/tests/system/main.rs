//! The built program from outside: real processes, real sockets, kill -9.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is the test's report")]
#![expect(unreachable_pub, reason = "modules of one test program")]

mod again;
mod agent;
mod cli;
mod collector;
mod contract;
mod crash;
mod diff_routes;
mod events;
mod examples;
mod fleet;
mod fleet_stop;
mod harness;
mod openapi;
mod operator;
#[path = "puppets/puppet.rs"]
mod puppet;
mod quickstart;
mod quota;
mod reload;
mod renewals;
mod rust_agents;
mod stop;
mod telemetry;
mod toolchain;
mod transcript;
