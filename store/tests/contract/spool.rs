//! The spool in front of a Redis that is away, hangs, forgets, is emptied, refuses or is broken for one tenant.

use std::sync::Arc;
use std::time::Duration;

use nexus_core::clock::ManualClock;
use nexus_core::id::{EventId, TenantKey};
use nexus_store::bus::{Append, Bus, BusError, PARTITIONS};
use nexus_store::redis::{RedisBus, RedisSettings};
use nexus_store::spool::{Spool, SpoolSettings, Taken};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::rig::server::Server;
use super::rig::*;

/// How long anything may take to come right.
const PATIENCE: Duration = Duration::from_secs(60);

fn other() -> TenantKey {
    "acme/other".parse().unwrap()
}

/// A spool, a server, and what moves events from one to the other.
struct Site {
    server: Server,
    spool: Spool,
    settings: SpoolSettings,
    clock: ManualClock,
    bus: Option<Bus>,
    /// The drainer, and what else runs.
    tasks: JoinSet<()>,
    /// Only makes events.
    rig: Rig,
    dir: TempDir,
}

impl Site {
    /// Nothing moves yet.
    async fn new(adapt: impl FnOnce(&mut SpoolSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), &["--enable-debug-command", "yes"]).await;
        let mut settings = SpoolSettings::at(dir.path().join("spool"));
        settings.patience = Duration::from_millis(20);
        adapt(&mut settings);
        let spool = Spool::open(settings.clone()).unwrap();
        let clock = ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap());
        Self {
            server,
            spool,
            settings,
            clock,
            bus: None,
            tasks: JoinSet::new(),
            rig: Rig::new(Backend::Embedded),
            dir,
        }
    }

    async fn open(&mut self) -> Arc<RedisBus> {
        let mut settings: RedisSettings = self.server.url().parse().unwrap();
        settings.command_timeout = Duration::from_secs(1);
        let redis = Arc::new(RedisBus::open(settings, self.clock.clock()).await.unwrap());
        self.bus = Some(Bus::Redis(Arc::clone(&redis)));
        redis
    }

    async fn drain(&mut self) {
        let redis = self.open().await;
        let spool = self.spool.clone();
        let drain = async move { spool.drain(redis, std::future::pending()).await };
        self.tasks.spawn(drain);
    }

    /// `kill -9` of ingest.
    async fn kill(&mut self) {
        self.tasks.shutdown().await;
        self.bus = None;
        // A copy of the folder has what a killed process leaves, and nobody writes to it.
        let copy = self.dir.path().join(format!("{}-again", self.settings.folder.display()));
        copy_folder(&self.settings.folder, &copy);
        self.settings.folder = copy;
        self.spool = Spool::open(self.settings.clone()).unwrap();
    }

    async fn say(&self, commands: &[&str]) -> String {
        self.server.place().say(commands).await.unwrap()
    }

    async fn append(&self, tenant: &TenantKey, append: Append) -> Result<Taken, BusError> {
        tokio::time::timeout(PATIENCE, self.spool.append(tenant, append)).await.expect("an answer")
    }

    /// Appends one after the other; each must be taken.
    async fn take(&self, tenant: &TenantKey, names: &[String]) {
        for name in names {
            let append = self.rig.event(name);
            assert_eq!(self.append(tenant, append).await.unwrap(), Taken::New, "{name}");
        }
    }

    /// The events that the bus has, in bus order.
    async fn had(&self, tenant: &TenantKey) -> Result<Vec<EventId>, BusError> {
        let bus = self.bus.as_ref().expect("the bus is open");
        let mut all = Vec::new();
        for partition in 0..PARTITIONS {
            all.extend(bus.unrouted(tenant, partition, 0, 10_000).await?);
        }
        all.sort_unstable_by_key(|event| event.seq);
        Ok(all.into_iter().map(|event| event.id).collect())
    }

    /// Waits until the bus has these, in this order, and nothing else.
    async fn has(&self, tenant: &TenantKey, names: &[String]) {
        let expected: Vec<_> = names.iter().map(|name| id(name)).collect();
        let mut seen = Vec::new();
        let came = async {
            let mut tries = tokio::time::interval(Duration::from_millis(20));
            loop {
                tries.tick().await;
                if let Ok(had) = self.had(tenant).await {
                    seen = had;
                    if seen == expected {
                        break;
                    }
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE, came).await;
        assert!(came.is_ok(), "it has {seen:?}, expected {expected:?}");
    }
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("event-{n}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_while_the_bus_was_away_arrives_in_order() {
    let mut site = Site::new(|_| ()).await;
    site.server.kill();
    site.take(&tenant(), &names(0..20)).await;
    assert_eq!(site.spool.figures().waiting, 20);
    site.kill().await;
    assert_eq!(site.spool.figures().waiting, 20, "a killed process leaves it");
    site.take(&tenant(), &names(20..30)).await;
    site.server.start_again().await;
    site.drain().await;
    site.has(&tenant(), &names(0..30)).await;
    // And again with a server that goes away under load.
    site.server.kill();
    site.take(&tenant(), &names(30..40)).await;
    site.server.start_again().await;
    site.take(&tenant(), &names(40..50)).await;
    site.has(&tenant(), &names(0..50)).await;
    assert_eq!(site.spool.figures().waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_that_it_came_before_is_told_of_what() {
    let mut site = Site::new(|settings| settings.patience = PATIENCE).await;
    site.drain().await;
    site.take(&tenant(), &names(0..1)).await;
    let mut again = site.rig.event("event-1");
    again.delivery_key = "github:event-0".into();
    assert_eq!(site.append(&tenant(), again).await.unwrap(), Taken::Duplicate(id("event-0")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_hangs_delays_nobody_and_reorders_nothing() {
    let mut site = Site::new(|_| ()).await;
    site.drain().await;
    site.take(&tenant(), &names(0..5)).await;
    let hang = site.say(&["DEBUG SLEEP 4"]);
    let load = async {
        let answered = async || {
            let ping = site.server.place();
            tokio::time::timeout(Duration::from_millis(200), ping.say(&["PING"])).await.is_ok()
        };
        while answered().await {}
        site.take(&tenant(), &names(5..40)).await;
    };
    let ((), _) = tokio::join!(load, hang);
    site.take(&tenant(), &names(40..45)).await;
    site.has(&tenant(), &names(0..45)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_was_emptied_gets_everything_again_before_what_is_new() {
    let mut site = Site::new(|_| ()).await;
    site.drain().await;
    site.take(&tenant(), &names(0..20)).await;
    site.take(&other(), &names(0..5)).await;
    site.has(&tenant(), &names(0..20)).await;
    site.say(&["FLUSHALL"]).await;
    // Nobody has looked yet: the step itself must find it.
    site.take(&tenant(), &names(20..25)).await;
    site.has(&tenant(), &names(0..25)).await;
    // And of a tenant that sends nothing the look finds it.
    site.has(&other(), &names(0..5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_lost_its_last_events_gets_them_again_before_what_is_new() {
    let mut site = Site::new(|_| ()).await;
    site.drain().await;
    site.take(&tenant(), &names(0..10)).await;
    site.has(&tenant(), &names(0..10)).await;
    let kept = tempfile::tempdir().unwrap();
    let files = site.dir.path().join("appendonlydir");
    copy_folder(&files, kept.path());
    site.take(&tenant(), &names(10..20)).await;
    site.has(&tenant(), &names(0..20)).await;
    site.server.kill();
    std::fs::remove_dir_all(&files).unwrap();
    copy_folder(kept.path(), &files);
    site.server.start_again().await;
    site.take(&tenant(), &names(20..25)).await;
    site.has(&tenant(), &names(0..25)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_begins_again_sends_no_more_than_it_must() {
    let mut site = Site::new(|_| ()).await;
    site.drain().await;
    site.take(&tenant(), &names(0..10)).await;
    site.kill().await;
    assert_eq!(site.spool.figures().waiting, 10, "nobody has told it yet");
    site.drain().await;
    site.take(&tenant(), &names(10..12)).await;
    site.has(&tenant(), &names(0..12)).await;
    let figures = site.say(&["INFO commandstats"]).await;
    assert!(figures.contains("cmdstat_hset"), "{figures}");
    // Twelve events, and one counter of the tenant for each step.
    let calls = figures.split("cmdstat_hset:calls=").nth(1).and_then(|rest| rest.split(',').next());
    assert!(calls.unwrap().parse::<u32>().unwrap() <= 3 * 12, "{figures}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_over_its_quota_is_refused_and_holds_up_nobody() {
    let mut site = Site::new(|settings| settings.patience = PATIENCE).await;
    site.drain().await;
    let one = {
        let event = within(&site, "event-0", 1 << 20);
        assert_eq!(site.append(&tenant(), event).await.unwrap(), Taken::New);
        let depth = site.bus.as_ref().unwrap().depth(&tenant()).await.unwrap();
        depth.pending_bytes
    };
    assert_eq!(label(site.append(&tenant(), within(&site, "event-1", one)).await), "quota");
    assert_eq!(site.append(&other(), within(&site, "event-1", 1 << 20)).await.unwrap(), Taken::New);
    assert_eq!(site.spool.figures().waiting, 0, "what was refused is not kept");
    assert_eq!(site.append(&tenant(), within(&site, "event-2", 1 << 20)).await.unwrap(), Taken::New);
    site.has(&tenant(), &["event-0".into(), "event-2".into()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_before_the_quota_was_known_waits_for_it() {
    let mut site = Site::new(|_| ()).await;
    for name in names(0..5) {
        assert_eq!(site.append(&tenant(), within(&site, &name, 1)).await.unwrap(), Taken::New);
    }
    site.drain().await;
    // It is known as soon as the first one was tried.
    let refused = async {
        let mut tries = tokio::time::interval(Duration::from_millis(20));
        loop {
            tries.tick().await;
            // Each try is an event of its own.
            let outcome = site.append(&tenant(), within(&site, "event-x", 1)).await;
            if outcome.is_err() {
                break label(outcome);
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, refused).await.unwrap(), "quota");
    assert_eq!(site.append(&other(), within(&site, "event-0", 1 << 20)).await.unwrap(), Taken::New);
    site.has(&other(), &names(0..1)).await;
    assert!(site.had(&tenant()).await.unwrap().is_empty());
    // More room for the tenant is heard of with the next event.
    assert_eq!(site.append(&tenant(), within(&site, "event-5", 1 << 20)).await.unwrap(), Taken::New);
    let expected: Vec<_> = names(0..6).iter().map(|name| id(name)).collect();
    let came = async {
        let mut tries = tokio::time::interval(Duration::from_millis(20));
        loop {
            tries.tick().await;
            let mut had = site.had(&tenant()).await.unwrap();
            // Taken or refused, as it came.
            had.retain(|event| *event != id("event-x"));
            if had == expected {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, came).await.expect("they come in order once there is room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_keys_are_broken_holds_up_nobody_and_loses_nothing() {
    for key in ["nexus:{acme/acme}", "nexus:{acme/acme}:ids", "nexus:{acme/acme}:in:"] {
        let mut site = Site::new(|_| ()).await;
        // The mark's name has the spool's id: it is found once something was sent.
        site.drain().await;
        site.take(&tenant(), &names(0..3)).await;
        site.has(&tenant(), &names(0..3)).await;
        let found = site.say(&[&format!("KEYS {key}*")]).await;
        let found = found.lines().map(str::trim).find(|line| match key.ends_with(':') {
            true => line.starts_with(key),
            false => *line == key,
        });
        let key = found.expect("the key is there").to_owned();
        site.say(&[&format!("RENAME {key} away"), &format!("RPUSH {key} broken")]).await;
        site.take(&tenant(), &names(3..10)).await;
        site.take(&other(), &names(0..5)).await;
        site.has(&other(), &names(0..5)).await;
        assert_eq!(site.spool.figures().waiting, 7, "{key}");
        site.say(&[&format!("DEL {key}"), &format!("RENAME away {key}")]).await;
        site.has(&tenant(), &names(0..10)).await;
        assert_eq!(site.spool.figures().waiting, 0);
    }
}

fn within(site: &Site, name: &str, quota: u64) -> Append {
    let mut event = site.rig.event(name);
    event.quota_bytes = quota;
    event
}

/// An event with a body that does not compress.
fn large(site: &Site, name: &str, bytes: usize) -> Append {
    let mut event = site.rig.event(name);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    event.raw.body = noise.flatten().take(bytes).collect();
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_refuses_leaves_room_for_others_and_takes_again() {
    let small =
        |settings: &mut SpoolSettings| (settings.capacity, settings.segment_bytes) = (1 << 20, 64 << 10);
    let mut site = Site::new(small).await;
    let mut taken = Vec::new();
    let refused = loop {
        let name = format!("event-{}", taken.len());
        match site.append(&tenant(), large(&site, &name, 10_000)).await {
            Ok(_) => taken.push(name),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.label(), "full");
    assert!((70..100).contains(&taken.len()), "about four fifths of a MiB: {}", taken.len());
    site.append(&other(), large(&site, "event-0", 10_000)).await.unwrap();
    site.drain().await;
    site.has(&tenant(), &taken).await;
    // What the bus has makes room, though it was to be kept for longer.
    for n in 0..300 {
        site.append(&other(), large(&site, &format!("more-{n}"), 10_000)).await.unwrap();
    }
    let figures = site.spool.figures();
    assert!(figures.disk_bytes <= 1 << 20 && !figures.full, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_few_events_of_a_broken_tenant_do_not_fill_the_disk() {
    let small =
        |settings: &mut SpoolSettings| (settings.capacity, settings.segment_bytes) = (1 << 20, 64 << 10);
    let mut site = Site::new(small).await;
    site.drain().await;
    site.say(&["RPUSH nexus:{acme/acme} broken"]).await;
    let mut waiting = Vec::new();
    for n in 0..400 {
        if n % 20 == 0 {
            let name = format!("rare-{n}");
            site.take(&tenant(), std::slice::from_ref(&name)).await;
            waiting.push(name);
        }
        site.append(&other(), large(&site, &format!("event-{n}"), 10_000)).await.unwrap();
    }
    assert_eq!(site.spool.figures().waiting, waiting.len() as u64);
    site.kill().await;
    site.drain().await;
    site.say(&["DEL nexus:{acme/acme}"]).await;
    site.has(&tenant(), &waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_in_the_bus_for_long_enough_is_removed() {
    let quick = |settings: &mut SpoolSettings| {
        (settings.keep, settings.segment_bytes) = (Duration::from_millis(100), 16 << 10);
    };
    let mut site = Site::new(quick).await;
    let spool = site.spool.clone();
    site.tasks.spawn(async move { spool.care().await.unwrap() });
    for n in 0..20 {
        site.append(&tenant(), large(&site, &format!("event-{n}"), 10_000)).await.unwrap();
    }
    assert!(site.spool.figures().disk_bytes > 200_000);
    site.drain().await;
    let removed = async {
        let mut tries = tokio::time::interval(Duration::from_millis(20));
        while site.spool.figures().disk_bytes > 40_000 {
            tries.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, removed).await.expect("old segments are removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_ends_moves_what_is_left_and_refuses_what_comes() {
    let mut site = Site::new(|_| ()).await;
    site.take(&tenant(), &names(0..10)).await;
    let redis = site.open().await;
    let end = site.spool.drain(redis, std::future::ready(()));
    tokio::time::timeout(PATIENCE, end).await.expect("it ends when nothing waits");
    site.spool.close().await;
    site.has(&tenant(), &names(0..10)).await;
    assert_eq!(label(site.append(&tenant(), site.rig.event("late")).await), "closed");
}

/// The outage is longer than events are kept, and what the bus had last is gone with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_had_is_kept_for_as_long_as_it_cannot_be_asked() {
    let quick = |settings: &mut SpoolSettings| {
        (settings.keep, settings.segment_bytes) = (Duration::from_secs(4), 4 << 10);
    };
    let mut site = Site::new(quick).await;
    site.drain().await;
    site.take(&tenant(), &names(0..20)).await;
    site.server.kill();
    // By the clock everything could go, one segment a second.
    tokio::time::sleep(Duration::from_secs(7)).await;
    std::fs::remove_dir_all(site.dir.path().join("appendonlydir")).unwrap();
    site.server.start_again().await;
    site.take(&tenant(), &names(20..22)).await;
    site.has(&tenant(), &names(0..22)).await;
}

/// What came long after another of the same content is another, also when both wait for the bus.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_key_counts_from_the_receipt() {
    let mut site = Site::new(|_| ()).await;
    let event = |site: &Site, name: &str| {
        let mut event = site.rig.event(name);
        event.delivery_key = "clickup:yes".into();
        event.dedupe_for = Duration::from_secs(60);
        event.received = site.clock.clock().now();
        event
    };
    for name in names(0..3) {
        let event = event(&site, &name);
        assert_eq!(site.append(&tenant(), event).await.unwrap(), Taken::New);
        site.clock.advance(Duration::from_secs(40));
    }
    site.clock.advance(Duration::from_secs(600));
    site.drain().await;
    site.has(&tenant(), &["event-0".into(), "event-2".into()]).await;
}
