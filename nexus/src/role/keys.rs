//! The keys of access tokens, made under the data folder.

use std::path::Path;

use anyhow::Context as _;
use nexus_core::secret::Secret;
use nexus_gateway::TokenKeys;
use nexus_runtime::file;

/// The key in this file, made at the first start.
pub fn kept(path: &Path) -> anyhow::Result<TokenKeys> {
    match std::fs::read(path) {
        Ok(pem) => TokenKeys::from_pem(&Secret::new(pem))
            .with_context(|| format!("{} holds no usable key; remove it to make a new one", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let keys = TokenKeys::generate();
            file::replace(path, keys.to_pem()?.expose())
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(keys)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
