//! The stop of a race: when it is ordered, and what the stopped agents see of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::STOPPED;
use crate::ledger::Ledger;
use crate::site::LOOK;

/// How soon after the order the last session of a stopped agent is to be gone: a gateway looks every 2 s, and its look has a
/// second for a connection and one for an answer.
const PROMISED: Duration = Duration::from_secs(4);

/// A stop that is to come.
pub(super) struct Stop {
    pub(super) client: Client,
    pub(super) ledger: Arc<Ledger>,
    /// So long after the other thing began.
    pub(super) after: Duration,
}

/// What was seen of it.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) after: Duration,
    /// From the order to the last that a stopped agent had of a session.
    pub(super) closes: Duration,
    /// What the row adds.
    pub(super) note: Option<String>,
    /// Sessions opened, and events received, until it held.
    opened: u64,
    receipts: u64,
}

impl Stop {
    /// Waits for the moment, orders it, and looks on until it must hold.
    pub(super) async fn come(self) -> anyhow::Result<Stopped> {
        sleep(self.after).await;
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("nexus.dev", "v1alpha1", "NexusPolicy"),
            "nexuspolicies",
        );
        let policies: Api<DynamicObject> = Api::all_with(self.client, &resource);
        let patch = Patch::Merge(json!({"spec": {"stop": true, "reason": "race"}}));
        policies.patch("stop-all", &PatchParams::default(), &patch).await?;
        let ordered = Instant::now();
        let (mut last, mut seen) = (ordered, sight(&self.ledger));
        while ordered.elapsed() < PROMISED {
            sleep(LOOK).await;
            let now = sight(&self.ledger);
            if now.0 > 0 || now != seen {
                (last, seen) = (Instant::now(), now);
            }
        }
        let (open, opened, receipts) = sight(&self.ledger);
        ensure!(open == 0, "{open} stopped agents have a session {PROMISED:?} after the stop");
        Ok(Stopped { after: self.after, closes: last - ordered, note: None, opened, receipts })
    }
}

impl Stopped {
    pub(super) fn noting(self, note: String) -> Self {
        Self { note: Some(note), ..self }
    }

    /// Nothing has come to who is stopped since it held.
    pub(super) fn holds(&self, ledger: &Ledger) -> anyhow::Result<()> {
        let (open, opened, receipts) = sight(ledger);
        ensure!(
            open == 0 && opened == self.opened && receipts == self.receipts,
            "after the stop held {} sessions of stopped agents were opened, {open} of them open, and {} events delivered",
            opened - self.opened,
            receipts - self.receipts
        );
        Ok(())
    }
}

/// What stopped agents have: sessions, sessions so far, and events so far.
fn sight(ledger: &Ledger) -> (usize, u64, u64) {
    let (open, opened) = ledger.sessions_of(STOPPED);
    (open, opened, ledger.receipts_of(STOPPED))
}
