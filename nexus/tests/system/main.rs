//! The built program from outside: real processes, real sockets, kill -9.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is the test's report")]
#![expect(unreachable_pub, reason = "modules of one test program")]

mod agent;
mod cli;
mod collector;
mod crash;
mod harness;
mod openapi;
mod quickstart;
mod reload;
mod stop;
mod telemetry;
