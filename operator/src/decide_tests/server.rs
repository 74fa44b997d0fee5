//! An API server in miniature.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::engine::{Observed, SecretValues};
use crate::scale::Workload;
use crate::write::{Answer, Scaled, Write};

/// Kind and name.
pub(super) type Name = (&'static str, String);

/// The objects as they stand, by kind and name, all in one namespace.
#[derive(Clone, Default)]
pub(super) struct Server {
    pub(super) objects: BTreeMap<Name, Value>,
    pub(super) secrets: BTreeMap<String, SecretValues>,
    pub(super) workloads: BTreeMap<String, Workload>,
    revision: u64,
    /// Writes that were asked for.
    pub(super) writes: usize,
}

impl Server {
    /// Puts an object there as a client would: a change of its spec raises its generation.
    pub(super) fn apply(&mut self, kind: &'static str, name: &str, labels: &Value, spec: &Value) {
        self.revision += 1;
        let key = (kind, name.to_owned());
        let before = self.objects.get(&key);
        let generation = match before {
            Some(before) if before["spec"] == *spec => before["metadata"]["generation"].clone(),
            Some(before) => json!(before["metadata"]["generation"].as_i64().unwrap() + 1),
            None => json!(1),
        };
        let uid = before.map_or_else(
            || json!(format!("{:08x}-{name}", self.revision)),
            |before| before["metadata"]["uid"].clone(),
        );
        let status = before.and_then(|before| before.get("status")).cloned();
        let mut object = json!({
            "apiVersion": "nexus.dev/v1alpha1", "kind": kind,
            "metadata": {
                "name": name, "uid": uid, "generation": generation, "labels": labels,
                "resourceVersion": self.revision.to_string(),
            },
            "spec": spec,
        });
        if kind != "NexusPolicy" {
            object["metadata"]["namespace"] = json!("acme");
        }
        if let Some(status) = status {
            object["status"] = status;
        }
        self.objects.insert(key, object);
    }

    pub(super) fn delete(&mut self, kind: &'static str, name: &str) {
        self.revision += 1;
        self.objects.remove(&(kind, name.to_owned()));
    }

    pub(super) fn read<K: DeserializeOwned>(&self, kind: &'static str, name: &str) -> Option<K> {
        let object = self.objects.get(&(kind, name.to_owned()))?;
        serde_json::from_value(object.clone()).ok()
    }

    /// Does a write, and answers as the API server would.
    pub(super) fn write(&mut self, write: Write) -> Answer {
        self.writes += 1;
        match write {
            Write::Tenant(key, status, _) => self
                .status("Tenant", &key.1, &json!(status))
                .map_or(Answer::Done, |one| Answer::Tenant(Box::new(one))),
            Write::Profile(key, status, _) => self
                .status("AgentProfile", &key.1, &json!(status))
                .map_or(Answer::Done, |one| Answer::Profile(Box::new(one))),
            Write::Mapping(key, status, _) => self
                .status("Mapping", &key.1, &json!(status))
                .map_or(Answer::Done, |one| Answer::Mapping(Box::new(one))),
            Write::Policy(key, status, _) => self
                .status("NexusPolicy", &key.1, &json!(status))
                .map_or(Answer::Done, |one| Answer::Policy(Box::new(one))),
            Write::Scale { key, replicas, held, .. } => {
                let Some(workload) = self.workloads.get_mut(&key.1) else { return Answer::Done };
                workload.replicas = replicas.unwrap_or(workload.replicas);
                workload.held = held;
                let now = Observed::There(workload.clone());
                Answer::Scaled(Scaled { sent: workload.revision.clone(), now, written: true })
            }
            Write::Credentials { profile, .. } => {
                let name = nexus_compile::credential_secret(&profile.1);
                let secret = nexus_core::secret::Secret::new("0123456789abcdef0123456789abcdef");
                self.secrets.entry(name).or_insert_with(|| [("client-secret".to_owned(), secret)].into());
                Answer::Done
            }
        }
    }

    pub(super) fn status<K: DeserializeOwned>(
        &mut self,
        kind: &'static str,
        name: &str,
        status: &Value,
    ) -> Option<K> {
        self.revision += 1;
        let object = self.objects.get_mut(&(kind, name.to_owned()))?;
        object["status"] = status.clone();
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.read(kind, name)
    }
}
