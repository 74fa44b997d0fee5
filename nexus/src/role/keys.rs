//! The keys of access tokens: made under the data folder, or given as a folder that several gateways share.

use std::path::Path;

use anyhow::Context as _;
use nexus_core::secret::Secret;
use nexus_gateway::TokenKeys;
use nexus_runtime::file;

/// The file with the key that signs.
const TOKEN: &str = "token";

/// The file with the public keys that are accepted besides, one a line.
const ACCEPTED: &str = "accepted";

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

/// The keys in a folder that is laid out as Kubernetes mounts a Secret.
pub fn given(folder: &Path) -> anyhow::Result<TokenKeys> {
    let path = folder.join(TOKEN);
    let pem = std::fs::read(&path).with_context(|| {
        let path = path.display();
        format!("cannot read the key given with --token-keys; make one with `openssl genpkey -algorithm ed25519 -out {path}`")
    })?;
    let keys =
        TokenKeys::from_pem(&Secret::new(pem)).with_context(|| format!("{} is no key", path.display()))?;
    let path = folder.join(ACCEPTED);
    let accepted = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut lines = accepted.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.try_fold(keys, |keys, (at, line)| {
        keys.accepting(line).with_context(|| format!("{}, line {}", path.display(), at + 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_folder_has_the_key_that_signs_and_those_that_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let said = given(folder.path()).unwrap_err();
        assert!(format!("{said:#}").contains("openssl genpkey"), "{said:#}");
        let (ours, former) = (TokenKeys::generate(), TokenKeys::generate());
        std::fs::write(folder.path().join(TOKEN), ours.to_pem().unwrap().expose()).unwrap();
        assert_eq!(given(folder.path()).unwrap().public(), ours.public());
        std::fs::write(folder.path().join(ACCEPTED), format!("\n{}\n", former.public())).unwrap();
        let keys = given(folder.path()).unwrap();
        assert!(format!("{keys:?}").contains(&former.id().to_string()));
        std::fs::write(folder.path().join(ACCEPTED), "nonsense").unwrap();
        let said = format!("{:#}", given(folder.path()).unwrap_err());
        assert!(said.contains("accepted, line 1") && !said.contains("nonsense"), "{said}");
    }
}
