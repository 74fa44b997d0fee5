//! Agents' credentials: those of the folder's Secrets, else made here, laid out as Kubernetes mounts a Secret.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nexus_core::id::AgentId;
use nexus_core::secret::Secret;
use nexus_runtime::file;
use rand::RngExt as _;

/// Where an agent finds the credentials that were made for it under `agents`.
pub fn folder(agents: &Path, namespace: &str, agent: &str) -> PathBuf {
    agents.join(namespace).join(nexus_compile::credential_secret(agent))
}

/// The client secret of an agent under `agents`, made if it is not there.
pub fn ensure(agents: &Path, namespace: &str, agent: &str, id: AgentId) -> anyhow::Result<Secret> {
    let folder = folder(agents, namespace, agent);
    let secret_path = folder.join(nexus_compile::CLIENT_SECRET);
    let secret = match std::fs::read(&secret_path) {
        Ok(bytes) => Secret::new(bytes.trim_ascii()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = hex::encode(rand::rng().random::<[u8; 32]>());
            file::replace(&secret_path, secret.as_bytes())
                .with_context(|| format!("cannot write {}", secret_path.display()))?;
            Secret::new(secret)
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", secret_path.display())),
    };
    let id_path = folder.join(nexus_compile::CLIENT_ID);
    // A profile that moved to another tenant has another id under the same name.
    if std::fs::read(&id_path).ok().as_deref() != Some(id.to_string().as_bytes()) {
        file::replace(&id_path, id.to_string().as_bytes())
            .with_context(|| format!("cannot write {}", id_path.display()))?;
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let id = AgentId::of(&"acme/acme".parse().unwrap(), "coder");
        let first = ensure(folder.path(), "acme", "coder", id).unwrap();
        let second = ensure(folder.path(), "acme", "coder", id).unwrap();
        assert!(first == second);
        assert!(first.expose().len() >= nexus_compile::MIN_CLIENT_SECRET);
        let made = super::folder(folder.path(), "acme", "coder");
        assert_eq!(made, folder.path().join("acme/coder-nexus-agent"));
        assert_eq!(std::fs::read_to_string(made.join("client-id")).unwrap(), id.to_string());
        let moved = AgentId::of(&"acme/other".parse().unwrap(), "coder");
        assert!(ensure(folder.path(), "acme", "coder", moved).unwrap() == first);
        assert_eq!(std::fs::read_to_string(made.join("client-id")).unwrap(), moved.to_string());
    }
}
