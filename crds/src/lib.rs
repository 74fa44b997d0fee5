//! The custom resources of Nexus, group `nexus.dev`, version `v1alpha1`: one file a kind.
//!
//! The types are what `kubectl explain` shows; a field of a spec stands here once something obeys it, not before.
//! They refuse to validate beyond their schema: meaning is the business of `compile`.
//!
//! From type to manifest:
//! 1. the derives give each kind's schema, [`schema`] the pieces that kinds share, with bounds and rules;
//! 2. [`definitions`] makes it structural as an API server wants it and takes out what says nothing there;
//! 3. `config/crd/` holds the result, which a test compares; `just update` rewrites it.

pub mod agentprofile;
mod definition;
pub mod mapping;
pub mod nexuspolicy;
pub mod schema;
pub mod tenant;

pub use agentprofile::{AgentProfile, AgentProfileSpec, AgentProfileStatus};
pub use definition::{definition, definitions};
pub use mapping::{Mapping, MappingSpec, MappingStatus};
pub use nexuspolicy::{NexusPolicy, NexusPolicySpec, NexusPolicyStatus};
pub use tenant::{Tenant, TenantSpec, TenantStatus};

/// The API version of every kind here.
pub const API_VERSION: &str = "nexus.dev/v1alpha1";
