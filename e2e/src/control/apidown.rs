//! The API server is away for long, under load: pods serve, agents that come are admitted, and nothing is lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::led::Led;
use super::stage::Stage;
use super::{Plan, Seen};
use crate::agents::Agents;
use crate::crowd;
use crate::fleet::GATEWAYS;
use crate::ledger::{Ledger, agents};
use crate::load::{Load, Rate};
use crate::site::PATIENCE;
use crate::webhook::TENANTS;

/// A light load.
const RATE: Rate = Rate { per_second: 50, bytes: 400 };

/// Deliveries after which events count as flowing.
const FLOWING: usize = 100;

/// A new agent comes so often.
const NEWCOMERS: Duration = Duration::from_secs(5);

/// The longest that an agent may receive nothing: who is stopped or cut off receives nothing for as long as the outage lasts.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn play(plan: &Plan, folder: &Path) -> anyhow::Result<Seen> {
    let mut led = Led::set(plan, folder, 1).await?;
    let doors = Arc::clone(&led.stage.operated.fleet.doors);
    let ledger = Arc::new(Ledger::behind_a_spool());
    let all = Agents::start(&doors, &ledger, plan.seed);
    let load = Load::start(&doors, &ledger, RATE, plan.seed);
    led.until("events flow", PATIENCE, async |_| Ok(ledger.counts().received >= FLOWING)).await?;
    agents().for_each(|agent| ledger.expect(agent, true));

    led.stage.operated.cluster.stop_api().await?;
    let away = Instant::now();
    let before = ledger.counts();
    let (mut admitted, mut newcomers) = (0, Vec::new());
    while away.elapsed() < Duration::from_secs(plan.settings.outage) {
        // Each is one that had no session and no token before.
        let name = crowd::name(admitted % crowd::AGENTS);
        newcomers.push(doors.session(TENANTS[0], &name, admitted, 1).await?);
        admitted += 1;
        led.last(NEWCOMERS).await?;
    }
    let away_for = away.elapsed();
    let meanwhile = ledger.counts();
    let pause = ledger.longest_pause();
    agents().for_each(|agent| ledger.expect(agent, false));
    let back = Instant::now();
    led.stage.operated.cluster.start_api().await?;
    let started = back.elapsed();

    load.end().await;
    let accepted = ledger.accepted();
    led.until("all events are with their agents", PATIENCE, async |_| Ok(ledger.missing(&accepted) == 0))
        .await?;
    let balance = ledger.balance();
    let mut wrong = Vec::new();
    balance.complain(&ledger.examples(), &mut wrong);
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    ensure!(pause <= PAUSE, "some agent received nothing for {pause:.1?}");
    ensure!(meanwhile.accepted > before.accepted, "nothing was accepted while the API server was away");
    drop((all, newcomers));

    led.ready().await?;
    let word = led.change()?;
    led.reached(&word, PATIENCE).await?;
    let right = back.elapsed();
    let stop = stop(&mut led).await?;
    Ok(Seen {
        times: 1,
        figures: vec![
            format!(
                "away {away_for:.0?}: {} events accepted meanwhile, {} of all {} lost, {} answers 503; the longest pause of an agent {pause:.1?}",
                meanwhile.accepted - before.accepted,
                balance.missing,
                balance.accepted,
                meanwhile.refused - before.refused
            ),
            format!("{admitted} agents that came meanwhile were admitted at {GATEWAYS} gateways"),
            format!(
                "back after {started:.1?}: a change is with all pods {right:.1?} after that began; the operator ended {} times",
                led.restarts
            ),
            stop,
        ],
    })
}

/// A stop works as before, and is told.
async fn stop(led: &mut Led) -> anyhow::Result<String> {
    let agent = led.stage.admitted(0).await?;
    let ordered = Instant::now();
    led.stage.operated.patch_stop(&serde_json::json!({"stop": true}))?;
    Stage::severed(agent).await?;
    let severed = ordered.elapsed();
    led.stop_is_told().await?;
    led.release().await?;
    led.ready().await?;
    Ok(format!("a stop severs after {severed:.1?}, is told in status and is released"))
}
