//! A session step by step, over a real bus and a real socket.

use futures_util::FutureExt as _;
use nexus_runtime::Drain;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::*;
use crate::presence::Entered;
use crate::session::sever::Admitted;
use crate::session::transport::Transport;
use crate::world::{World, secret, stop_all};

/// Nothing that a test waits for takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A session to which the agent has said Hello, and the agent's end of the connection.
async fn open<'a>(world: &'a World, entered: &'a Entered, credit: u32) -> (Session<'a>, TcpStream) {
    let listener = TcpSocket::new_v4().unwrap();
    // So that a large event cannot be written unless the agent reads.
    listener.set_send_buffer_size(4096).unwrap();
    listener.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = listener.listen(1).unwrap();
    let agent = TcpSocket::new_v4().unwrap();
    agent.set_recv_buffer_size(4096).unwrap();
    let agent = agent.connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let admitted = Admitted { agent: world.agent(), credential: Some(secret().digest()) };
    let transport = Transport::websocket(stream).await;
    let mut session = Session::over(&world.shared, &world.tenant, admitted, entered, transport).unwrap();
    let hello = nexus_wire::frame::parse(&format!(r#"{{"hello":{{"credit":{credit}}}}}"#));
    let hello = [Received::Frame(hello)];
    session.state.receive(&session.identity, hello, Instant::now());
    (session, agent)
}

/// Reads and forgets, so that writing never waits.
async fn read_all(mut agent: impl AsyncRead + Unpin) {
    let mut bytes = vec![0; 64 * 1024];
    while agent.read(&mut bytes).await.unwrap() > 0 {}
}

/// Reads what a session sends until it says this.
async fn hear(agent: &mut TcpStream, what: &str) -> String {
    let mut text = String::new();
    while !text.contains(what) {
        let mut bytes = [0; 4096];
        let count = timeout(PATIENCE, agent.read(&mut bytes)).await.expect("it says nothing").unwrap();
        assert!(count > 0, "closed after {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    text
}

#[tokio::test]
async fn what_did_not_fit_into_one_pull_is_pulled_next() {
    let world = World::new();
    let entered = world.enter();
    let (mut session, agent) = open(&world, &entered, 3).await;
    // The second does not fit behind the first; nothing wakes the session between the two pulls.
    for size in [10_000, 300_000, 10_000] {
        world.post(size).await;
    }
    tokio::select! {
        fed = session.feed() => fed.unwrap(),
        () = read_all(agent) => panic!("closed"),
    }
    assert_eq!((session.state.held(), session.state.credit()), (3, 0));
    assert!(!session.state.can_deliver());
}

#[tokio::test]
async fn an_inbox_counts_as_empty_once_a_pull_leaves_nothing() {
    let world = World::new();
    let entered = world.enter();
    let (mut session, _agent) = open(&world, &entered, 3).await;
    world.post(10).await;
    // More than the credit waits: what is left is pulled once there is more.
    world.post(11).await;
    world.post(12).await;
    world.post(13).await;
    assert!(session.pull().await.unwrap() && session.inboxes.any_ready());
    assert!(!session.pull().await.unwrap() && session.inboxes.any_ready());
    let grant = [Received::Frame(nexus_wire::frame::parse(r#"{"grant":{"credit":3}}"#))];
    session.state.receive(&session.identity, grant, Instant::now());
    assert!(session.pull().await.unwrap() && !session.inboxes.any_ready());
    assert!(!session.pull().await.unwrap());
    assert_eq!(session.state.held(), 4);
}

#[tokio::test]
async fn what_was_pulled_before_a_stop_is_not_delivered_after_it() {
    let world = World::new();
    let entered = world.enter();
    let (mut session, _agent) = open(&world, &entered, 3).await;
    world.post(10).await;
    assert!(session.pull().await.unwrap() && session.state.can_deliver());
    world.lane.observe(&[stop_all()]).unwrap();
    let end = session.deliver().await.unwrap_err();
    assert!(matches!(end, End::Stopped { .. }), "{end:?}");
    assert!(!session.transport.is_unsent(), "nothing was handed to the socket");
    assert_eq!(session.state.credit(), 3);
}

#[tokio::test]
async fn a_stop_cuts_off_an_agent_that_does_not_read() {
    let mut world = World::new();
    // No other deadline may come to the rescue.
    world.shared.settings.write_deadline = Duration::from_secs(3600);
    let world = world;
    let entered = world.enter();
    let (mut session, mut agent) = open(&world, &entered, 1).await;
    world.post(500_000).await;
    let drain = Drain::new();
    let stop = async {
        // The session writes once something comes, and cannot have done.
        assert!(agent.peek(&mut [0]).await.unwrap() > 0);
        world.lane.observe(&[stop_all()]).unwrap();
        std::future::pending::<()>().await
    };
    let end = tokio::select! {
        end = session.run(world.shared.gate.clone(), &drain) => end,
        () = stop => panic!("it waits for ever"),
        () = tokio::time::sleep(PATIENCE) => panic!("a stop waits for nothing"),
    };
    assert!(matches!(end, End::Stopped { .. }), "{end:?}");
    assert!(session.transport.is_unsent());
    Box::pin(session.close(&end)).await;
    let inbox = world.agent().inbox();
    let depth = world.shared.bus.inbox_depth(&world.tenant, inbox).await.unwrap();
    assert_eq!((depth.held, depth.waiting), (0, 1));
    let mut read = Vec::new();
    let cut = agent.read_to_end(&mut read).await.unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(read.len() < 500_000, "{}", read.len());
}

/// A Close without a reason, of a client, masked with nothing.
const CLOSE: [u8; 6] = [0x88, 0x80, 0, 0, 0, 0];

#[tokio::test]
async fn in_a_stop_an_agent_has_until_all_have_said_goodbye_to_close() {
    let mut world = World::new();
    // One that stops alone is looked at once.
    world.shared.settings.stop_patience = Duration::ZERO;
    let world = world;
    let entered = [world.enter(), world.enter()];
    let (reads, mut reader) = open(&world, &entered[0], 1).await;
    let (ignored, mut other) = open(&world, &entered[1], 1).await;
    let engagement: nexus_core::stop::EngagementName = "1f2e3d4c-2".parse().unwrap();
    let end = End::Stopped { engagement: Some(engagement.clone()), reason: None };
    let (began, later) = (world.shared.clock.now(), Duration::from_secs(5));
    let others = world.shared.parting.watch().unwrap();
    let closes = async {
        hear(&mut reader, "stopped").await;
        world.time.advance(later);
        // Longer than the last look takes.
        tokio::time::sleep(Duration::from_millis(50)).await;
        reader.write_all(&CLOSE).await.unwrap();
        drop(others);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.expect("it is cut off although it has closed");
    };
    let all = async { tokio::join!(Box::pin(reads.close(&end)), Box::pin(ignored.close(&end)), closes) };
    timeout(PATIENCE, all).await.expect("it waits for ever");
    let cut = other.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset);
    // Who closed had its last byte with the goodbye, and who was cut off may have had one until then.
    let severed = world.shared.presence.severed(|_| true)[&engagement];
    assert_eq!((severed.sockets, severed.first, severed.last_byte), (2, began, began + later));
}

#[tokio::test]
async fn in_a_drain_nobody_waits_for_others() {
    let world = World::new();
    let entered = world.enter();
    let (session, mut agent) = open(&world, &entered, 1).await;
    let closes = async {
        hear(&mut agent, "DRAINING").await;
        agent.write_all(&CLOSE).await.unwrap();
    };
    // Somebody says goodbye after a stop all the time.
    let _others = world.shared.parting.watch().unwrap();
    let drained = async { tokio::join!(Box::pin(session.close(&End::Draining)), closes) };
    timeout(PATIENCE, drained).await.expect("it waits for those who stop");
}

#[tokio::test]
async fn an_agent_that_does_not_read_in_time_is_too_slow() {
    let mut world = World::new();
    world.shared.settings.write_deadline = Duration::from_millis(50);
    let world = world;
    let entered = world.enter();
    let (mut session, _agent) = open(&world, &entered, 1).await;
    world.post(500_000).await;
    let drain = Drain::new();
    let end = timeout(PATIENCE, session.run(world.shared.gate.clone(), &drain)).await;
    assert_eq!(end.unwrap(), End::TooSlow);
}

#[tokio::test]
async fn a_session_hears_its_agent_while_it_waits_for_its_turn_to_settle() {
    let world = World::new();
    world.shared.bus.enter(world.shared.fleet.view().me).await.unwrap();
    let entered = world.enter();
    let (mut session, mut agent) = open(&world, &entered, 1).await;
    world.post(10).await;
    // Others have all the turns.
    let mut turns = Vec::new();
    while let Some(turn) = world.shared.leases.turn().now_or_never() {
        turns.push(turn);
    }
    session.settle();
    let drain = Drain::new();
    let mut run = std::pin::pin!(session.run(world.shared.gate.clone(), &drain));
    let ping = br#"{"ping":{}}"#;
    // A text of a client, masked with nothing.
    let head = [0x81, 0x80 | u8::try_from(ping.len()).unwrap(), 0, 0, 0, 0];
    agent.write_all(&[&head, ping.as_slice()].concat()).await.unwrap();
    let mut read = async |what: &str| {
        tokio::select! {
            end = &mut run => panic!("{end:?}"),
            text = hear(&mut agent, what) => text,
        }
    };
    let before = read("pong").await;
    assert!(!before.contains("deliver"), "nothing is pulled before it has settled: {before}");
    turns.clear();
    read("deliver").await;
}

#[tokio::test]
async fn who_has_no_credit_is_not_told_instead_of_who_has() {
    let world = World::new();
    world.shared.bus.enter(world.shared.fleet.view().me).await.unwrap();
    let entered: Vec<_> = (0..4).map(|_| world.enter()).collect();
    let mut agents = Vec::new();
    let mut sessions = Vec::new();
    for entered in &entered {
        let (session, agent) = open(&world, entered, 1).await;
        sessions.push(session);
        agents.push(agent);
    }
    let (drain, inbox) = (Drain::new(), world.agent().inbox());
    let running = futures_util::future::join_all(
        sessions.iter_mut().map(|session| session.run(world.shared.gate.clone(), &drain)),
    );
    let heard = async {
        // Each has credit for one: each event finds one of those that have not had theirs, whoever is told of it.
        for (n, thread) in (1..).zip(["a", "b", "c", "d"]) {
            world.post_to(thread, 10).await;
            let held =
                async { while world.shared.bus.inbox_depth(&world.tenant, inbox).await.unwrap().held < n {} };
            timeout(PATIENCE, held).await.expect("it is left lying");
        }
        for agent in &mut agents {
            hear(agent, "deliver").await;
        }
    };
    tokio::select! {
        ends = running => panic!("{ends:?}"),
        () = heard => {}
    }
}
