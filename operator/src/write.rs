//! Writes to the API server: one at a time for each object, only while this replica leads.
//!
//! It decides nothing. What is to be written comes as a [`Write`], what became of it goes back as [`Written`], and whoever decided
//! looks again: a write that failed is not repeated here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt as _};
use nexus_compile::{CLIENT_ID, CLIENT_SECRET};
use nexus_core::id::AgentId;
use nexus_crds::{
    AgentProfile, AgentProfileStatus, Mapping, MappingStatus, NexusPolicyStatus, Tenant, TenantStatus,
};
use nexus_runtime::tasks::chain;
use rand::RngExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::engine::Observed;
use crate::lease::Leading;
use crate::objects::Key;
use crate::policy::ReadPolicy;
use crate::scale::{HELD_REPLICAS, Workload};

/// Who writes status.
const STATUS: &str = "nexus-operator/status";
/// Who scales.
const SCALE: &str = "nexus-operator/scale";
/// Who writes agents' credentials.
const CREDENTIALS: &str = "nexus-operator/credentials";

/// How long a call may take.
const CALL: Duration = Duration::from_secs(5);

/// Longer than a connection that nobody uses is kept.
const KEPT: Duration = Duration::from_secs(120);

/// What is written, and where: one at a time of each target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// The status of a Tenant.
    Tenant(Key),
    /// The status of an AgentProfile.
    Profile(Key),
    /// The status of a Mapping.
    Mapping(Key),
    /// The status of a NexusPolicy.
    Policy(Key),
    /// A Deployment.
    Deployment(Key),
    /// The Secret with an agent's credentials, by the agent.
    Credentials(Key),
}

impl Target {
    /// The label in metrics.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant_status",
            Self::Profile(_) => "agentprofile_status",
            Self::Mapping(_) => "mapping_status",
            Self::Policy(_) => "nexuspolicy_status",
            Self::Deployment(_) => "deployment",
            Self::Credentials(_) => "credentials",
        }
    }
}

/// Something to tell in an event, for `kubectl describe`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    /// Whether it is a warning.
    pub(crate) warning: bool,
    /// Why, for programs.
    pub(crate) reason: String,
    /// What was done.
    pub(crate) action: &'static str,
    /// Why, for people.
    pub(crate) message: String,
    /// The object that it is about.
    pub(crate) about: ObjectReference,
}

/// One write.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// Of a Tenant's status.
    Tenant(Key, TenantStatus, Vec<Note>),
    /// Of an AgentProfile's status.
    Profile(Key, AgentProfileStatus, Vec<Note>),
    /// Of a Mapping's status.
    Mapping(Key, MappingStatus, Vec<Note>),
    /// Of a NexusPolicy's status.
    Policy(Key, NexusPolicyStatus, Vec<Note>),
    /// Of a Deployment's replicas and our annotation there.
    Scale {
        /// Which.
        key: Key,
        /// Its replicas; none leaves them.
        replicas: Option<u32>,
        /// What the annotation says; none takes it away.
        held: Option<u32>,
        /// The revision that was seen.
        revision: Option<String>,
        /// What to tell.
        notes: Vec<Note>,
    },
    /// Of a Secret with new credentials.
    Credentials {
        /// The agent's profile.
        profile: Key,
        /// The owner, with which the Secret goes.
        owner: OwnerReference,
        /// The agent's id.
        agent: AgentId,
    },
}

impl Write {
    /// What is written.
    pub(crate) fn target(&self) -> Target {
        match self {
            Self::Tenant(key, ..) => Target::Tenant(key.clone()),
            Self::Profile(key, ..) => Target::Profile(key.clone()),
            Self::Mapping(key, ..) => Target::Mapping(key.clone()),
            Self::Policy(key, ..) => Target::Policy(key.clone()),
            Self::Scale { key, .. } => Target::Deployment(key.clone()),
            Self::Credentials { profile, .. } => Target::Credentials(profile.clone()),
        }
    }

    fn notes(&self) -> &[Note] {
        match self {
            Self::Tenant(.., notes)
            | Self::Profile(.., notes)
            | Self::Mapping(.., notes)
            | Self::Policy(.., notes) => notes,
            Self::Scale { notes, .. } => notes,
            Self::Credentials { .. } => &[],
        }
    }
}

/// What the API server answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A Tenant as it is now.
    Tenant(Box<Tenant>),
    /// An AgentProfile as it is now.
    Profile(Box<AgentProfile>),
    /// A Mapping as it is now.
    Mapping(Box<Mapping>),
    /// A NexusPolicy as it is now.
    Policy(Box<ReadPolicy>),
    /// How a Deployment is now.
    Scaled(Scaled),
    /// It is done, or there is nothing any more to do it to; a watch tells the rest.
    Done,
    /// This replica does not lead.
    NotLeading,
    /// It is refused, and will be until somebody grants it.
    Refused,
    /// It failed, and is to be tried again later.
    Failed,
}

/// A Deployment after a write, or after a write of it came too late.
#[derive(Debug, Clone)]
pub(crate) struct Scaled {
    /// The revision that the write was of.
    pub(crate) sent: Option<String>,
    /// What is there now.
    pub(crate) now: Observed<Workload>,
    /// Whether it was written.
    pub(crate) written: bool,
}

/// What became of a write.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// What was written.
    pub(crate) target: Target,
    /// How it ended.
    pub(crate) answer: Answer,
}

/// Writes.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
    /// Keeps no connection.
    alone: Client,
    /// When a call got no answer last.
    silent: Arc<Mutex<Option<Instant>>>,
    leading: Leading,
    recorder: Recorder,
}

impl Writer {
    /// One that writes while `leading`; the second client must keep no connection.
    pub(crate) fn new([client, alone]: [Client; 2], leading: Leading, identity: &str) -> Self {
        let reporter =
            Reporter { controller: "nexus-operator".to_owned(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(alone.clone(), reporter);
        Self { client, alone, silent: Arc::default(), leading, recorder }
    }

    /// The client to call by. After a call without an answer each has a connection of its own for a while: of those that are kept
    /// all may be dead without a word, and each of them would cost the time of an answer.
    fn client(&self) -> Client {
        let silent = *self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let trusted = silent.is_none_or(|at| at.elapsed() >= KEPT);
        if trusted { self.client.clone() } else { self.alone.clone() }
    }

    /// Does one write.
    pub(crate) async fn write(&self, write: Write) -> Written {
        let target = write.target();
        if !self.leading.now() {
            return Written { target, answer: Answer::NotLeading };
        }
        let what = target.label();
        let answer = match tokio::time::timeout(CALL, self.call(&write)).await {
            Ok(Ok(answer)) => answer,
            // Nothing is left to write to.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Answer::Done,
            // It is written; what came back is an object that is told to be unreadable.
            Ok(Err(kube::Error::SerdeError(_))) => Answer::Done,
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), ?target, "cannot write {what}; trying again");
                if refuses(&target, &error) { Answer::Refused } else { Answer::Failed }
            }
            Err(_) => {
                *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                tracing::warn!(?target, "the API server does not answer the write of {what}; trying again");
                Answer::Failed
            }
        };
        let outcome = match &answer {
            Answer::Failed | Answer::Refused => "failed",
            Answer::Scaled(scaled) if !scaled.written => "late",
            _ => "done",
        };
        metrics::counter!("nexus_operator_writes_total", "target" => what, "outcome" => outcome).increment(1);
        if outcome == "done" {
            self.tell(write.notes()).await;
        }
        Written { target, answer }
    }

    async fn call(&self, write: &Write) -> Result<Answer, kube::Error> {
        Ok(match write {
            Write::Tenant(key, status, _) => Answer::Tenant(Box::new(self.status(key, status).await?)),
            Write::Profile(key, status, _) => Answer::Profile(Box::new(self.status(key, status).await?)),
            Write::Mapping(key, status, _) => Answer::Mapping(Box::new(self.status(key, status).await?)),
            Write::Policy(key, status, _) => {
                let api = Api::all(self.client());
                Answer::Policy(Box::new(apply(&api, &key.1, status).await?))
            }
            Write::Scale { key, replicas, held, revision, .. } => {
                self.scale(key, *replicas, *held, revision.as_deref()).await?
            }
            Write::Credentials { profile, owner, agent } => self.credentials(profile, owner, *agent).await?,
        })
    }

    async fn status<K>(&self, key: &Key, status: &impl Serialize) -> Result<K, kube::Error>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        apply(&Api::namespaced(self.client(), &key.0), &key.1, status).await
    }

    /// One write, so that no crash comes between the number and its record.
    async fn scale(
        &self,
        key: &Key,
        replicas: Option<u32>,
        held: Option<u32>,
        revision: Option<&str>,
    ) -> Result<Answer, kube::Error> {
        let api: Api<Deployment> = Api::namespaced(self.client(), &key.0);
        let mut patch =
            json!({"metadata": {"annotations": {HELD_REPLICAS: held.map(|held| held.to_string())}}});
        if let Some(replicas) = replicas {
            patch["spec"] = json!({ "replicas": replicas });
        }
        // Refused if somebody changed it since: then it is decided anew.
        if let Some(revision) = revision {
            patch["metadata"]["resourceVersion"] = json!(revision);
        }
        let params = PatchParams { field_manager: Some(SCALE.to_owned()), ..PatchParams::default() };
        let sent = revision.map(str::to_owned);
        match api.patch(&key.1, &params, &Patch::Merge(patch)).await {
            Ok(now) => {
                let now = Observed::There(Workload::of(now));
                Ok(Answer::Scaled(Scaled { sent, now, written: true }))
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let now = api.get_opt(&key.1).await?.map(Workload::of);
                // What has not changed is refused for another reason.
                if now.as_ref().is_some_and(|now| now.revision == sent) {
                    return Err(kube::Error::Api(status));
                }
                // The watch may be dead without a word: it would be written as of the same revision until it is begun anew.
                let now = now.map_or(Observed::Missing, Observed::There);
                Ok(Answer::Scaled(Scaled { sent, now, written: false }))
            }
            Err(error) => Err(error),
        }
    }

    /// A Secret that is there already is somebody's, and stays as it is.
    async fn credentials(
        &self,
        profile: &Key,
        owner: &OwnerReference,
        agent: AgentId,
    ) -> Result<Answer, kube::Error> {
        let api: Api<Secret> = Api::namespaced(self.client(), &profile.0);
        let secret = hex::encode(rand::rng().random::<[u8; 32]>());
        let data = BTreeMap::from([
            (CLIENT_ID.to_owned(), ByteString(agent.to_string().into_bytes())),
            (CLIENT_SECRET.to_owned(), ByteString(secret.into_bytes())),
        ]);
        let metadata = ObjectMeta {
            name: Some(nexus_compile::credential_secret(&profile.1)),
            namespace: Some(profile.0.clone()),
            owner_references: Some(vec![owner.clone()]),
            ..ObjectMeta::default()
        };
        let secret = Secret { metadata, data: Some(data), ..Secret::default() };
        let params = PostParams { field_manager: Some(CREDENTIALS.to_owned()), ..PostParams::default() };
        match api.create(&params, &secret).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Answer::Done),
            answer => answer.map(|_| Answer::Done),
        }
    }

    /// Events are a courtesy: one that cannot be told is not told again.
    async fn tell(&self, notes: &[Note]) {
        for note in notes {
            let event = Event {
                type_: if note.warning { EventType::Warning } else { EventType::Normal },
                reason: note.reason.clone(),
                // An event's note has at most 1 kB.
                note: Some(note.message.chars().take(512).collect()),
                action: note.action.to_owned(),
                secondary: None,
            };
            let told = tokio::time::timeout(CALL, self.recorder.publish(&event, &note.about)).await;
            if let Ok(Err(error)) = told {
                tracing::debug!(error = chain(&error), "cannot tell an event");
            }
        }
    }
}

/// Whether the API server refuses to scale a Deployment, by RBAC or by an admission policy, and not for a moment.
fn refuses(target: &Target, error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    matches!(target, Target::Deployment(_)) && [400, 403, 422].contains(&status.code)
}

/// Server-side apply of a whole status: what is not in it any more goes.
async fn apply<K>(api: &Api<K>, name: &str, status: &impl Serialize) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let patch: Value = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "status": status,
    });
    api.patch_status(name, &PatchParams::apply(STATUS).force(), &Patch::Apply(patch)).await
}

/// A reference to an object, for an event.
pub(crate) fn about<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: Some(object.name_any()),
        namespace: object.namespace(),
        uid: object.uid(),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
