//! An agent over gRPC: gets work from Nexus, prints it, acknowledges it.
//!
//!     NEXUS_CREDENTIALS=.nexus/agents/acme/coder-nexus-agent cargo run -p nexus-example-agent --bin agent_grpc
#![expect(clippy::print_stdout, reason = "an example speaks to people")]
#![expect(unreachable_pub, reason = "a file of its own, fit to be copied")]

mod access;
mod grpc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    grpc::forever(access::Agent::of_environment()?).await
}
