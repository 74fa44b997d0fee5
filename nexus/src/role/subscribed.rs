//! The configuration of a process as an operator gives it: the last good one at once, then what comes over the stream.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nexus_ingest::TenantSources;
use nexus_runtime::Drain;
use nexus_runtime::readiness::{Readiness, ReadyGuard};
use nexus_wire::config::{Held, ResourceType, Role, Stage, Standing, Subscriber};
use tokio::sync::watch;

use super::configured::{self, Configured};
use super::last_good::LastGood;
use super::operator::OperatorSettings;

/// How long a write that failed waits.
const AGAIN: Duration = Duration::from_secs(5);

/// How many files of snapshots are kept: the newest and those before it.
const GENERATIONS: usize = 3;

/// Where what is held is kept.
#[derive(Debug)]
pub struct Kept {
    /// The snapshots.
    snapshots: LastGood,
    /// The signing secrets, where there is a place for them.
    secrets: Option<LastGood>,
}

impl Kept {
    /// Files under the data folder, and of secrets a file in a folder that no disk backs.
    pub fn at(role: Role, data: &std::path::Path, secrets: Option<&std::path::Path>) -> Self {
        let types: &[ResourceType] = match role {
            Role::Ingest => &[ResourceType::Ingest],
            Role::Gateway => &[ResourceType::Gateway],
        };
        let snapshots = LastGood::new(data.join("last-good.json"), types, GENERATIONS);
        // A former secret is not kept for longer than it must be.
        let secrets = secrets.map(|folder| {
            LastGood::new(folder.join("signing-secrets.json"), &[ResourceType::SigningSecrets], 1)
        });
        Self { snapshots, secrets }
    }

    fn write(&mut self, held: &Held) -> anyhow::Result<()> {
        let secrets = self.secrets.as_mut().map_or(Ok(()), |secrets| secrets.write(held));
        self.snapshots.write(held).and(secrets)
    }
}

/// A process that an operator configures.
pub struct Subscribed {
    settings: OperatorSettings,
    configured: Arc<Configured>,
    subscriber: Subscriber,
    kept: Kept,
    /// Whether something was read that is worth keeping before an operator has told all.
    restored: bool,
    /// Held until an operator has told all, where what was kept is not enough.
    awaited: Vec<ReadyGuard>,
}

impl Subscribed {
    /// Puts the last good configuration in force. Blocks on the disk.
    pub fn begin(
        role: Role,
        settings: OperatorSettings,
        mut kept: Kept,
        configured: Arc<Configured>,
        standing: watch::Receiver<Standing>,
        readiness: &Readiness,
    ) -> Self {
        let mut held = Held::new(role);
        let restored = kept.snapshots.read(&mut held);
        let secrets = role == Role::Gateway || kept.secrets.as_mut().is_some_and(|kept| kept.read(&mut held));
        let mut awaited = Vec::new();
        if !restored {
            awaited.push(readiness.guard("a configuration from the operator"));
        }
        if !secrets {
            awaited.push(readiness.guard("the signing secrets from the operator"));
        }
        let target = Arc::clone(&configured);
        let stage = Stage::new(held, move |held| put(&target, held));
        if awaited.is_empty() {
            configured.suffice();
        }
        let subscriber = Subscriber { role, pod: settings.pod.clone(), stage, standing };
        Self { settings, configured, subscriber, kept, restored, awaited }
    }

    /// Takes what operators send, and keeps it, until drained.
    pub async fn run(self, drain: Drain) -> anyhow::Result<()> {
        let Self { settings, configured, subscriber, kept, restored, awaited } = self;
        let held = subscriber.stage.held();
        tokio::select! {
            () = drain.cancelled() => Ok(()),
            never = subscriber.run(&settings) => match never {},
            kept = keep(kept, held, restored, &configured, awaited) => kept,
        }
    }
}

/// Puts what is held in force.
fn put(configured: &Configured, held: &Held) {
    match held.role() {
        Role::Ingest => {
            let secrets: std::collections::BTreeMap<_, _> = held.signing().collect();
            let tenants = held.ingest().map(|(tenant, snapshot)| {
                let secrets = secrets.get(tenant).map(|secrets| (***secrets).clone()).unwrap_or_default();
                (tenant.clone(), TenantSources { snapshot: Arc::clone(snapshot), secrets })
            });
            configured.put_ingest(tenants.collect());
        }
        Role::Gateway => {
            let snapshots = held.gateway().map(|(tenant, snapshot)| (tenant.clone(), Arc::clone(snapshot)));
            configured.put_gateway(snapshots.collect());
        }
    }
    // A number that is shown must not help anybody to guess a secret.
    let versions: Vec<u8> = held
        .versions()
        .filter(|(name, _)| name.kind != ResourceType::SigningSecrets)
        .flat_map(|(name, digest)| name.to_string().into_bytes().into_iter().chain(*digest.as_bytes()))
        .collect();
    configured::measure(&versions);
}

/// Writes what is held whenever it has changed, and lets the roles act once it is all.
async fn keep(
    mut kept: Kept,
    mut held: watch::Receiver<Held>,
    restored: bool,
    configured: &Configured,
    mut awaited: Vec<ReadyGuard>,
) -> anyhow::Result<()> {
    loop {
        let now = held.borrow_and_update().clone();
        metrics::gauge!("nexus_config_refused_resources").set(now.refused().count() as f64);
        if now.is_complete() {
            configured.suffice();
            awaited.clear();
        }
        let mut again = None;
        if restored || now.is_complete() {
            let written = tokio::task::spawn_blocking(move || {
                let written = kept.write(&now);
                (kept, written)
            });
            let written = written.await.context("the write of the last good configuration panicked")?;
            kept = written.0;
            if let Err(error) = written.1 {
                metrics::counter!("nexus_config_last_good_failures_total", "step" => "write").increment(1);
                tracing::error!("cannot keep the last good configuration: {error:#}; trying again");
                again = Some(AGAIN);
            }
        }
        let pause = async {
            match again {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = held.changed() => changed.context("nobody holds the configuration any more")?,
            () = pause => {}
        }
    }
}
