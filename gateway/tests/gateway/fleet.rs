//! A gateway among others that share its bus: how it ends, how it is taken for dead, and what comes back with a bus that
//! lost the newest.

use std::path::Path;

use nexus_core::id::GatewayId;
use nexus_store::bus::fleet::Fleet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::client::{Speaks, over_both};
use crate::support::{PATIENCE, World, agent_id, snapshot, tenant, until};

over_both!(who_is_taken_for_dead_tells_its_sessions_when_to_come_again);

/// Another gateway.
struct Other<'w> {
    world: &'w World,
    me: GatewayId,
    heard: u64,
}

impl<'w> Other<'w> {
    async fn enter(world: &'w World) -> Self {
        let me = GatewayId::from_bytes([7; 16]);
        assert!(world.bus.enter(me).await.unwrap());
        Self { world, me, heard: 0 }
    }

    /// Those that live besides this one, with their beats.
    async fn others(&mut self) -> Vec<(GatewayId, u64)> {
        let Fleet { living, .. } = self.world.bus.beat(self.me, self.heard).await.unwrap().unwrap();
        let (own, others): (Vec<_>, _) = living.into_iter().partition(|(gateway, _)| *gateway == self.me);
        self.heard = own[0].1;
        others
    }
}

async fn who_is_taken_for_dead_tells_its_sessions_when_to_come_again(speaks: Speaks) {
    let mut world = World::new(snapshot(&["coder"])).await.speaking(speaks);
    let (mut busy, mut idle) = (world.open("coder", 1).await, world.open("coder", 0).await);
    world.append("@coder please").await;
    busy.delivered().await;
    let mut other = Other::enter(&world).await;
    // Unless it has beaten in between.
    until(async || {
        let [(gateway, beats)] = other.others().await[..] else { return None };
        world.bus.bury(gateway, beats).await.unwrap().then_some(())
    })
    .await;
    for client in [&mut busy, &mut idle] {
        let goodbye = client.goodbye("DRAINING").await;
        assert!(goodbye["reconnectAfter"].is_string(), "{goodbye}");
    }
    let ended = timeout(PATIENCE, world.running.join_next()).await.unwrap().unwrap().unwrap();
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("took this one for dead"), "{error}");
    world.inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_leaves_the_fleet_before_it_has_answered_the_last_request() {
    let mut world = World::new(snapshot(&["coder"])).await;
    let mut request = world.socket(None).await;
    let head = "POST /oauth/token HTTP/1.1\r\nhost: gateway.test\r\nexpect: 100-continue\r\n\
                content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\n";
    request.write_all(head.as_bytes()).await.unwrap();
    // It waits for a body that does not come.
    let mut answer = [0; 25];
    timeout(PATIENCE, request.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    {
        let mut other = Other::enter(&world).await;
        until(async || (other.others().await.len() == 1).then_some(())).await;
        world.drain.cancel();
        until(async || other.others().await.is_empty().then_some(())).await;
    }
    assert!(world.running.try_join_next().is_none(), "the request holds it up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_routes_until_its_last_session_has_ended() {
    let world = World::new(snapshot(&["coder", "other"])).await;
    let mut client = world.open("coder", 0).await;
    world.drain.cancel();
    // It has a second to close its side, and does not.
    let frame = client.next().await;
    assert_eq!(frame["goodbye"]["reason"], "GOODBYE_REASON_DRAINING");
    world.append("@other please").await;
    world.inbox_until("other", |depth| depth.waiting == 1).await;
}

/// A session ends, and then Redis goes back to what it had before: it knows of the session and of what it held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_end_the_bus_forgot_is_ended_once_more() {
    let (world, mut server, files) = World::redis(snapshot(&["coder"])).await;
    let mut client = world.open("coder", 1).await;
    let mut other = world.open("coder", 0).await;
    let event = world.append("@coder please").await;
    assert_eq!(client.delivered().await, (event, 1));
    let before = tempfile::tempdir().unwrap();
    copy(&files.join("appendonlydir"), before.path());
    drop(client);
    world.inbox_until("coder", |depth| depth.held == 0 && depth.waiting == 1).await;
    server.kill();
    std::fs::remove_dir_all(files.join("appendonlydir")).unwrap();
    copy(before.path(), &files.join("appendonlydir"));
    server.start_again().await;
    let depth = async || world.bus.inbox_depth(&tenant(), agent_id("coder").inbox()).await.ok();
    until(async || depth().await.filter(|depth| depth.held == 0 && depth.waiting == 1)).await;
    // The one that is open goes on.
    other.send(serde_json::json!({"grant": {"credit": 1}})).await;
    assert_eq!(other.delivered().await, (event, 2));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
