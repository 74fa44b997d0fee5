//! What the operator owns in its namespace: its certificate, and the key with which gateways sign access tokens.
//!
//! Whoever leads makes what is missing and renews what is due; every replica reads. What is there is never replaced by something
//! that signs anew: a second CA or key would shut out all that have the first.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use nexus_core::clock::Clock;
use nexus_runtime::Drain;
use nexus_runtime::readiness::ReadyGuard;
use nexus_runtime::tasks::chain;
use serde_json::json;

use crate::certificate::{self, Certificate, CertificateError, Served};
use crate::lease::Leading;

/// The Secret with the key that signs access tokens.
pub const TOKEN_KEYS: &str = "nexus-token-keys";

/// The key in it.
const TOKEN: &str = "token";

/// Who writes them.
const MANAGER: &str = "nexus-operator/own";

/// How often it is looked at, and how often until there is a certificate.
const EVERY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_millis(500));

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(10);

/// Why something of ours is not as it should be.
#[derive(Debug, thiserror::Error)]
enum OwnError {
    #[error("the API server refuses it")]
    Api(#[source] kube::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("cannot make a key")]
    Key(#[source] rcgen::Error),
}

/// Keeps it.
pub(crate) struct Own {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
    names: Vec<String>,
    served: Served,
    leading: Leading,
    clock: Clock,
}

impl Own {
    /// Keeps what lies in this namespace; the certificate is for `names`.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        names: Vec<String>,
        served: Served,
        leading: Leading,
        clock: Clock,
    ) -> Self {
        let secrets = Api::namespaced(client.clone(), namespace);
        let config_maps = Api::namespaced(client, namespace);
        Self { secrets, config_maps, names, served, leading, clock }
    }

    /// Looks until drained. The guard is held until there is a certificate.
    ///
    /// # Errors
    /// Never: what fails is tried again.
    pub(crate) async fn run(self, awaited: ReadyGuard, drain: Drain) -> Result<(), std::convert::Infallible> {
        let (mut awaited, mut leading, mut led) = (Some(awaited), self.leading.clone(), false);
        loop {
            let look = tokio::time::timeout(LOOK, self.look()).await;
            match look {
                Ok(Ok(true)) => drop(awaited.take()),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = chain(&error), "cannot keep the operator's certificate and keys")
                }
                Err(_) => tracing::warn!(
                    "the API server does not answer what is asked for the operator's certificate"
                ),
            }
            let pause = if awaited.is_none() { EVERY.0 } else { EVERY.1 };
            tokio::select! {
                () = drain.cancelled() => return Ok(()),
                // What another left undone is done at once.
                () = leading.begun(), if !led => led = true,
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.8..=1.2))) => {}
            }
        }
    }

    /// True once there is a certificate to serve with.
    async fn look(&self) -> Result<bool, OwnError> {
        let mut there = self.secrets.get_opt(certificate::SECRET).await.map_err(OwnError::Api)?;
        let due =
            there.as_ref().is_none_or(|secret| certificate::is_due(secret, &self.names, self.clock.now()));
        if due && self.leading.now() {
            there = Some(self.renew(there.as_ref()).await?);
        }
        if self.leading.now() {
            self.token_key().await?;
        }
        let Some(secret) = there else { return Ok(false) };
        self.served.set(&secret)?;
        if self.leading.now() {
            self.tell_authority(&secret).await?;
        }
        Ok(true)
    }

    async fn renew(&self, before: Option<&Secret>) -> Result<Secret, OwnError> {
        let made = Certificate::make(before, &self.names, self.clock.now())?;
        let metadata = ObjectMeta {
            name: Some(certificate::SECRET.to_owned()),
            annotations: Some(made.annotations),
            // Refused if somebody else wrote it since.
            resource_version: before.and_then(kube::ResourceExt::resource_version),
            ..ObjectMeta::default()
        };
        let secret = Secret { metadata, data: Some(made.data), ..Secret::default() };
        let written = match before {
            None => self.secrets.create(&post(), &secret).await,
            Some(_) => self.secrets.replace(certificate::SECRET, &post(), &secret).await,
        };
        let written = written.map_err(OwnError::Api)?;
        tracing::info!("the operator has a new certificate");
        Ok(written)
    }

    async fn tell_authority(&self, secret: &Secret) -> Result<(), OwnError> {
        let authority = certificate::authority_of(secret)?;
        let there = self.config_maps.get_opt(certificate::CONFIG_MAP).await.map_err(OwnError::Api)?;
        let told = there.and_then(|map| map.data?.get(certificate::CA).cloned());
        if told.as_ref() == Some(&authority) {
            return Ok(());
        }
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": certificate::CONFIG_MAP},
            "data": {certificate::CA: authority},
        });
        let params = PatchParams::apply(MANAGER).force();
        self.config_maps
            .patch(certificate::CONFIG_MAP, &params, &Patch::Apply(map))
            .await
            .map_err(OwnError::Api)?;
        Ok(())
    }

    /// One that is there stays, whatever it holds: gateways judge it.
    async fn token_key(&self) -> Result<(), OwnError> {
        if self.secrets.get_opt(TOKEN_KEYS).await.map_err(OwnError::Api)?.is_some() {
            return Ok(());
        }
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(OwnError::Key)?;
        let data = BTreeMap::from([(TOKEN.to_owned(), ByteString(key.serialize_pem().into_bytes()))]);
        let metadata = ObjectMeta { name: Some(TOKEN_KEYS.to_owned()), ..ObjectMeta::default() };
        let secret = Secret { metadata, data: Some(data), ..Secret::default() };
        match self.secrets.create(&post(), &secret).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Ok(secret) => {
                tracing::info!(secret = secret.name_any(), "made the key that signs access tokens");
                Ok(())
            }
            Err(error) => Err(OwnError::Api(error)),
        }
    }
}

fn post() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}
