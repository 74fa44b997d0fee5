//! Lanes: what many ask for at the same time becomes one call of a script a tenant.
//!
//! A lane has one call a tenant in flight. What comes meanwhile waits, bounded, and is the next call, in the order
//! in which it came.

use std::sync::Arc;
use std::time::Instant;

use fred::prelude::Value;
use futures_util::future::join_all;
use metrics::{counter, histogram};
use nexus_core::id::TenantKey;
use tokio::sync::{mpsc, oneshot};

use super::core::Core;
use super::payload::Payload;
use super::scripts::Script;
use super::values::malformed;
use crate::bus::{BusError, cannot};

/// What may wait for a lane; beyond that callers wait to hand theirs in.
const WAITING: usize = 1024;

/// Bytes of payload in one call, unless one item is larger: Redis does nothing else meanwhile.
pub(super) const CALL_BYTES: usize = 4 << 20;

/// How many times the time of a command a caller waits for its answer.
const PATIENCE: u32 = 4;

/// One kind of thing that is done many at a time.
pub(super) trait Step: Send + Sync + 'static {
    /// What is asked for.
    type Ask: Send + Sync;
    /// The answer to one.
    type Answer: Send;
    /// What is being attempted, for errors.
    const DOING: &'static str;
    /// How many go into one call.
    const MOST: usize;

    fn script() -> &'static Script;

    /// Whether the tenant has something once this is done.
    fn registers() -> bool {
        false
    }

    /// Arguments before those of the first item.
    fn begin(_core: &Core) -> Vec<Value> {
        Vec::new()
    }

    fn encode(core: &Core, ask: &Self::Ask, args: &mut Vec<Value>);

    /// Bytes of payload.
    fn weight(_ask: &Self::Ask) -> usize {
        0
    }

    /// What is written just before the script runs.
    fn payload(_ask: &Self::Ask) -> Option<Payload> {
        None
    }

    /// One answer for each that was asked for, and the metrics of them; nothing if it cannot be read.
    fn decode(
        core: &Arc<Core>,
        tenant: &TenantKey,
        asks: &[&Self::Ask],
        answer: Value,
    ) -> Option<Vec<Result<Self::Answer, BusError>>>;

    /// Whether it was done is open.
    fn lost(_core: &Core, _tenant: &TenantKey, _ask: &Self::Ask) {}
}

/// One thing that is asked for.
pub(super) struct Item<S: Step> {
    tenant: TenantKey,
    ask: S::Ask,
    reply: oneshot::Sender<Result<S::Answer, BusError>>,
}

/// Where to ask.
pub(super) struct Lane<S: Step>(mpsc::Sender<Item<S>>);

impl<S: Step> std::fmt::Debug for Lane<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({})", S::DOING)
    }
}

impl<S: Step> Lane<S> {
    pub(super) fn new() -> (Self, mpsc::Receiver<Item<S>>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Asks, and waits for the answer as long as that can be hoped for.
    pub(super) async fn ask(
        &self,
        core: &Core,
        tenant: &TenantKey,
        ask: S::Ask,
    ) -> Result<S::Answer, BusError> {
        core.check_open()?;
        core.connection.check(S::DOING)?;
        let (reply, answer) = oneshot::channel();
        let asked = async {
            let item = Item { tenant: tenant.clone(), ask, reply };
            self.0.send(item).await.map_err(|_| BusError::Closed)?;
            answer.await.map_err(|_| BusError::Closed)?
        };
        match tokio::time::timeout(core.settings.command_timeout * PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(late) => Err(cannot(S::DOING)(late)),
        }
    }
}

/// The lane itself; ends when nobody can ask any more.
pub(super) async fn serve<S: Step>(core: Arc<Core>, mut asked: mpsc::Receiver<Item<S>>) {
    let mut items = Vec::new();
    while asked.recv_many(&mut items, S::MOST).await > 0 {
        // Who went away needs nothing.
        items.retain(|item| !item.reply.is_closed());
        let mut tenants: Vec<Vec<Item<S>>> = Vec::new();
        for item in items.drain(..) {
            match tenants.iter_mut().find(|of| of.first().is_some_and(|first| first.tenant == item.tenant)) {
                Some(of) => of.push(item),
                None => tenants.push(vec![item]),
            }
        }
        join_all(tenants.into_iter().map(|items| serve_tenant(&core, items))).await;
    }
}

async fn serve_tenant<S: Step>(core: &Arc<Core>, items: Vec<Item<S>>) {
    let mut rest = items.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut bytes = S::weight(&first.ask);
        let mut group = vec![first];
        while let Some(next) = rest.next_if(|next| bytes + S::weight(&next.ask) <= CALL_BYTES) {
            bytes += S::weight(&next.ask);
            group.push(next);
        }
        call(core, group).await;
    }
}

async fn call<S: Step>(core: &Arc<Core>, group: Vec<Item<S>>) {
    let Some(tenant) = group.first().map(|item| item.tenant.clone()) else {
        return;
    };
    let registered = if S::registers() { core.register(&tenant).await } else { Ok(()) };
    if let Err(error) = registered.and_then(|()| core.connection.check(S::DOING)) {
        group.into_iter().for_each(|item| drop(item.reply.send(Err(error.clone()))));
        return;
    }
    let mut args = S::begin(core);
    group.iter().for_each(|item| S::encode(core, &item.ask, &mut args));
    let started = Instant::now();
    let payloads = group.iter().filter_map(|item| S::payload(&item.ask)).collect();
    let answer = core.run_after(payloads, &tenant, S::DOING, S::script(), args).await;
    histogram!("nexus_bus_commit_seconds").record(started.elapsed().as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "a group is small")]
    histogram!("nexus_bus_commit_group_size").record(group.len() as f64);
    let asks: Vec<_> = group.iter().map(|item| &item.ask).collect();
    let answers = answer.and_then(|answer| {
        let answers = S::decode(core, &tenant, &asks, answer);
        answers.filter(|answers| answers.len() == asks.len()).ok_or_else(|| malformed(S::DOING))
    });
    match answers {
        Ok(answers) => {
            // Of a caller that went away the answer is dropped, and knows what that means.
            group.into_iter().zip(answers).for_each(|(item, answer)| drop(item.reply.send(answer)));
        }
        Err(error) => {
            counter!("nexus_bus_commit_failures_total").increment(1);
            tracing::warn!(error = &error as &dyn std::error::Error, %tenant, "a step of the bus failed");
            for item in group {
                S::lost(core, &tenant, &item.ask);
                drop(item.reply.send(Err(error.clone())));
            }
        }
    }
}
