//! Resident memory of an idle connection.

use std::sync::Arc;

use crate::args::{Common, Transport};
use crate::fleet::Fleet;
use crate::ledger::Ledger;
use crate::process;
use crate::server::{Kind, Server};

/// Bytes per connection, on a fresh server. One session of each agent comes before the first figure is taken, so
/// that what is made once, or once for an agent, does not count.
pub async fn measure(
    kind: Kind,
    common: &Common,
    connections: u32,
    transport: Transport,
) -> anyhow::Result<f64> {
    let server = Server::start(kind, common).await?;
    let tokens = server.tokens().await?;
    let ledger = Arc::new(Ledger::new(None)?);
    let gateway = server.gateway(transport);
    let first = Fleet::connect(gateway, &tokens, tokens.len(), transport, &ledger).await?;
    let before = process::settled_bytes(server.pid).await?;
    let fleet = Fleet::connect(gateway, &tokens, connections as usize, transport, &ledger).await?;
    let after = process::settled_bytes(server.pid).await?;
    first.check()?;
    fleet.check()?;
    server.end().await?;
    Ok((after - before) / f64::from(connections))
}
