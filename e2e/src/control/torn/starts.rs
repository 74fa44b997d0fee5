//! Pods that start alone, and what comes of it.

use std::time::Duration;

use anyhow::{bail, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::control::stage::Stage;
use crate::fleet::Unit;
use crate::ledger::AGENTS;
use crate::site::{LOOK, PATIENCE};
use crate::webhook::{Delivery, Provider, TENANTS, Thread};

/// What a pod says that waits for a control plane.
const AWAITED: [&str; 3] = ["from the operator", "a first look at the NexusPolicies", "the stop latch"];

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What a process ends with that says why.
const SAID: i32 = 1;

/// A pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pod {
    /// The gateway of this number.
    Gateway(usize),
    Ingest,
}

/// What came of a start.
#[derive(Debug)]
pub(super) enum Start {
    /// It is ready, and this is in force.
    Ready(Value),
    /// It waits for what only a control plane can tell.
    Waits,
    /// The process says what is wrong, and ends.
    Ended,
}

/// Starts pods, with agents at hand that were admitted before.
pub(super) struct Starts {
    /// Of an agent of each tenant.
    tokens: Vec<String>,
}

impl Starts {
    pub(super) async fn over(stage: &Stage) -> anyhow::Result<Self> {
        let mut tokens = Vec::new();
        for tenant in TENANTS {
            tokens.push(stage.operated.fleet.doors.token(tenant, AGENTS[0], 0).await?);
        }
        Ok(Self { tokens })
    }

    /// Starts a pod that does not run.
    pub(super) async fn start(&self, stage: &mut Stage, pod: Pod) -> anyhow::Result<Start> {
        let fleet = &mut stage.operated.fleet;
        match pod {
            Pod::Gateway(number) => fleet.start_gateway(number)?,
            Pod::Ingest => fleet.begin_ingest()?,
        }
        let http = fleet.doors.http.clone();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let unit = unit(stage, pod);
            if let Some(status) = unit.ended()? {
                ensure!(status.code() == Some(SAID), "{pod:?} does not end by itself, but with {status}");
                return Ok(Start::Ended);
            }
            match unit.readiness(&http).await {
                Ok((true, _)) => return Ok(Start::Ready(unit.config(&http).await?)),
                Ok((false, said)) if AWAITED.iter().any(|awaited| said.contains(awaited)) => {
                    return Ok(Start::Waits);
                }
                // It does not listen yet, or waits for what is there.
                _ => {}
            }
            ensure!(Instant::now() < deadline, "{pod:?} neither becomes ready nor says what it waits for");
            sleep(LOOK).await;
        }
    }

    /// Whether a gateway admits an agent of any tenant, or ingest takes a webhook.
    pub(super) async fn is_open(&self, stage: &Stage, pod: Pod) -> anyhow::Result<bool> {
        match pod {
            Pod::Gateway(number) => {
                for token in &self.tokens {
                    let enters = timeout(ANSWER, stage.operated.fleet.doors.enter(number, token, 1)).await;
                    if matches!(enters, Ok(Ok(_))) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Pod::Ingest => {
                let thread = Thread { tenant: 0, provider: Provider::GitHub, number: 1 };
                let answer = stage.operated.fleet.doors.deliver(Delivery { thread, place: 1 }, "", 0).await;
                match answer {
                    // A provider does not come back with what was refused so.
                    Ok(answer) if answer.status().is_client_error() => {
                        bail!("ingest turns a webhook away for good: {}", answer.status())
                    }
                    answer => Ok(answer.is_ok_and(|answer| answer.status().is_success())),
                }
            }
        }
    }
}

pub(super) fn unit(stage: &mut Stage, pod: Pod) -> &mut Unit {
    match pod {
        Pod::Gateway(number) => &mut stage.operated.fleet.gateways[number],
        Pod::Ingest => &mut stage.operated.fleet.ingest,
    }
}
