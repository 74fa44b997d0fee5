//! The keys of access tokens: one that signs, and all that are accepted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use biscuit_auth::{Algorithm, KeyPair, PublicKey};
use nexus_core::secret::Secret;

/// Why a text is no key. The text itself is never part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is no private key.
    #[error("this is no PEM file with an Ed25519 private key (PKCS#8)")]
    NoPrivateKey,
    /// It is no public key.
    #[error("this is no public key: expected ed25519/ and 64 hex digits")]
    NoPublicKey,
    /// The key cannot be written.
    #[error("the private key cannot be written as PEM")]
    Unwritable,
}

/// One key that signs, and the keys that are accepted by their ids, the signing one among them. To rotate: let
/// every gateway accept the new key, let one after the other sign with it, wait a token's lifetime, then drop
/// the old one. Cheap to clone.
#[derive(Clone)]
pub struct TokenKeys {
    signing: Arc<KeyPair>,
    accepted: BTreeMap<u32, PublicKey>,
}

impl TokenKeys {
    /// A new Ed25519 key from the system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self::of(KeyPair::new())
    }

    /// The key of a PEM file that [`TokenKeys::to_pem`] or `openssl genpkey -algorithm ed25519` wrote.
    ///
    /// # Errors
    /// When it holds no such key.
    pub fn from_pem(pem: &Secret) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(pem.expose()).map_err(|_| KeyError::NoPrivateKey)?;
        KeyPair::from_private_key_pem_with_algorithm(text, Algorithm::Ed25519)
            .map(Self::of)
            .map_err(|_| KeyError::NoPrivateKey)
    }

    /// The signing key as a PEM file (PKCS#8).
    ///
    /// # Errors
    /// Never in practice.
    pub fn to_pem(&self) -> Result<Secret, KeyError> {
        let pem = self.signing.to_private_key_pem();
        pem.map(|pem| Secret::new(pem.as_bytes())).map_err(|_| KeyError::Unwritable)
    }

    /// Accepts tokens that were signed with another key as well, given as [`TokenKeys::public`] writes it.
    ///
    /// # Errors
    /// When it is no public key.
    pub fn accepting(mut self, public: &str) -> Result<Self, KeyError> {
        let key: PublicKey = public.trim().parse().map_err(|_| KeyError::NoPublicKey)?;
        self.accepted.insert(id_of(&key), key);
        Ok(self)
    }

    /// The public half of the signing key: `ed25519/` and 64 hex digits.
    #[must_use]
    pub fn public(&self) -> String {
        self.signing.public().to_string()
    }

    /// The id under which the signing key stands in tokens.
    #[must_use]
    pub fn id(&self) -> u32 {
        id_of(&self.signing.public())
    }

    pub(super) fn signing(&self) -> &KeyPair {
        &self.signing
    }

    pub(super) fn accepted(&self, id: u32) -> Option<PublicKey> {
        self.accepted.get(&id).copied()
    }

    fn of(signing: KeyPair) -> Self {
        let public = signing.public();
        Self { signing: Arc::new(signing), accepted: BTreeMap::from([(id_of(&public), public)]) }
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys")
            .field("id", &self.id())
            .field("accepted", &self.accepted.keys())
            .finish_non_exhaustive()
    }
}

/// A key's id is its first four bytes, so that every gateway gives a key the same id without being told.
fn id_of(key: &PublicKey) -> u32 {
    let bytes = key.to_bytes();
    bytes.iter().take(4).fold(0, |id, byte| (id << 8) | u32::from(*byte))
}
