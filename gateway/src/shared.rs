//! What every session and every request of one gateway has in common.

use std::sync::{Arc, OnceLock};

use nexus_core::clock::Clock;
use nexus_runtime::lane::StopGate;
use nexus_store::bus::Bus;
use tokio::sync::watch;

use crate::config::GatewayConfig;
use crate::fleet::Fleet;
use crate::gateway::GatewaySettings;
use crate::leases::Leases;
use crate::outage::Outage;
use crate::presence::Presence;
use crate::session::parting::Parting;
use crate::token::TokenKeys;

/// What every session and every request of one gateway has in common.
pub(crate) struct Shared {
    pub(crate) bus: Bus,
    /// To clone: a clone is a subscription.
    pub(crate) gate: StopGate,
    /// To clone, likewise.
    pub(crate) config: watch::Receiver<Arc<GatewayConfig>>,
    pub(crate) keys: TokenKeys,
    pub(crate) clock: Clock,
    pub(crate) settings: GatewaySettings,
    pub(crate) presence: Presence,
    pub(crate) leases: Leases,
    pub(crate) fleet: Fleet,
    pub(crate) outage: Outage,
    /// How many sessions there were when a drain began.
    pub(crate) drained: OnceLock<usize>,
    /// Sessions that part with their agents after a stop.
    pub(crate) parting: Parting,
}
