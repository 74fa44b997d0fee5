//! Stops of many sessions, and their release.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::Scene;
use super::report::Times;
use super::system::{REPLICAS, System};
use crate::sessions::{self, End, Reading};

/// What is promised of a stop.
const LAST_BYTE: Duration = Duration::from_millis(250);
const CLOSED: Duration = Duration::from_secs(1);

/// What is measured of each stop.
const TO_LAST_BYTE: &str = "PATCH to the last byte that any agent read";
const TO_CLOSED: &str = "PATCH to the last close";
const TO_ZERO: &str = "PATCH to the agent's Deployment at zero";
const TO_GONE: &str = "PATCH to the agent's last pod gone";
const TO_STATUS: &str = "PATCH to a status that counts all of these sessions";
const TO_REPLICAS: &str = "release to the Deployment as before";
const TO_INSIDE: &str = "release to the queued event in a new pod's log";
const TO_OUTSIDE: &str = "release to the queued event at the agent outside";

/// A stop that was ordered.
pub(super) struct Stopped {
    /// When the PATCH was sent.
    pub(super) sent: Instant,
    /// What each session saw.
    pub(super) ends: Vec<End>,
    scaled: Instant,
    gone: Instant,
    told: Instant,
}

/// One stop of all, and its release.
pub(super) async fn stop(scene: &mut Scene, times: &mut Times, last: bool) -> anyhow::Result<()> {
    let reading = open(scene).await?;
    let stopped = order(&scene.system, reading).await?;
    stopped.measure(times, LAST_BYTE, CLOSED);
    if last {
        scene.system.switch.engaged().await?;
        scene.shown = scene.system.show()?;
    }
    release(&mut scene.system, times).await
}

/// Opens the sessions of a stop, beside the agent's pods.
pub(super) async fn open(scene: &Scene) -> anyhow::Result<Reading> {
    scene.system.agents.ready(REPLICAS.try_into()?).await?;
    Ok(Reading::start(sessions::open(&scene.system.doors, scene.sessions).await?))
}

/// Orders a stop, and waits for all that it has to bring about.
pub(super) async fn order(system: &System, reading: Reading) -> anyhow::Result<Stopped> {
    let sent = Instant::now();
    system.switch.stop().await?;
    let all = reading.count() as u64;
    let after = async {
        let ends = reading.ends().await;
        // Who asks the API server time and again before that, holds up what is measured.
        let (gone, told) = tokio::join!(system.agents.gone(), system.switch.severed(all));
        anyhow::Ok((ends?, gone?, told?))
    };
    let (scaled, after) = tokio::join!(system.switch.replicas(0), after);
    let (ends, gone, told) = after?;
    Ok(Stopped { sent, ends, scaled: scaled?, gone, told })
}

impl Stopped {
    /// Keeps its times, with the goals of sockets.
    pub(super) fn measure(&self, times: &mut Times, last_byte: Duration, closed: Duration) {
        let latest = |of: fn(&End) -> Instant| self.ends.iter().map(of).max();
        if let Some(moment) = latest(|end| end.last_byte) {
            times.judge(TO_LAST_BYTE, last_byte, moment - self.sent);
        }
        if let Some(moment) = latest(|end| end.closed) {
            times.judge(TO_CLOSED, closed, moment - self.sent);
        }
        times.add(TO_ZERO, self.scaled - self.sent);
        times.add(TO_GONE, self.gone - self.sent);
        times.add(TO_STATUS, self.told - self.sent);
    }

    /// Keeps the times of sockets, with what is promised while nothing that they depend on is away.
    pub(super) fn measure_as_ever(&self, times: &mut Times) {
        self.measure(times, LAST_BYTE, CLOSED);
    }
}

/// Accepts a webhook in the stop, which nobody gets, and releases: all is as before, and the event flows.
pub(super) async fn release(system: &mut System, times: &mut Times) -> anyhow::Result<()> {
    let title = system.post().await?;
    let status = system.switch.engaged().await?;
    ensure!(system.token().await.is_err(), "a token is given in a stop");
    ensure!(system.outside.heard(&title).is_none(), "an event is delivered in a stop");
    ensure!(system.agents.list().await?.is_empty(), "a pod of an agent is there in a stop");
    let released = Instant::now();
    let (told, scaled, arrived) = tokio::join!(
        system.switch.release(&status),
        system.switch.replicas(REPLICAS),
        system.arrives(&title)
    );
    told?;
    let (inside, outside) = arrived?;
    times.add(TO_REPLICAS, scaled? - released);
    times.add(TO_INSIDE, inside - released);
    times.add(TO_OUTSIDE, outside - released);
    Ok(())
}
