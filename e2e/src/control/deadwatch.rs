//! Watches that are dead without a word: nothing comes any more over the connections that gateways and the operator have open.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::led::Led;
use super::stage::Stage;
use super::{Plan, Seen};
use crate::fleet::GATEWAYS;
use crate::ledger::AGENTS;
use crate::site::PATIENCE;
use crate::webhook::TENANTS;

/// Watches are open when connections are of this age.
const OPEN: Duration = Duration::from_secs(4);

/// The longest that a stop may take, which a look brings, and a change, for which a watch must be given up.
const STOP: Duration = Duration::from_secs(3);
const CHANGE: Duration = Duration::from_secs(35);

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let mut led = Led::set(plan, folder, 1).await?;
    let mut agents = Vec::new();
    for (gateway, agent) in AGENTS.iter().enumerate().take(GATEWAYS) {
        drop(led.stage.admitted(gateway).await?);
        agents.push(led.stage.operated.fleet.doors.session(TENANTS[0], agent, gateway, 1).await?);
    }
    led.until("watches are open", PATIENCE, async |led| {
        let old = |age: Option<Duration>| age.is_some_and(|age| age > OPEN);
        Ok(old(led.stage.operated.link.oldest()) && old(led.link.oldest()))
    })
    .await?;
    led.stage.operated.link.freeze();
    led.link.freeze();
    let frozen = Instant::now();
    let ordered = Instant::now();
    led.stage.operated.patch_stop(&serde_json::json!({"stop": true}))?;
    let word = led.change()?;
    for agent in agents {
        Stage::severed(agent).await?;
    }
    let stopped = ordered.elapsed();
    ensure!(stopped <= STOP, "the stop was in force {stopped:.1?} after it was ordered");
    led.reached(&word, CHANGE).await?;
    let reached = frozen.elapsed();
    ensure!(reached <= CHANGE, "the change came {reached:.1?} after the connections died");
    led.stop_is_told().await?;
    let told = frozen.elapsed();
    ensure!(told <= CHANGE, "status told of the stop {told:.1?} after the connections died");
    ensure!(led.restarts == 0, "the operator ended, since it could not renew its Lease");
    let released = led.release().await?;
    led.ready().await?;
    Ok(Seen {
        times: 1,
        figures: vec![
            format!("a stop severs sessions of {GATEWAYS} gateways after {stopped:.1?}"),
            format!(
                "a change of a Tenant is with all pods after {reached:.1?}, the stop in its status after {told:.1?}"
            ),
            format!("released after {released:.1?}; the operator kept its Lease"),
        ],
    })
}
