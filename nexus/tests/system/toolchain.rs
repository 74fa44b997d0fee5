//! What `scripts/test-deps` installs for agents of other languages.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

/// Python with the packages of the example agents.
pub fn python() -> PathBuf {
    installed("NEXUS_PYTHON", "python/bin/python")
}

/// Runs a TypeScript file: a copy of its folder's, in one where the packages of the example agents are found.
pub fn typescript(folder: &Path, file: &str) -> (TempDir, Command) {
    let packages = installed("NEXUS_NODE_MODULES", "agents-typescript/node_modules");
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ts" || extension == "json") {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    if !copy.path().join("package.json").exists() {
        std::fs::write(copy.path().join("package.json"), r#"{"type":"module"}"#).unwrap();
    }
    std::os::unix::fs::symlink(&packages, copy.path().join("node_modules")).unwrap();
    let mut command = Command::new("node");
    command.args(["--import", "tsx"]).arg(file).current_dir(copy.path());
    (copy, command)
}

/// The protobuf files.
pub fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/proto")
}

fn installed(variable: &str, place: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/nexus").join(place),
        PathBuf::from,
    );
    assert!(path.exists(), "{} is missing; `scripts/test-deps` installs it", path.display());
    path
}
