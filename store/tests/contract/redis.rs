//! Faults of a Redis server under the bus: what the contract cannot say of every backend.

use std::path::Path;
use std::time::Duration;

use nexus_core::clock::ManualClock;
use nexus_store::bus::{Appended, Bus, Copy, HandOut};
use nexus_store::redis::{Durability, DurabilityClass, RedisSettings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::rig::server::{Server, Trio, free_port};
use super::rig::*;

/// How long anything may take to come right again.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A server of its own with a bus that is quick to give a command up.
pub(super) struct Faulty {
    pub(super) rig: Rig,
    server: Server,
    _dir: TempDir,
}

async fn open(url: &str) -> Result<Bus, nexus_store::bus::BusError> {
    open_at(url, &ManualClock::at("2026-11-24T07:00:00Z".parse().unwrap())).await
}

async fn open_at(url: &str, clock: &ManualClock) -> Result<Bus, nexus_store::bus::BusError> {
    let mut settings: RedisSettings = url.parse().unwrap();
    settings.command_timeout = Duration::from_secs(1);
    Bus::open_redis(settings, clock.clock()).await
}

impl Faulty {
    pub(super) async fn start(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), more).await;
        // The rig only makes events and calls the bus.
        let mut rig = Rig::new(Backend::Embedded);
        rig.bus = open_at(&server.url(), &rig.clock).await.unwrap();
        Self { rig, server, _dir: dir }
    }

    pub(super) async fn say(&self, commands: &[&str]) -> String {
        self.server.place().say(commands).await.unwrap()
    }

    /// Asks while the server hangs for longer than a command may take; it does afterwards what it was sent. For a server that
    /// was started with `--enable-debug-command yes`.
    pub(super) async fn while_it_hangs<T>(&self, asked: impl Future<Output = T>) -> T {
        let hang = self.say(&["DEBUG SLEEP 5"]);
        let asked = async {
            let answered = async || {
                let ping = self.server.place();
                tokio::time::timeout(Duration::from_millis(200), ping.say(&["PING"])).await.is_ok()
            };
            while answered().await {}
            asked.await
        };
        tokio::join!(hang, asked).1
    }
}

/// Appends until it succeeds, as ingest does.
pub(super) async fn append_again(rig: &Rig, name: &str) -> Appended {
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    let again = async {
        loop {
            tries.tick().await;
            match rig.bus.append(&tenant(), rig.event(name)).await {
                Ok(appended) => break appended,
                Err(error) => assert_eq!(error.label(), "storage"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the bus takes no events")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_found_again() {
    let Faulty { rig, mut server, _dir } = Faulty::start(&[]).await;
    rig.fill(&["a", "b"], inbox(1)).await;
    assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 1).await), ids(&["a"]));
    let mut identity = rig.bus.identity();
    let before = identity.borrow_and_update().to_string();
    server.kill();
    assert_eq!(label(rig.bus.append(&tenant(), rig.event("c")).await), "storage");
    assert_eq!(label(rig.bus.unrouted(&tenant(), 0, 0, 9).await), "storage");
    let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
    server.start_again().await;
    append_again(&rig, "c").await;
    // A new server knows no script. It has what was held, and who listens is told to look.
    changed(&mut watch).await;
    tokio::time::timeout(PATIENCE, identity.changed()).await.unwrap().unwrap();
    assert_ne!(before, identity.borrow().to_string());
    assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["b"]));
    assert_eq!(rig.ack(session(1), &["a"]).await, 1);
    watch.mark_unchanged();
    rig.route(&[inbox(1)]).await;
    changed(&mut watch).await;
    assert_eq!(rig.bus.tenants().await.unwrap(), [tenant()]);
}

/// The server lost acknowledgements: what the session was done with returns, what it still has stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_no_longer_has_returns_when_it_tells() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    rig.fill(&["a", "b", "c"], inbox(1)).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "b", "c"]));
    let retain =
        async |names: &[&str]| rig.bus.retain_session(&tenant(), session(1), ids(names)).await.unwrap();
    assert_eq!(retain(&["a", "b", "c", "z"]).await, 0);
    assert_eq!(retain(&["b"]).await, 2);
    assert_eq!(retain(&["b"]).await, 0);
    assert_eq!(rig.ack(session(1), &["b"]).await, 1);
    let held = rig.pull(inbox(1), session(2), 9).await;
    assert_eq!(
        held.iter().map(|held| (held.id, held.attempt)).collect::<Vec<_>>(),
        [(id("a"), 2), (id("c"), 2)]
    );
}

/// One inbox of two is of another type. Nothing is half done: what was routed waits as before, its changes unclaimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_fails_in_the_middle_leaves_nothing() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    rig.store_all(&["a", "b"]).await;
    let waiting = rig.unrouted().await;
    let broken = format!("nexus:{{acme/acme}}:i:{}:w", inbox(2).uuid().simple());
    let keys = async || faulty.say(&["DBSIZE"]).await;
    let before = keys().await;
    faulty.say(&[&format!("SET {broken} x")]).await;
    for (partition, seq, _) in &waiting {
        let epoch = rig.bus.acquire(&tenant(), *partition).await.unwrap();
        let routes = vec![to(*seq, &[inbox(1), inbox(2), inbox(3)])];
        assert_eq!(
            label(rig.bus.route(&tenant(), *partition, epoch, routes, HandOut::Nothing).await),
            "storage"
        );
    }
    assert_eq!(rig.unrouted().await, waiting);
    faulty.say(&[&format!("DEL {broken}")]).await;
    assert_eq!(keys().await, before);
    assert!(rig.pull_ids(inbox(1), session(1)).await.is_empty());
    rig.route(&[inbox(1), inbox(2), inbox(3)]).await;
    for n in 1..=3 {
        assert_eq!(rig.pull_ids(inbox(n), session(n)).await, ids(&["a", "b"]));
    }
}

/// An inbox is of another type for a while. What a session lets go of meanwhile is its own until there is a place for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_back_is_not_lost() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    rig.fill(&["a", "b", "c"], inbox(1)).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "b", "c"]));
    assert!(rig.nack(session(1), "c", HOUR).await);
    let broken = format!("nexus:{{acme/acme}}:i:{}:w", inbox(1).uuid().simple());
    faulty.say(&[&format!("SET {broken} x")]).await;
    let tenant = tenant();
    let nack = || rig.bus.nack(&tenant, session(1), id("a"), Duration::ZERO, String::new());
    assert_eq!(label(nack().await), "storage");
    let end = || rig.bus.end_session(&tenant, session(1), Vec::new());
    assert_eq!(label(end().await), "storage");
    // The delay ends meanwhile, and every pull fails.
    rig.clock.advance(2 * HOUR);
    assert_eq!(label(rig.bus.pull(&tenant, inbox(1), session(2), 9, 1 << 20).await), "storage");
    faulty.say(&[&format!("DEL {broken}")]).await;
    assert_eq!(end().await.unwrap(), 2);
    let held = rig.pull(inbox(1), session(2), 9).await;
    let attempts: Vec<_> = held.iter().map(|held| (held.id, held.attempt)).collect();
    assert_eq!(attempts, [(id("a"), 2), (id("b"), 2), (id("c"), 2)]);
    assert_eq!(rig.ack(session(2), &["a", "b", "c"]).await, 3);
    assert_eq!(rig.bus.depth(&tenant).await.unwrap().pending_bytes, 0);
}

/// Somebody deleted a payload. That is told, and holds up nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_its_payload_is_handed_out_empty() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    rig.fill(&["a", "b"], inbox(1)).await;
    let deleted = format!("DEL nexus:{{acme/acme}}:v:{}", id("a").uuid().simple());
    assert_eq!(faulty.say(&[&deleted]).await.trim(), ":1");
    // Another process, which has not read it before.
    let bus = open_at(&faulty.server.url(), &rig.clock).await.unwrap();
    let held = bus.pull(&tenant(), inbox(1), session(1), 9, 1 << 20).await.unwrap();
    let lengths: Vec<_> = held.iter().map(|held| (held.id, held.event.is_empty())).collect();
    assert_eq!(lengths, [(id("a"), true), (id("b"), false)]);
}

/// A payload lasts only once its event is appended: what never is, is cleared up by the server.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_appended_lasts() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    rig.store_all(&["a"]).await;
    let mut again = rig.event("a");
    again.id = id("twin");
    assert_eq!(rig.bus.append(&tenant(), again).await.unwrap(), Appended::Duplicate(id("a")));
    let life = async |name: &str| {
        let ttl = format!("TTL nexus:{{acme/acme}}:v:{}", id(name).uuid().simple());
        faulty.say(&[&ttl]).await.trim().trim_start_matches(':').parse::<i64>().unwrap()
    };
    assert_eq!(life("a").await, -1, "it lasts");
    assert!((1..=600).contains(&life("twin").await), "it goes by itself");
}

/// A server that keeps all may become one that does not, by a failover or by its admin.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_begins_to_drop_events_ends_the_bus() {
    let faulty = Faulty::start(&["--maxmemory", "100mb"]).await;
    let ended = faulty.rig.bus.ended();
    faulty.say(&["CONFIG SET maxmemory-policy allkeys-lru", "CLIENT KILL TYPE normal SKIPME yes"]).await;
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(label(faulty.rig.bus.append(&tenant(), faulty.rig.event("a")).await), "closed");
}

/// What stands of a thread outlived the session that it names: nobody waits for one that holds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_a_session_that_holds_nothing_is_free() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    rig.fill(&["a"], inbox(1)).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
    let h = format!("nexus:{{acme/acme}}:i:{}:h", inbox(1).uuid().simple());
    let at = faulty.say(&[&format!("HGETALL {h}")]).await;
    let thread = at.lines().nth(2).unwrap().trim();
    assert!(rig.nack(session(1), "a", Duration::ZERO).await);
    assert_eq!(faulty.say(&[&format!("HLEN {h}")]).await.trim(), ":0");
    faulty.say(&[&format!("HSET {h} {thread} {}:7", session(1).uuid().simple())]).await;
    assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["a"]));
    assert_eq!(rig.ack(session(2), &["a"]).await, 1);
    assert_eq!(faulty.say(&[&format!("HLEN {h}")]).await.trim(), ":0");
}

/// One event that nobody handles is passed by the sweep, and found again once it is handled.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_does_not_begin_again_at_what_nobody_handles() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    rig.fill(&["kept"], inbox(1)).await;
    let names: Vec<_> = (0..300).map(|n| format!("{n}")).collect();
    rig.fill(&names.iter().map(String::as_str).collect::<Vec<_>>(), inbox(2)).await;
    while let gone = rig.pull_ids(inbox(2), session(2)).await
        && !gone.is_empty()
    {
        rig.bus.ack(&tenant(), session(2), gone).await.unwrap();
    }
    rig.clock.advance(2 * DAY);
    assert_eq!(rig.sweep(DAY).await, 300);
    let first = faulty.say(&["HGET nexus:{acme/acme} first"]).await;
    assert!(first.trim().ends_with("302"), "{first}");
    let writes = async || {
        let info = faulty.say(&["INFO persistence"]).await;
        info.lines().find(|line| line.starts_with("rdb_changes_since_last_save")).unwrap().to_owned()
    };
    let before = writes().await;
    assert_eq!(rig.sweep(DAY).await, 0);
    assert_eq!(writes().await, before, "a sweep without work writes nothing");
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["kept"]));
    rig.ack(session(1), &["kept"]).await;
    assert_eq!(rig.sweep(DAY).await, 1);
}

/// As a table it would take three times the memory for as long as it is kept, and the change costs more than all else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_an_event_stays_a_flat_list() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    let encoding = async || faulty.say(&["OBJECT ENCODING nexus:{acme/acme}:e:1"]).await;
    rig.store_all(&["a"]).await;
    assert!(encoding().await.contains("listpack"));
    rig.route(&[inbox(1), inbox(2)]).await;
    for (n, inbox) in (1..).zip([inbox(1), inbox(2)]) {
        assert_eq!(rig.pull_ids(inbox, session(n)).await, ids(&["a"]));
        rig.clock.advance(HOUR);
        assert_eq!(rig.ack(session(n), &["a"]).await, 1);
    }
    assert!(encoding().await.contains("listpack"));
    let copies = rig.bus.event(&tenant(), ids(&["a"])[0]).await.unwrap().unwrap().copies;
    let took = copies.iter().map(|(_, copy)| match copy {
        Copy::Done { delivered, acked, .. } => acked.duration_since(*delivered).as_secs(),
        other => panic!("{other:?}"),
    });
    assert_eq!(took.collect::<Vec<_>>(), [3600, 3600]);
}

/// The look of each second would hide that nobody was told, so the wake-ups themselves are counted.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_what_hid_the_rest_wakes_the_inbox_once() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    let wakes = async || faulty.say(&["HGET nexus:{acme/acme} wakes"]).await;
    for n in 0..=600 {
        let mut event = rig.event(&format!("{n}"));
        event.thread_key = if n < 600 { "long" } else { "other" }.into();
        rig.store(event).await;
    }
    rig.route(&[inbox(1)]).await;
    assert_eq!(rig.pull(inbox(1), session(1), 1).await.len(), 1);
    let before = wakes().await;
    // Nothing is hidden from anybody yet who looked; and who looks in vain tells nobody.
    assert_eq!(rig.pull(inbox(1), session(1), 1).await.len(), 1);
    assert!(rig.pull(inbox(1), session(2), 1).await.is_empty());
    assert_eq!(wakes().await, before);
    assert_eq!(rig.pull(inbox(1), session(1), 200).await.len(), 200);
    let told = wakes().await;
    assert_ne!(told, before);
    assert_eq!(rig.pull(inbox(1), session(1), 1).await.len(), 1);
    assert_eq!(rig.pull(inbox(1), session(2), 1).await.len(), 1);
    assert_eq!(wakes().await, told);
}

/// A wake-up came to nothing and the counter does not tell: the look finds what waits all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_found_without_a_wake_up() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    let mut watches: Vec<_> = (1..=200).map(|n| rig.bus.watch_inbox(&tenant(), inbox(n))).collect();
    let w = format!("nexus:{{acme/acme}}:i:{}:w", inbox(199).uuid().simple());
    watches.iter_mut().for_each(|watch| watch.mark_unchanged());
    faulty.say(&[&format!("ZADD {w} 1 1")]).await;
    changed(&mut watches[198]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pull_took_whose_answer_was_lost_comes_back_untried() {
    let faulty = Faulty::start(&["--enable-debug-command", "yes"]).await;
    let rig = &faulty.rig;
    let names: Vec<_> = (0..20).map(|n| format!("{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    rig.fill(&names, inbox(1)).await;
    // From here on the server knows the script.
    assert!(rig.pull_ids(inbox(2), session(1)).await.is_empty());
    let acme = tenant();
    let pull = Box::pin(rig.bus.pull(&acme, inbox(1), session(1), 7, 1 << 20));
    assert_eq!(label(faulty.while_it_hangs(pull).await), "storage");
    append_again(rig, "last").await;
    let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
    let mut got = Vec::new();
    while got.len() < names.len() {
        let more = rig.pull(inbox(1), session(2), 100).await;
        if more.is_empty() {
            changed(&mut watch).await;
        }
        got.extend(more.into_iter().map(|held| (held.id, held.attempt)));
    }
    let attempts: Vec<_> = got.iter().map(|(_, attempt)| *attempt).collect();
    assert_eq!(attempts, vec![1; names.len()], "none was ever in anybody's hands");
    assert_eq!(rig.end(session(1)).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_emptied_is_another() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    rig.store_all(&["a", "b"]).await;
    let epochs = rig.own_all().await;
    let mut identity = rig.bus.identity();
    identity.mark_unchanged();
    faulty.say(&["FLUSHALL"]).await;
    tokio::time::timeout(PATIENCE, identity.changed()).await.unwrap().unwrap();
    // Who still has it sends it again.
    assert_eq!(append_again(rig, "b").await, Appended::Stored(1));
    assert_eq!(rig.bus.tenants().await.unwrap(), [tenant()]);
    // A reader from before reads from the start, and an owner from before is none.
    let partition = nexus_store::bus::partition_of("acme/shop#b");
    let found = rig.bus.unrouted(&tenant(), partition, 2, 9).await.unwrap();
    assert_eq!(found[0].id, id("b"));
    let (old, routes) = (epochs[usize::from(partition)], vec![to(1, &[inbox(1)])]);
    assert_eq!(
        label(rig.bus.route(&tenant(), partition, old, routes.clone(), HandOut::Nothing).await),
        "fenced"
    );
    rig.clock.advance(HOUR);
    let new = rig.bus.acquire(&tenant(), partition).await.unwrap();
    assert!(new > old);
    rig.bus.route(&tenant(), partition, new, routes, HandOut::Nothing).await.unwrap();
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["b"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_takes_nothing_more_and_gives_out_what_it_has() {
    let faulty = Faulty::start(&["--maxmemory-policy", "noeviction"]).await;
    let rig = &faulty.rig;
    rig.fill(&["a", "b"], inbox(1)).await;
    rig.store_all(&["c"]).await;
    faulty.say(&["CONFIG SET maxmemory 1"]).await;
    assert_eq!(label(rig.bus.append(&tenant(), rig.event("d")).await), "storage");
    // What makes room goes on.
    rig.route(&[inbox(1)]).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a", "b", "c"]));
    assert!(rig.nack(session(1), "b", Duration::ZERO).await);
    assert_eq!(rig.ack(session(1), &["a", "c"]).await, 2);
    rig.clock.advance(2 * DAY);
    assert_eq!(rig.sweep(DAY).await, 2);
    assert_eq!(label(rig.bus.append(&tenant(), rig.event("d")).await), "storage");
    faulty.say(&["CONFIG SET maxmemory 0"]).await;
    assert_eq!(append_again(rig, "d").await, Appended::Stored(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn wake_ups_come_again_after_their_connection_was_cut() {
    let faulty = Faulty::start(&[]).await;
    let rig = &faulty.rig;
    let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
    for round in 0..3 {
        faulty.say(&["CLIENT KILL TYPE pubsub"]).await;
        rig.fill(&[&format!("{round}")], inbox(1)).await;
        changed(&mut watch).await;
        while rig.pull_ids(inbox(1), session(1)).await.is_empty() {
            changed(&mut watch).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_durability_of_the_server_is_told() {
    let faulty = Faulty::start(&[]).await;
    let bus = &faulty.rig.bus;
    assert_eq!(bus.durability(), Durability { class: DurabilityClass::Always, replicas: 0, evicts: None });
    let place = faulty.server.place();
    let class = async |commands: &[&str], url: &str| {
        let answer = place.say(commands).await.unwrap();
        assert!(!answer.contains("-ERR"), "{answer}");
        open(url).await.map(|bus| bus.durability().class)
    };
    let url = faulty.server.url();
    assert_eq!(
        class(&["CONFIG SET appendfsync everysec"], &url).await.unwrap(),
        DurabilityClass::EverySecond
    );
    assert_eq!(class(&["CONFIG SET appendonly no"], &url).await.unwrap(), DurabilityClass::Memory);
    // A user who may do all that the bus needs, and no more.
    let rights = "~nexus:* &nexus:* +@read +@write +eval +evalsha +@pubsub +@connection +info +role -config";
    let user = format!("ACL SETUSER bus on >p@ss {rights}");
    let known = url.replace("redis+unix://", "redis+unix://bus:p%40ss@");
    assert_eq!(class(&[&user], &known).await.unwrap(), DurabilityClass::Unknown);
    let bus = open(&known).await.unwrap();
    let mut rig = Rig::new(Backend::Embedded);
    rig.bus = bus;
    rig.fill(&["a"], inbox(1)).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
    // A server that makes room by dropping events is none to keep them in.
    let evicts = ["CONFIG SET maxmemory 1000000000", "CONFIG SET maxmemory-policy allkeys-lru"];
    let refused = class(&evicts, &url).await.unwrap_err();
    assert!(format!("{refused:?}").contains("allkeys-lru"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_and_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    server.place().say(&["ACL SETUSER bus on >right ~* &* +@all"]).await.unwrap();
    let url = server.url().replace("redis+unix://", "redis+unix://bus:hunter2@");
    let error = open(&url).await.unwrap_err();
    assert_eq!(error.label(), "storage");
    let told = format!("{error} {error:?}");
    assert!(told.contains("WRONGPASS") && !told.contains("hunter2"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_an_error_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("redis+unix://{}", dir.path().join("none.sock").display());
    let error = tokio::time::timeout(PATIENCE, open(&url)).await.expect("it hangs").unwrap_err();
    assert_eq!(error.label(), "storage");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_followed_without_a_restart() {
    let mut trio = Trio::start().await;
    let mut rig = Rig::new(Backend::Embedded);
    rig.bus = open(&trio.url(0)).await.unwrap();
    rig.fill(&["a", "b"], inbox(1)).await;
    assert_eq!(ids_of(&rig.pull(inbox(1), session(1), 1).await), ids(&["a"]));
    let mut watch = rig.bus.watch_inbox(&tenant(), inbox(1));
    let mut identity = rig.bus.identity();
    identity.mark_unchanged();
    // All of it has reached the replica.
    let answer = trio.master.say(&["WAIT 1 30000"]).await.unwrap();
    assert!(answer.contains(":1"), "{answer}");
    trio.kill_master();
    append_again(&rig, "c").await;
    tokio::time::timeout(PATIENCE, identity.changed()).await.unwrap().unwrap();
    changed(&mut watch).await;
    assert_eq!(append_again(&rig, "a").await, Appended::Duplicate(id("a")));
    assert_eq!(rig.ack(session(1), &["a"]).await, 1);
    watch.mark_unchanged();
    rig.route(&[inbox(1)]).await;
    changed(&mut watch).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["b", "c"]));
}

/// Writes a certificate of an authority, its key, and one for `localhost` into a folder.
fn write_certificates(dir: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).unwrap();
    std::fs::write(dir.join("ca.pem"), certificate.pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let of_host = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("server.pem"), of_host.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_over_tls_is_trusted_by_its_authority_alone() {
    let dir = tempfile::tempdir().unwrap();
    write_certificates(dir.path());
    let port = free_port();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (ca, certificate, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
    let port_text = port.to_string();
    let tls = ["--tls-port", &port_text, "--tls-auth-clients", "no", "--tls-ca-cert-file", &ca];
    let more = [&tls[..], &["--tls-cert-file", &certificate, "--tls-key-file", &key]].concat();
    let server = Server::start(dir.path(), &more).await;
    server.place().say(&["ACL SETUSER bus on >word ~nexus:* &* +@all"]).await.unwrap();
    let mut rig = Rig::new(Backend::Embedded);
    rig.bus = open(&format!("rediss://bus:word@localhost:{port}/7?ca={ca}")).await.unwrap();
    rig.fill(&["a"], inbox(1)).await;
    assert_eq!(rig.pull_ids(inbox(1), session(1)).await, ids(&["a"]));
    assert!(server.place().say(&["INFO keyspace"]).await.unwrap().contains("db7:"));
    // Another authority, the system's, another name, and no TLS at all.
    let other = tempfile::tempdir().unwrap();
    write_certificates(other.path());
    let stranger = other.path().join("ca.pem").display().to_string();
    for url in [
        format!("rediss://bus:word@localhost:{port}?ca={stranger}"),
        format!("rediss://bus:word@localhost:{port}"),
        format!("rediss://bus:word@127.0.0.1:{port}?ca={ca}"),
        format!("redis://bus:word@localhost:{port}"),
        format!("rediss://bus:word@localhost:{port}?ca={key}"),
        format!("rediss://bus:word@localhost:{port}?ca={ca}.none"),
    ] {
        let refused = tokio::time::timeout(PATIENCE, open(&url)).await.expect("it hangs");
        assert_eq!(refused.unwrap_err().label(), "storage", "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_dead_gateway_takes_nothing_whichever_process_asks() {
    let faulty = Faulty::start(&[]).await;
    let (rig, survivor) = (&faulty.rig, open(&faulty.server.url()).await.unwrap());
    rig.fill(&["a", "b"], inbox(1)).await;
    assert_eq!(rig.pull(inbox(1), session(1), 1).await.len(), 1);
    assert_eq!(survivor.bury_session(&tenant(), session(1)).await.unwrap(), 1);
    // The process of the session stood still, and pulls on.
    assert!(rig.pull(inbox(1), session(1), 9).await.is_empty());
    assert!(survivor.pull(&tenant(), inbox(1), session(1), 9, usize::MAX).await.unwrap().is_empty());
    assert_eq!(rig.pull_ids(inbox(1), session(2)).await, ids(&["a", "b"]));
}
