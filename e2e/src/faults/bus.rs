//! Faults of Redis, and of ingest before it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::RngExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::report::Row;
use super::scene::{Scene, folder};
use super::{Fault, MODEL, Plan};
use crate::fleet::Fleet;
use crate::link::Link;
use crate::powerloss::power::Power;
use crate::powerloss::replay::Losses;
use crate::redis::Redis;
use crate::site::{LOOK, PATIENCE};

/// A kill comes so long after events flow at most.
const LATEST_MS: u64 = 1500;

/// A killed server stays away so long at most.
const AWAY_MS: u64 = 1000;

/// How far a replica lags.
const LAG: Duration = Duration::from_millis(1500);

/// How long keys are broken, and memory is full.
const BROKEN: Duration = Duration::from_secs(4);

/// kill -9 of Redis.
pub(super) async fn redis_kills(scene: &mut Scene, times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        scene.flow().await?;
        scene.moment(LATEST_MS).await;
        scene.fleet.redis.kill().await?;
        scene.times += 1;
        scene.moment(AWAY_MS).await;
        let before = scene.ledger.accepted();
        scene.fleet.redis.start(&[]).await?;
        scene.arrived(&before, PATIENCE).await?;
    }
    Ok(())
}

/// kill -9 of ingest.
pub(super) async fn ingest_kills(scene: &mut Scene, times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        scene.flow().await?;
        scene.moment(LATEST_MS).await;
        scene.fleet.ingest.kill().await?;
        scene.times += 1;
        let before = scene.ledger.accepted();
        scene.fleet.start_ingest().await?;
        scene.arrived(&before, PATIENCE).await?;
    }
    Ok(())
}

/// Losses of power, of Redis and of ingest in turn. Redis syncs once a second, so it loses what it has told of.
pub(super) async fn power_losses(plan: &Plan, fault: Fault) -> anyhow::Result<Row> {
    let work = folder(plan, fault);
    let mut redis = Redis::new(work.join("redis"), "everysec")?;
    let (of_redis, of_ingest) = (work.join("power-redis"), work.join("power-ingest"));
    let spool = work.join("ingest");
    for path in [&of_redis, &of_ingest, &spool] {
        std::fs::create_dir_all(path)?;
    }
    let mut disks = [Power::new(&of_redis, &redis.data)?, Power::new(&of_ingest, &spool)?];
    redis.start(&disks[0].environment()).await?;
    let mut fleet = Fleet::around(&plan.nexus, &work, redis).await?;
    fleet.ingest.environment = disks[1].environment().to_vec();
    let mut scene = Scene::over(plan, fault, fleet, plan.rate).await?;
    let played = lose(&mut scene, &mut disks, plan.settings.power_losses).await;
    Ok(scene.end(played).await)
}

async fn lose(scene: &mut Scene, disks: &mut [Power; 2], times: u32) -> anyhow::Result<()> {
    let mut lost: [Option<Losses>; 2] = [None, None];
    for which in (0..2).cycle().take(times as usize) {
        scene.flow().await?;
        scene.moment(LATEST_MS).await;
        let seed = scene.random.random();
        if which == 0 {
            scene.fleet.redis.kill().await?;
        } else {
            scene.fleet.ingest.kill().await?;
        }
        let before = scene.ledger.accepted();
        lost[which] = Losses::sum(lost[which], Some(disks[which].lose(seed, MODEL)?));
        scene.times += 1;
        if which == 0 {
            scene.fleet.redis.repair().await?;
            disks[0].rebase()?;
            let environment = disks[0].environment();
            scene.fleet.redis.start(&environment).await?;
        } else {
            scene.fleet.start_ingest().await?;
        }
        scene.arrived(&before, PATIENCE).await?;
    }
    for (name, lost) in ["Redis", "ingest"].into_iter().zip(lost) {
        if let Some(Losses { ops, not_durable, dropped, torn }) = lost {
            scene.note(format!(
                "{name}: {ops} changes recorded, {not_durable} not durable, {dropped} dropped, {torn} torn"
            ));
        }
    }
    Ok(())
}

/// The server dies while its replica lags, and the replica takes its place.
pub(super) async fn failovers(plan: &Plan, fault: Fault) -> anyhow::Result<Row> {
    let work = folder(plan, fault);
    let fleet = Fleet::new(&plan.nexus, &work, "always").await?;
    let mut scene = Scene::over(plan, fault, fleet, plan.rate).await?;
    let mut played = Ok(());
    for number in 1..=plan.settings.failovers {
        played = fail_over(&mut scene, &work.join(format!("redis-{number}"))).await;
        if played.is_err() {
            break;
        }
    }
    Ok(scene.end(played).await)
}

async fn fail_over(scene: &mut Scene, data: &std::path::Path) -> anyhow::Result<()> {
    let link = Link::new(scene.fleet.redis.port).await?;
    let replica = Redis::new(data.to_owned(), "always")?;
    let mut replica = replica.with("--replicaof", &["127.0.0.1", &link.port.to_string()]);
    replica.start(&[]).await?;
    let in_step = async {
        while !replica.say(&["INFO", "replication"]).await?.contains("master_link_status:up") {
            sleep(LOOK).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, in_step).await.context("the replica does not follow")??;
    scene.flow().await?;
    // What the server writes from now on does not reach the replica.
    link.pass(true, false);
    sleep(LAG).await;
    let offset = async |redis: &Redis, field: &str| {
        let info = redis.say(&["INFO", "replication"]).await?;
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        anyhow::Ok(line.context("no offset")?.trim().parse::<u64>()?)
    };
    let ahead = offset(&scene.fleet.redis, "master_repl_offset").await?;
    let behind = offset(&replica, "slave_repl_offset").await?;
    scene.fleet.redis.kill().await?;
    scene.times += 1;
    drop(link);
    let before = scene.ledger.accepted();
    replica.say(&["REPLICAOF", "NO", "ONE"]).await?;
    let port = replica.port;
    scene.fleet.redis = replica;
    for unit in scene.fleet.gateways.iter().chain([&scene.fleet.ingest]) {
        unit.link.lead(port);
    }
    let took = scene.arrived(&before, PATIENCE).await?;
    ensure!(ahead > behind, "the replica did not lag");
    scene.note(format!(
        "{} bytes behind; all that was accepted before had arrived {:.1} s after it took over",
        ahead - behind,
        took.as_secs_f64()
    ));
    Ok(())
}

/// FLUSHALL under load.
pub(super) async fn emptied(scene: &mut Scene) -> anyhow::Result<()> {
    for _ in 0..3 {
        scene.flow().await?;
        scene.moment(LATEST_MS).await;
        let repeats = scene.ledger.balance().repeats;
        scene.fleet.redis.say(&["FLUSHALL"]).await?;
        scene.times += 1;
        let before = scene.ledger.accepted();
        let took = scene.arrived(&before, PATIENCE).await?;
        let again = scene.ledger.balance().repeats - repeats;
        scene.note(format!(
            "all had arrived {:.1} s later; {again} deliveries came again",
            took.as_secs_f64()
        ));
    }
    Ok(())
}

/// A tenant's keys are of another type for a while; then Redis has no memory.
pub(super) async fn broken(scene: &mut Scene) -> anyhow::Result<()> {
    let refused = scene.ledger.counts().refused;
    let (ids, aside) = ("nexus:{acme/acme}:ids", "nexus:{acme/acme}:aside");
    scene.fleet.redis.say(&["RENAME", ids, aside]).await?;
    scene.fleet.redis.say(&["SET", ids, "broken"]).await?;
    scene.times += 1;
    let (begun, received) = (Instant::now(), scene.ledger.counts().received);
    while begun.elapsed() < BROKEN {
        scene.fleet.check()?;
        sleep(LOOK).await;
    }
    let meanwhile = scene.ledger.counts().received - received;
    ensure!(meanwhile > 0, "the other tenant was held up");
    let failures =
        scene.fleet.ingest.gauge(&scene.fleet.doors.http, "nexus_spool_drain_failures_total").await?;
    ensure!(failures > Some(0.0), "no metric tells of it");
    let before = scene.ledger.accepted();
    scene.fleet.redis.say(&["RENAME", aside, ids]).await?;
    let took = scene.arrived(&before, PATIENCE).await?;
    scene.note(format!(
        "WRONGTYPE for {BROKEN:?}: {meanwhile} deliveries of the other tenant; all had arrived {:.1} s later",
        took.as_secs_f64()
    ));

    scene.flow().await?;
    scene.fleet.redis.say(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    scene.times += 1;
    sleep(BROKEN).await;
    let before = scene.ledger.accepted();
    scene.fleet.redis.say(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    let took = scene.arrived(&before, PATIENCE).await?;
    let refused = scene.ledger.counts().refused - refused;
    scene.note(format!(
        "no memory for {BROKEN:?}: all had arrived {:.1} s later; {refused} answers 503 in both",
        took.as_secs_f64()
    ));
    Ok(())
}
