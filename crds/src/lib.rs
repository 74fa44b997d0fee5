//! The custom resources of Nexus, group `nexus.dev`, version `v1alpha1`: one file a kind.
//!
//! The types are what `kubectl explain` shows; a field stands here once something obeys it, not before.
//! They refuse to validate beyond their schema: meaning is the business of `compile`.

pub mod agentprofile;
pub mod nexuspolicy;
pub mod tenant;

pub use agentprofile::{AgentProfile, AgentProfileSpec};
pub use nexuspolicy::{NexusPolicy, NexusPolicySpec};
pub use tenant::{Tenant, TenantSpec};

/// The API version of every kind here.
pub const API_VERSION: &str = "nexus.dev/v1alpha1";
