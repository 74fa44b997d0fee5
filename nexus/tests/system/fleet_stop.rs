//! The second path of a stop: gateways tell each other through Redis, each with objects, policies and a latch of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::agent::{Agents, token};
use crate::fleet::{Fleet, admin, objects};
use crate::harness::{Site, until};

const STOPS: &str = "nexus:{gateways}:stops";

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: nexus.dev/v1alpha1\nkind: NexusPolicy\nmetadata: {{name: stop-all}}\nspec: {{{spec}}}\n"
    )
}

fn sessions(agents: &Agents) -> u32 {
    agents.read(|memory| memory.sessions)
}

async fn connects(what: &str, agents: &Agents) {
    let before = sessions(agents);
    until(what, || async { (sessions(agents) > before).then_some(()) }).await;
}

/// Nobody is admitted, and the agents that try again and again are not either.
async fn refuses(site: &Site, agents: &Agents) {
    let before = sessions(agents);
    let credentials = site.credentials("coder");
    let secret = |name| std::fs::read_to_string(credentials.join(name)).unwrap();
    // One that begins again, as after a FLUSHALL, answers a little later.
    until("it refuses", || async {
        let (id, secret) = (secret("client-id"), secret("client-secret"));
        let refused = token(&site.http, &site.gateway_url(), &id, &secret).await.unwrap_err();
        refused.contains("temporarily_unavailable").then_some(())
    })
    .await;
    assert_eq!(sessions(agents), before, "an agent was admitted");
}

async fn severed(what: &str, agents: &Agents) {
    until(what, || async {
        agents.read(|memory| memory.goodbyes.iter().any(|why| why == "GOODBYE_REASON_STOPPED")).then_some(())
    })
    .await;
}

/// A metric's value.
async fn metric(site: &Site, name: &str) -> Option<f64> {
    let metrics = admin(site, "/metrics").await?;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

async fn measures(site: &Site, name: &str, value: f64) {
    until(&format!("{name} is {value}"), || async { (metric(site, name).await? == value).then_some(()) })
        .await;
}

/// Waits until a gateway has read what others told, once more from now on.
async fn hears_again(site: &Site) {
    let heard = "nexus_stop_heard_timestamp_seconds";
    let before = metric(site, heard).await.unwrap();
    until("it reads what others tell", || async { (metric(site, heard).await? > before).then_some(()) })
        .await;
}

/// The uids under which stops are told.
async fn told(fleet: &Fleet) -> Vec<String> {
    let answer = fleet.redis.say(&format!("HKEYS {STOPS}")).await.unwrap_or_default();
    let mut uids: Vec<_> = answer.lines().filter(|line| line.len() == 36).map(str::to_owned).collect();
    uids.sort();
    uids
}

async fn told_is(fleet: &Fleet, what: &str, uids: &[String]) {
    until(what, || async { (told(fleet).await == uids).then_some(()) }).await;
}

/// The names of the engagements in a gateway's latch file.
fn engagements(site: &Site) -> Vec<String> {
    // There is none until the policies were looked at.
    let Ok(file) = std::fs::read_to_string(site.data.path().join("stop-latch.json")) else {
        return Vec::new();
    };
    let file: Value = serde_json::from_str(&file).unwrap();
    let engagements = file["latch"]["engagements"].as_object().unwrap().values();
    engagements.map(|one| format!("{}-{}", &one["uid"].as_str().unwrap()[..8], one["generation"])).collect()
}

/// Waits until a gateway's latch file holds so many stops.
async fn kept(site: &Site, count: usize) -> Vec<String> {
    until(&format!("{count} stops are kept"), || async {
        let engagements = engagements(site);
        (engagements.len() == count).then_some(engagements)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_one_gateway_sees_stops_all_until_each_sees_its_release() {
    let mut fleet = Fleet::new();
    fleet.redis.start();
    let elsewhere = objects();
    let (sees, second) = (fleet.gateway(0), fleet.gateway_over(1, &elsewhere));
    let [first_site, second_site] = &fleet.gateways;
    for gateway in [first_site, second_site] {
        gateway.ready().await;
    }
    let on_first = Agents::start(first_site, "coder", 1, 4);
    let on_second = Agents::start(second_site, "coder", 1, 4);
    until("both are connected", || async {
        (sessions(&on_first) > 0 && sessions(&on_second) > 0).then_some(())
    })
    .await;

    // The stop stands in one folder only.
    fleet.objects.write("policy.yaml", &policy("stop: true, reason: drill"));
    severed("the agent of the one that sees it is severed", &on_first).await;
    severed("the agent of the one that hears of it is severed", &on_second).await;
    for (site, agents) in [(first_site, &on_first), (second_site, &on_second)] {
        refuses(site, agents).await;
    }
    let [name] = kept(second_site, 1).await.try_into().unwrap();
    assert_eq!(kept(first_site, 1).await, [name.as_str()]);
    let [uid] = told(&fleet).await.try_into().unwrap();
    assert!(name.starts_with(&uid[..8]));
    // Its own policy does not order it, which a person must look at.
    measures(second_site, "nexus_stop_alarms", 1.0).await;
    measures(first_site, "nexus_stop_alarms", 0.0).await;

    // It is stopped before it serves, by its own file, or by what others tell where it has none.
    second.kill().await;
    let second = fleet.gateway_over(1, &elsewhere);
    second_site.ready().await;
    refuses(second_site, &on_second).await;
    second.kill().await;
    std::fs::remove_file(second_site.data.path().join("stop-latch.json")).unwrap();
    let second = fleet.gateway_over(1, &elsewhere);
    second_site.ready().await;
    refuses(second_site, &on_second).await;
    assert_eq!(kept(second_site, 1).await, [name.as_str()]);

    // What Redis loses comes back, and says nothing while it is gone; nor does a Redis that is away.
    fleet.redis.say("FLUSHALL").await.unwrap();
    told_is(&fleet, "the stop is told again", std::slice::from_ref(&uid)).await;
    fleet.redis.kill().await;
    for site in [first_site, second_site] {
        until("it misses what others tell", || async {
            let failures = "nexus_stop_hear_failures_total{error=\"storage\"}";
            (metric(site, failures).await? > 0.0).then_some(())
        })
        .await;
        measures(site, "nexus_stop_engagements", 1.0).await;
    }
    fleet.redis.start();
    told_is(&fleet, "the stop is there after a restart", std::slice::from_ref(&uid)).await;
    for (site, agents) in [(first_site, &on_first), (second_site, &on_second)] {
        hears_again(site).await;
        refuses(site, agents).await;
    }

    // Whoever sees the release runs, though the other goes on telling of the stop.
    fleet.objects.write("policy.yaml", &policy(&format!("release: {name}")));
    connects("the agent of the one that sees the release is back", &on_first).await;
    let goodbyes = on_first.read(|memory| memory.goodbyes.len());
    told_is(&fleet, "the other tells of it still", std::slice::from_ref(&uid)).await;
    hears_again(first_site).await;
    hears_again(first_site).await;
    measures(first_site, "nexus_stop_engagements", 0.0).await;
    assert_eq!(on_first.read(|memory| memory.goodbyes.len()), goodbyes);
    refuses(second_site, &on_second).await;
    // Also after a restart, and without the release in the policy.
    assert!(sees.terminate().await.success());
    fleet.objects.write("policy.yaml", &policy(""));
    let sees = fleet.gateway(0);
    connects("it serves its agents", &on_first).await;
    hears_again(first_site).await;
    measures(first_site, "nexus_stop_engagements", 0.0).await;

    elsewhere.write("policy.yaml", &policy(&format!("release: {name}")));
    connects("the agent of the other is back", &on_second).await;
    told_is(&fleet, "nothing is told any more", &[]).await;
    hears_again(second_site).await;
    measures(second_site, "nexus_stop_engagements", 0.0).await;
    measures(second_site, "nexus_stop_alarms", 0.0).await;
    for gateway in [sees, second] {
        assert!(gateway.terminate().await.success());
    }
}

/// The bus cannot be opened: its Redis drops events when its memory is full. Stops pass all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_needs_no_bus_to_travel() {
    let mut fleet = Fleet::new();
    fleet.redis.start();
    for setting in ["maxmemory 100mb", "maxmemory-policy allkeys-lru"] {
        until(&format!("{setting} is set"), || async {
            let answer = fleet.redis.say(&format!("CONFIG SET {setting}")).await.ok()?;
            answer.starts_with("+OK").then_some(())
        })
        .await;
    }
    let elsewhere = objects();
    let gateways = [fleet.gateway(0), fleet.gateway_over(1, &elsewhere)];
    let [first_site, second_site] = &fleet.gateways;
    for site in [first_site, second_site] {
        measures(site, "nexus_stop_engagements", 0.0).await;
    }
    fleet.objects.write("policy.yaml", &policy("stop: true"));
    let names = kept(first_site, 1).await;
    assert_eq!(kept(second_site, 1).await, names);
    let waiting = admin(second_site, "/readyz").await.unwrap();
    assert!(waiting.contains("the bus at"), "{waiting}");
    for gateway in gateways {
        assert!(gateway.terminate().await.success());
    }
}

/// A version of the board that no gateway has read.
async fn touch(fleet: &Fleet) {
    static LAST: AtomicU64 = AtomicU64::new(1);
    let next = LAST.fetch_add(1, Ordering::Relaxed);
    fleet.redis.say(&format!("HSET {STOPS} version {next}")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_stops_and_releases_nobody() {
    let mut fleet = Fleet::new();
    fleet.redis.start();
    let gateways = [fleet.gateway(0), fleet.gateway(1)];
    let [first_site, second_site] = &fleet.gateways;
    for site in [first_site, second_site] {
        site.ready().await;
    }
    let on_first = Agents::start(first_site, "coder", 1, 4);
    connects("an agent is connected", &on_first).await;
    let odd = [
        "odd no_json",
        "odder \"1 {\"",
        "oddest \"1 {\\\"version\\\":2}\"",
        "void \"1 {\\\"version\\\":1,\\\"engagement\\\":{}}\"",
    ];
    for entry in odd {
        fleet.redis.say(&format!("HSET {STOPS} {entry}")).await.unwrap();
    }
    touch(&fleet).await;
    for site in [first_site, second_site] {
        measures(site, "nexus_stop_broken_entries", 4.0).await;
        measures(site, "nexus_stop_engagements", 0.0).await;
    }
    // A stop passes beside them. Each gateway has seen the same file as an object of its own.
    fleet.objects.write("policy.yaml", &policy("stop: true"));
    severed("the agent is severed", &on_first).await;
    let names = kept(first_site, 2).await;
    assert_eq!(kept(second_site, 2).await, names);
    // What stands under a stop's own uid and cannot be read is told anew.
    let uids = told(&fleet).await;
    fleet.redis.say(&format!("HSET {STOPS} {} \"1 {{\"", uids[0])).await.unwrap();
    touch(&fleet).await;
    until("it is told anew", || async {
        let entry = fleet.redis.say(&format!("HGET {STOPS} {}", uids[0])).await.ok()?;
        entry.contains("\"stop-all\"").then_some(())
    })
    .await;
    for site in [first_site, second_site] {
        measures(site, "nexus_stop_broken_entries", 4.0).await;
        assert_eq!(engagements(site), names);
    }
    // Two objects that engaged need two releases, whoever holds them.
    fleet.objects.write("policy.yaml", &policy(&format!("release: {}", names[0])));
    for site in [first_site, second_site] {
        assert_eq!(kept(site, 1).await, [names[1].as_str()]);
    }
    refuses(first_site, &on_first).await;
    fleet.objects.write("policy.yaml", &policy(&format!("release: {}", names[1])));
    connects("the agent is back", &on_first).await;
    told_is(&fleet, "nothing is told any more", &[]).await;
    for gateway in gateways {
        assert!(gateway.terminate().await.success());
    }
}
