//! Who a pod is: its ServiceAccount's token, as the API server knows it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use nexus_runtime::tasks::chain;
use nexus_wire::config::{Identify, Identity, Role, Unidentified};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// The audience that a token must be made for.
pub const AUDIENCE: &str = "nexus-config";

/// How long an answer of the API server is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// The most answers that are kept.
const KEPT: usize = 1_000;

/// How long the API server may take.
const CALL: Duration = Duration::from_secs(5);

/// Where the name of the pod stands that a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// Answers by the digest of the token that was asked about, and when they came.
type Answers = HashMap<[u8; 32], (Identity, Instant)>;

/// Asks the API server.
#[derive(Clone)]
pub(crate) struct Reviewer {
    api: Api<TokenReview>,
    namespace: String,
    /// By the digest of the token: the token itself is kept nowhere.
    known: Arc<Mutex<Answers>>,
}

impl Reviewer {
    /// Knows the ServiceAccounts of this namespace.
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::all(client), namespace: namespace.to_owned(), known: Arc::default() }
    }

    /// An answer that is still believed.
    fn known(&self, digest: &[u8; 32]) -> Option<Identity> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, at)| at.elapsed() < BELIEVED);
        known.get(digest).map(|(identity, _)| identity.clone())
    }

    async fn ask(&self, token: &str) -> Result<Identity, Unidentified> {
        let spec = TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: token.to_owned() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let parameters = PostParams::default();
        let answer = tokio::time::timeout(CALL, self.api.create(&parameters, &review)).await;
        let answer =
            answer.map_err(|_| Unidentified::Unavailable("the API server does not answer".to_owned()))?;
        let answer = answer.map_err(|error| {
            tracing::warn!(error = chain(&error), "cannot have a token reviewed");
            Unidentified::Unavailable("the API server reviews no token".to_owned())
        })?;
        judge(&self.namespace, &answer.status.unwrap_or_default())
    }
}

impl Identify for Reviewer {
    async fn identify(&self, token: &str) -> Result<Identity, Unidentified> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(identity) = self.known(&digest) {
            return Ok(identity);
        }
        let identity = self.ask(token).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < KEPT {
            known.insert(digest, (identity.clone(), Instant::now()));
        }
        Ok(identity)
    }
}

/// Reads the answer of a review.
fn judge(namespace: &str, status: &TokenReviewStatus) -> Result<Identity, Unidentified> {
    let refused = |why: &str| Err(Unidentified::Refused(why.to_owned()));
    if status.authenticated != Some(true) {
        return refused("the API server does not know the token");
    }
    // A server that knows no audiences answers without; then the token may be made for anything.
    if !status.audiences.iter().flatten().any(|audience| audience == AUDIENCE) {
        return refused("the token is not made for the audience nexus-config");
    }
    let user = status.user.clone().unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    let role = match account {
        Some((of, "nexus-ingest")) if of == namespace => Role::Ingest,
        Some((of, "nexus-gateway")) if of == namespace => Role::Gateway,
        _ => return refused("the token is of no ServiceAccount that is configured"),
    };
    let extra: BTreeMap<String, Vec<String>> = user.extra.unwrap_or_default();
    Ok(Identity { role, pod: extra.get(POD_NAME).and_then(|names| names.first()).cloned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(status: serde_json::Value) -> Result<Identity, String> {
        match judge("nexus-system", &serde_json::from_value(status).unwrap()) {
            Ok(identity) => Ok(identity),
            Err(Unidentified::Refused(why) | Unidentified::Unavailable(why)) => Err(why),
        }
    }

    fn status(user: &str, audience: &str) -> serde_json::Value {
        json!({
            "authenticated": true, "audiences": [audience],
            "user": {"username": user, "extra": {POD_NAME: ["nexus-ingest-0"]}},
        })
    }

    #[test]
    fn the_service_account_gives_the_role_and_nobody_else_has_one() {
        let ingest = judged(status("system:serviceaccount:nexus-system:nexus-ingest", AUDIENCE)).unwrap();
        assert_eq!((ingest.role, ingest.pod.as_deref()), (Role::Ingest, Some("nexus-ingest-0")));
        for user in
            ["system:serviceaccount:other:nexus-ingest", "system:serviceaccount:nexus-system:default", "ann"]
        {
            assert!(judged(status(user, AUDIENCE)).unwrap_err().contains("no ServiceAccount"), "{user}");
        }
        let other = status("system:serviceaccount:nexus-system:nexus-ingest", "vault");
        assert!(judged(other).unwrap_err().contains("audience"));
        let mut unknown = status("system:serviceaccount:nexus-system:nexus-ingest", AUDIENCE);
        unknown["authenticated"] = json!(false);
        assert!(judged(unknown).unwrap_err().contains("does not know"));
    }
}
