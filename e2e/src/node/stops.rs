//! Stops of many sessions, and their release.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::Scene;
use super::report::Times;
use super::system::REPLICAS;
use crate::sessions::{End, Reading, Transport, latest};

/// What is promised of a stop.
pub(super) const LAST_BYTE: Duration = Duration::from_millis(250);
pub(super) const CLOSED: Duration = Duration::from_secs(1);

/// What is measured of each stop.
const TO_LAST_BYTE: &str = "PATCH to the last byte that any agent read";
const TO_CLOSED: &str = "PATCH to the last close";
const GRPC_LAST_BYTE: &str = "PATCH to the last byte over gRPC";
const GRPC_CLOSED: &str = "PATCH to the last close over gRPC";
const TO_ZERO: &str = "PATCH to the agent's Deployment at zero";
const TO_GONE: &str = "PATCH to the agent's last pod gone";
const TO_STATUS: &str = "PATCH to a status that counts all of these sessions";
const TO_REPLICAS: &str = "release to the Deployment as before";
const TO_INSIDE: &str = "release to the queued event in a new pod's log";
const TO_CROWD: &str = "release to all queued events with those sessions' agents";
const TO_OUTSIDE: &str = "release to the queued event at the agent outside";

/// A stop that was ordered.
pub(super) struct Stopped {
    /// When the PATCH was sent.
    pub(super) sent: Instant,
    /// What each session saw.
    pub(super) ends: Vec<End>,
    /// Events that they were given after that, and webhooks that were accepted when they had ended.
    after: u64,
    queued: u64,
    scaled: Instant,
    gone: Instant,
    told: Instant,
}

/// One stop of all, and its release.
pub(super) async fn stop(scene: &mut Scene, times: &mut Times, last: bool) -> anyhow::Result<()> {
    let reading = open(scene).await?;
    order(scene, reading).await?.measure_as_ever(times);
    if last {
        scene.system.switch.engaged().await?;
        scene.shown = scene.system.show()?;
    }
    release(scene, times).await
}

/// Opens the sessions of a stop, beside the agent's pods, and lets events flow to them.
pub(super) async fn open(scene: &Scene) -> anyhow::Result<Reading> {
    scene.system.agents.ready(REPLICAS.try_into()?).await?;
    scene.feed.open(scene.many.sessions, scene.many.over_grpc()).await
}

/// Orders a stop, and waits for all that it has to bring about.
pub(super) async fn order(scene: &Scene, reading: Reading) -> anyhow::Result<Stopped> {
    let Scene { system, feed, .. } = scene;
    feed.check()?;
    let before = feed.received();
    let sent = Instant::now();
    system.switch.stop().await?;
    let all = reading.count() as u64;
    let after = async {
        let (ends, accepted) = (reading.ends().await, feed.accepted());
        // Who asks the API server time and again before that, holds up what is measured.
        let (gone, told) = tokio::join!(system.agents.gone(), system.switch.severed(all));
        anyhow::Ok((ends?, gone?, told?, feed.accepted() - accepted))
    };
    let (scaled, after) = tokio::join!(system.switch.replicas(0), after);
    let (ends, gone, told, queued) = after?;
    ensure!(queued > 0 || scene.many.events == 0, "no webhook was accepted in the stop");
    Ok(Stopped { sent, ends, after: feed.received() - before, queued, scaled: scaled?, gone, told })
}

impl Stopped {
    /// Keeps its times, with the goals of sockets.
    pub(super) fn measure(&self, times: &mut Times, last_byte: Duration, closed: Duration) {
        self.judge(times, TO_LAST_BYTE, last_byte, |end| end.last_byte, |_| true);
        self.judge(times, TO_CLOSED, closed, |end| end.closed, |_| true);
        let grpc = |end: &End| end.transport == Transport::Grpc;
        self.judge(times, GRPC_LAST_BYTE, last_byte, |end| end.last_byte, grpc);
        self.judge(times, GRPC_CLOSED, closed, |end| end.closed, grpc);
        times.count("events that sessions were given after the PATCH", self.after);
        times.count("webhooks accepted while all were stopped", self.queued);
        times.add(TO_ZERO, self.scaled - self.sent);
        times.add(TO_GONE, self.gone - self.sent);
        times.add(TO_STATUS, self.told - self.sent);
    }

    /// Judges the last moment of some of the sessions, where there are any.
    pub(super) fn judge(
        &self,
        times: &mut Times,
        name: &'static str,
        goal: Duration,
        of: fn(&End) -> Instant,
        which: impl Fn(&End) -> bool,
    ) {
        let which = self.ends.iter().filter(|end| which(end));
        if let Some(last) = latest(which, of, self.sent) {
            times.judge(name, goal, last);
        }
    }

    /// Keeps the times of sockets, with what is promised while nothing that they depend on is away.
    pub(super) fn measure_as_ever(&self, times: &mut Times) {
        self.measure(times, LAST_BYTE, CLOSED);
    }
}

/// Accepts webhooks in the stop, of which nobody gets anything, and releases: all is as before, and the events flow.
pub(super) async fn release(scene: &mut Scene, times: &mut Times) -> anyhow::Result<()> {
    let Scene { system, feed, .. } = scene;
    let title = system.post().await?;
    let status = system.switch.engaged().await?;
    ensure!(system.token().await.is_err(), "a token is given in a stop");
    ensure!(system.outside.heard(&title).is_none(), "an event is delivered in a stop");
    ensure!(system.agents.list().await?.is_empty(), "a pod of an agent is there in a stop");
    let released = Instant::now();
    let (told, scaled, arrived, drained) = tokio::join!(
        system.switch.release(&status),
        system.switch.replicas(REPLICAS),
        system.arrives(&title),
        feed.drain()
    );
    told?;
    let (inside, outside) = arrived?;
    times.add(TO_REPLICAS, scaled? - released);
    times.add(TO_INSIDE, inside - released);
    times.add(TO_OUTSIDE, outside - released);
    times.add(TO_CROWD, drained?);
    Ok(())
}
