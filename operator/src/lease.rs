//! Who writes: the holder of a Lease, one among the replicas.
//!
//! A Lease does not fence: a holder that was suspended may wake up and write. So the right to write has a deadline on the
//! monotonic clock, well before others may take the Lease, and who misses it ends its process: nothing that it had in mind is written.
//! What is on its way then is kept back by the [`fence`](crate::fence).

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use nexus_core::clock::Clock;
use nexus_runtime::Drain;
use nexus_runtime::tasks::chain;
use tokio::sync::watch;
use tokio::time::Instant;

/// The Lease's name.
pub(crate) const NAME: &str = "nexus-operator";

/// After how long without a renewal others may take it.
pub(crate) const DURATION: Duration = Duration::from_secs(15);

/// For how long after a renewal the holder may write.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// How often it is renewed, and how often others look.
const RETRY: Duration = Duration::from_secs(2);

/// How long a call may take.
const CALL: Duration = Duration::from_secs(3);

/// Why this replica must end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    /// It was the holder and could not renew in time, or somebody else has it.
    #[error("lost the Lease {NAME}: {0}; ending, so that nothing old is written")]
    Lost(String),
}

/// The right to write, as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Leading(watch::Receiver<Option<Instant>>);

impl Leading {
    /// Whether this replica may write now.
    #[must_use]
    pub(crate) fn now(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until this replica leads.
    pub(crate) async fn begun(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Takes the Lease and keeps it.
pub(crate) struct Holder {
    api: Api<Lease>,
    namespace: String,
    identity: String,
    clock: Clock,
    leading: watch::Sender<Option<Instant>>,
    /// What was seen of another holder, and since when by our own clock: no clock of another machine is believed.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Holder {
    /// One that does not lead yet.
    pub(crate) fn new(client: Client, namespace: &str, identity: &str, clock: Clock) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            identity: identity.to_owned(),
            clock,
            leading: watch::Sender::new(None),
            seen: None,
        }
    }

    /// The right to write.
    pub(crate) fn leading(&self) -> Leading {
        Leading(self.leading.subscribe())
    }

    /// Takes the Lease when it is free, renews it, and gives it back in a drain.
    ///
    /// # Errors
    /// When it was held and is lost.
    pub(crate) async fn run(mut self, drain: Drain) -> Result<(), LeaseError> {
        let mut tick = tokio::time::interval(RETRY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        metrics::gauge!("nexus_operator_leading").set(0.0);
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                _ = tick.tick() => {}
            }
            let asked = Instant::now();
            let answer = tokio::time::timeout(CALL, self.attempt()).await;
            let held = match answer {
                Ok(Ok(held)) => held,
                Ok(Err(error)) => {
                    tracing::warn!(error = chain(&error), "cannot ask for the Lease {NAME}");
                    self.overdue("the API server fails")?;
                    continue;
                }
                Err(_) => {
                    self.overdue("the API server does not answer")?;
                    continue;
                }
            };
            let led = self.leading.borrow().is_some();
            match (held, led) {
                (true, _) => {
                    // From when it was asked for: the answer may have come late.
                    self.leading.send_replace(Some(asked + DEADLINE));
                    if !led {
                        tracing::info!(identity = self.identity, "leading");
                        metrics::gauge!("nexus_operator_leading").set(1.0);
                    }
                }
                (false, true) => return Err(LeaseError::Lost("another replica has it".to_owned())),
                (false, false) => {}
            }
        }
        self.give_back().await;
        Ok(())
    }

    fn overdue(&self, why: &str) -> Result<(), LeaseError> {
        match *self.leading.borrow() {
            Some(until) if Instant::now() >= until => Err(LeaseError::Lost(why.to_owned())),
            _ => Ok(()),
        }
    }

    /// Renews or takes it. False if another has it.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let now = MicroTime(self.clock.now());
        let Some(mut lease) = self.api.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    namespace: Some(self.namespace.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(now, None)),
            };
            return taken(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let ours = spec.holder_identity.as_deref() == Some(&self.identity);
        let free = spec.holder_identity.as_deref().is_none_or(str::is_empty);
        // One that another process of our name left does not make us lead before its time is over.
        let renews = ours && self.leading.borrow().is_some();
        if !renews && !free && !self.expired(&spec) {
            return Ok(false);
        }
        lease.spec = Some(match renews {
            true => LeaseSpec { renew_time: Some(now), ..spec },
            false => self.spec(now, Some(&spec)),
        });
        // Refused if somebody else wrote it since; whether that was another holder, the next look tells.
        match self.api.replace(NAME, &PostParams::default(), &lease).await {
            answer if renews => answer.map(|_| true),
            answer => taken(answer),
        }
    }

    /// Whether what stands there has not changed for as long as it says that it holds.
    fn expired(&mut self, spec: &LeaseSpec) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == spec => {
                let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                since.elapsed() >= seconds.map_or(DURATION, Duration::from_secs)
            }
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                false
            }
        }
    }

    fn spec(&self, now: MicroTime, before: Option<&LeaseSpec>) -> LeaseSpec {
        let transitions = before.map(|spec| spec.lease_transitions.unwrap_or_default() + 1);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions.unwrap_or_default()),
            ..LeaseSpec::default()
        }
    }

    /// Lets another lead at once.
    async fn give_back(&self) {
        if self.leading.send_replace(None).is_none() {
            return;
        }
        let free = async {
            let Some(mut lease) = self.api.get_opt(NAME).await? else { return Ok(()) };
            let Some(spec) = &mut lease.spec else { return Ok(()) };
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            spec.renew_time = Some(MicroTime(self.clock.now()));
            self.api.replace(NAME, &PostParams::default(), &lease).await.map(drop)
        };
        if let Ok(Err(error)) = tokio::time::timeout(CALL, free).await {
            tracing::info!(error = chain(&error), "the Lease {NAME} is not given back; it expires by itself");
        }
    }
}

/// A conflict means that another was faster.
fn taken(answer: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
