//! Faults of Redis, and of ingest before it.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::RngExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::report::Row;
use super::scene::{Scene, folder};
use super::{Fault, MODEL, Plan};
use crate::agents::{Order, is_slow};
use crate::fleet::Fleet;
use crate::ledger::Agent;
use crate::link::Link;
use crate::powerloss::power::Power;
use crate::powerloss::replay::Losses;
use crate::redis::Redis;
use crate::site::{LOOK, PATIENCE};
use crate::webhook::Delivery;

/// A killed server stays away so long at most.
const AWAY_MS: u64 = 1000;

/// How far a replica lags.
const LAG: Duration = Duration::from_millis(1500);

/// How long keys are broken, and memory is full.
const BROKEN: Duration = Duration::from_secs(4);

/// After so long the neighbours of broken keys have to be served as before: at least such a part of it.
const ADAPTED: Duration = Duration::from_secs(1);
const LEAST: f64 = 0.8;

/// The metric that tells that the bus does not take what is accepted.
const DRAIN_FAILURES: &str = "nexus_spool_drain_failures_total";

/// The agent whose session ends right before the bus loses writes, and what it holds then at least.
const LEAVER: Agent = (0, 1);
const HELD: usize = 10;

/// How soon what an ended session held has to be with the next one.
const RETURNED: Duration = Duration::from_secs(30);

/// Longer than Redis waits between two syncs by `everysec`.
const SYNCED: Duration = Duration::from_millis(2500);

/// kill -9 of Redis.
pub(super) async fn redis_kills(scene: &mut Scene, times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        scene.under_way().await?;
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
        scene.under_way().await?;
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

/// Losses beyond those that are asked for, every other of Redis.
const MORE_LOSSES: usize = 10;

async fn lose(scene: &mut Scene, disks: &mut [Power; 2], times: u32) -> anyhow::Result<()> {
    let mut lost: [Option<Losses>; 2] = [None, None];
    for (number, which) in (0..2).cycle().take(times as usize + MORE_LOSSES).enumerate() {
        // A loss right behind an fsync takes nothing: then there is another of Redis, until one has taken something.
        let more = number >= times as usize;
        if more && (which != 0 || something_was_lost(lost[0]).is_ok()) {
            continue;
        }
        scene.under_way().await?;
        let seed = scene.random.random();
        let mut held = HashSet::new();
        if which == 0 {
            hold(scene).await?;
            scene.last(SYNCED).await?;
            held = leave(scene).await?;
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
            come_back(scene, &held).await?;
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
    something_was_lost(lost[0])
}

/// Fails if a Redis that syncs once a second lost nothing: then nothing is proved.
fn something_was_lost(lost: Option<Losses>) -> anyhow::Result<()> {
    let of = lost.map_or(0, |lost| lost.dropped + lost.torn);
    ensure!(lost.is_none() || of > 0, "no loss of power took anything from Redis");
    Ok(())
}

/// Has one agent hold events.
async fn hold(scene: &mut Scene) -> anyhow::Result<()> {
    scene.agents.order(|agent| agent == LEAVER, Order::Hold);
    let holds = |scene: &Scene| scene.ledger.unacknowledged(LEAVER).len() >= HELD;
    scene.until("an agent holds events", PATIENCE, holds).await?;
    Ok(())
}

/// Has it end its session; what that held, once the bus knows of its end.
async fn leave(scene: &mut Scene) -> anyhow::Result<HashSet<Delivery>> {
    let ends = async |scene: &Scene| {
        scene.fleet.gateways_metric("nexus_session_ends_total", "reason=\"peer_closed\"").await
    };
    let before = ends(scene).await?;
    scene.agents.order(|agent| agent == LEAVER, Order::Leave);
    let ended = async {
        while ends(scene).await? <= before {
            sleep(LOOK).await;
        }
        anyhow::Ok(scene.ledger.unacknowledged(LEAVER))
    };
    timeout(PATIENCE, ended).await.context("a session that its agent closed does not end")?
}

/// Has it begin another session, which has to get all of that.
async fn come_back(scene: &mut Scene, held: &HashSet<Delivery>) -> anyhow::Result<()> {
    scene.agents.order(|agent| agent == LEAVER, Order::Work);
    let begun = Instant::now();
    loop {
        let lacking = scene.ledger.unacknowledged_of(LEAVER, held);
        if lacking == 0 {
            return Ok(());
        }
        scene.fleet.check()?;
        ensure!(
            begun.elapsed() < RETURNED,
            "{lacking} of {} events that an ended session held do not come to the next one within {RETURNED:?}",
            held.len()
        );
        sleep(LOOK * 5).await;
    }
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
    hold(scene).await?;
    // The replica knows who holds what, and that is the last that it knows.
    let held_at = offset(&scene.fleet.redis, "master_repl_offset").await?;
    let follows = async {
        while offset(&replica, "slave_repl_offset").await? < held_at {
            sleep(LOOK).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, follows).await.context("the replica does not follow")??;
    link.pass(true, false);
    let held = leave(scene).await?;
    scene.last(LAG).await?;
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
    let taken_over = Instant::now();
    come_back(scene, &held).await?;
    let returned = taken_over.elapsed();
    let took = scene.arrived(&before, PATIENCE).await?;
    ensure!(ahead > behind, "the replica did not lag");
    scene.note(format!(
        "{} bytes behind; all that was accepted before had arrived {:.1} s after it took over, and {} events came to the \
         next session that one had held which ended meanwhile",
        ahead - behind,
        (returned + took).as_secs_f64(),
        held.len()
    ));
    Ok(())
}

/// How far a server is with what is replicated.
async fn offset(redis: &Redis, field: &str) -> anyhow::Result<u64> {
    let info = redis.say(&["INFO", "replication"]).await?;
    let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(line.context("no offset")?.trim().parse()?)
}

/// FLUSHALL under load.
pub(super) async fn emptied(scene: &mut Scene) -> anyhow::Result<()> {
    for _ in 0..3 {
        scene.under_way().await?;
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

/// Keys of a tenant are of another type for a while, those of an inbox, too; then Redis has no memory.
pub(super) async fn broken(scene: &mut Scene) -> anyhow::Result<()> {
    let refused = scene.ledger.counts().refused;
    let failures = drain_failures(scene).await?;
    break_key(scene, "the ids of events", "nexus:{acme/acme}:ids").await?;
    ensure!(drain_failures(scene).await? > failures, "no metric tells of it");

    // What an inbox has waiting, once it has something waiting.
    scene.agents.order(is_slow, Order::Pause);
    let inbox = timeout(PATIENCE, waiting_inbox(&scene.fleet.redis)).await.context("no inbox fills")??;
    let broken = break_key(scene, "an inbox", &inbox).await;
    scene.agents.order(is_slow, Order::Work);
    broken?;
    scene.settle().await?;

    scene.flow().await?;
    let failures = drain_failures(scene).await?;
    scene.fleet.redis.say(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    scene.times += 1;
    scene.last(BROKEN).await?;
    let before = scene.ledger.accepted();
    ensure!(drain_failures(scene).await? > failures, "Redis had no memory, and no metric tells of it");
    scene.fleet.redis.say(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    let took = scene.arrived(&before, PATIENCE).await?;
    let refused = scene.ledger.counts().refused - refused;
    scene.note(format!(
        "no memory for {BROKEN:?}: all had arrived {:.1} s later; {refused} answers 503 in all",
        took.as_secs_f64()
    ));
    Ok(())
}

/// A key of the first tenant is of another type for a while; the other tenant must not notice.
async fn break_key(scene: &mut Scene, what: &str, key: &str) -> anyhow::Result<()> {
    let aside = "nexus:{acme/acme}:aside";
    let of_other = |scene: &Scene| scene.ledger.receipts_of(1);
    let usual = of_other(scene);
    scene.last(BROKEN).await?;
    let usual = (of_other(scene) - usual) as f64 / BROKEN.as_secs_f64();
    scene.flow().await?;
    // An inbox that has just been emptied has no key.
    let swap = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end
        return redis.call('SET', KEYS[1], 'broken')";
    let back = "redis.call('DEL', KEYS[1])
        if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[1]) end";
    scene.fleet.redis.say(&["EVAL", swap, "2", key, aside]).await?;
    scene.times += 1;
    scene.last(ADAPTED).await?;
    let meanwhile = of_other(scene);
    scene.last(BROKEN).await?;
    let meanwhile = (of_other(scene) - meanwhile) as f64 / BROKEN.as_secs_f64();
    scene.fleet.redis.say(&["EVAL", back, "2", key, aside]).await?;
    scene.note(format!(
        "{what} of the wrong type for {BROKEN:?}: {meanwhile:.0} deliveries of the other tenant a second, {usual:.0} before"
    ));
    ensure!(
        usual > 0.0 && meanwhile >= LEAST * usual,
        "{what} of the wrong type: the other tenant was held up, {meanwhile:.0} deliveries a second instead of {usual:.0}"
    );
    Ok(())
}

async fn drain_failures(scene: &Scene) -> anyhow::Result<f64> {
    let shown = scene.fleet.ingest.gauge(&scene.fleet.doors.http, DRAIN_FAILURES).await?;
    Ok(shown.unwrap_or_default())
}

/// The key of what waits in an inbox of the first tenant, once there is one that does not empty by itself.
async fn waiting_inbox(redis: &Redis) -> anyhow::Result<String> {
    let find = "local most, found = 0, ''
        for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
            local waiting = redis.call('ZCARD', key)
            if waiting > most then most, found = waiting, key end
        end
        return most >= tonumber(ARGV[2]) and found or ''";
    loop {
        let key = redis.say(&["EVAL", find, "0", "nexus:{acme/acme}:i:*:w", "20"]).await?;
        if !key.is_empty() {
            return Ok(key);
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_took_nothing_proves_nothing() {
        let lost = |dropped, torn| Some(Losses { ops: 9, not_durable: 5, dropped, torn });
        assert!(something_was_lost(lost(0, 0)).is_err());
        assert!(something_was_lost(lost(1, 0)).is_ok() && something_was_lost(lost(0, 1)).is_ok());
        // Redis' power was never lost.
        assert!(something_was_lost(None).is_ok());
    }
}
