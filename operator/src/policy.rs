//! A NexusPolicy as far as it can be read, which is how gateways read it: the operator must scale for a stop that they obey.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use nexus_crds::{NexusPolicy, NexusPolicySpec, NexusPolicyStatus};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A NexusPolicy; what of its spec cannot be read is read as what stops more.
#[derive(Debug, Clone)]
pub(crate) struct ReadPolicy {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: NexusPolicySpec,
    pub(crate) status: Option<NexusPolicyStatus>,
    /// What cannot be read.
    pub(crate) complaint: Option<String>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl<'de> Deserialize<'de> for ReadPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { metadata, spec, status } = Raw::deserialize(deserializer)?;
        let (spec, complaint) = nexus_compile::policy_spec(&spec);
        let status = Option::deserialize(status).unwrap_or_default();
        Ok(Self { metadata, spec, status, complaint })
    }
}

impl Resource for ReadPolicy {
    type DynamicType = ();
    type Scope = <NexusPolicy as Resource>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        NexusPolicy::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        NexusPolicy::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        NexusPolicy::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        NexusPolicy::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
