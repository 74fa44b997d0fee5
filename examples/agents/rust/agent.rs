//! An agent over WebSocket: gets work from Nexus, prints it, acknowledges it.
//!
//!     NEXUS_CREDENTIALS=.nexus/agents/acme/coder-nexus-agent cargo run -p nexus-example-agent --bin agent
#![expect(clippy::print_stdout, reason = "an example speaks to people")]
#![expect(unreachable_pub, reason = "a file of its own, fit to be copied")]

mod access;
mod websocket;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    websocket::forever(access::Agent::of_environment()?).await
}
