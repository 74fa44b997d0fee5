//! The image, of another program than Nexus: a static build of that takes minutes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nexus_e2e::cluster::repository;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn image(executable: &Path, to: &Path) -> Output {
    Command::new(repository().join("scripts/image"))
        .args(["--name", "nexus:test", "--executable"])
        .arg(executable)
        .arg("--to")
        .arg(to)
        .output()
        .unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn it_is_one_static_program_for_nobody_in_particular_and_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("nexus.c"), "int main(void) { return 0; }").unwrap();
    let (source, program) = (path("nexus.c"), path("nexus"));
    run("cc", &["-static", "-o", program.to_str().unwrap(), source.to_str().unwrap()]);
    for archive in ["a.tar", "b.tar"] {
        let made = image(&program, &path(archive));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    assert_eq!(fs::read(path("a.tar")).unwrap(), fs::read(path("b.tar")).unwrap());
    run("tar", &["-C", folder.path().to_str().unwrap(), "-xf", path("a.tar").to_str().unwrap()]);
    let json = |file: &str| -> Value { serde_json::from_slice(&fs::read(path(file)).unwrap()).unwrap() };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let file = format!("blobs/sha256/{digest}");
        let bytes = fs::read(path(&file)).unwrap();
        assert_eq!(
            (hex::encode(Sha256::digest(&bytes)).as_str(), descriptor["size"].as_u64()),
            (digest, Some(bytes.len() as u64))
        );
        file
    };
    let manifest = json(&blob(&json("index.json")["manifests"][0]));
    let config = json(&blob(&manifest["config"]));
    assert_eq!(
        (&config["config"]["User"], &config["config"]["Entrypoint"][0]),
        (&"65532:65532".into(), &"/nexus".into())
    );
    let layer = blob(&manifest["layers"][0]);
    // What engines read that know no OCI layout names the same blobs.
    let older = &json("manifest.json")[0];
    assert_eq!((&older["RepoTags"][0], &older["Layers"][0]), (&"nexus:test".into(), &layer.clone().into()));
    let listed = run("tar", &["-tvzf", path(&layer).to_str().unwrap(), "--numeric-owner"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let modes: BTreeMap<_, _> =
        listed.lines().filter_map(|line| Some((line.split(' ').next_back()?, &line[..10]))).collect();
    assert_eq!(modes.get("./nexus"), Some(&"-rwxr-xr-x"), "{listed}");
    assert_eq!(modes.get("./etc/ssl/certs/ca-certificates.crt"), Some(&"-rw-r--r--"), "{listed}");
    let files = modes.values().filter(|mode| mode.starts_with('-')).count();
    assert_eq!((files, listed.contains(" 0/0 ")), (2, true), "{listed}");
}

#[test]
fn one_that_wants_a_loader_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let made = image(Path::new("/bin/sh"), &folder.path().join("image.tar"));
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(!made.status.success() && said.contains("is not static"), "{said}");
}
