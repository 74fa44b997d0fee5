//! The committed code under `src/gen` is what the protobuf files say.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's report")]

use std::fs;
use std::path::Path;

use prost::Message as _;
use prost_build::Config;

const PROTOS: [&str; 2] = ["nexus/agent/v1/agent.proto", "nexus/event/v1/event.proto"];
const PACKAGES: [&str; 2] = ["nexus.agent.v1", "nexus.event.v1"];

/// Apart from those of agents: it has no JSON, and reflection does not show it.
const CONFIG: (&str, &str) = ("nexus/config/v1/config.proto", "nexus.config.v1");

/// Makes the code of both packages in `out`.
fn generate(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let descriptors = protox::compile(PROTOS, [&root]).unwrap();
    let mut config = Config::new();
    config.compile_well_known_types().extern_path(".google.protobuf", "::pbjson_types");
    tonic_prost_build::configure()
        .out_dir(out)
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(descriptors.clone(), config)
        .unwrap();
    // What reflection shows: the files with their comments.
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec()).unwrap();
    // A slip in an agent's frame is told; an event that a later version kept is read as far as it is known.
    for (package, tolerant) in [(".nexus.agent", false), (".nexus.event", true)] {
        let mut json = pbjson_build::Builder::new();
        for file in descriptors.file.clone() {
            json.register_file_descriptor(file);
        }
        if tolerant {
            json.ignore_unknown_fields();
        }
        json.out_dir(out).extern_path(".google.protobuf", "::pbjson_types").build(&[package]).unwrap();
    }
}

/// Makes the code of the config stream in `out`.
fn generate_config(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let descriptors = protox::compile([CONFIG.0], [&root]).unwrap();
    let mut config = Config::new();
    config.compile_well_known_types().extern_path(".google.protobuf", "::pbjson_types");
    // All streams send the bytes that are published, none a copy of them; secrets show in no Debug output.
    config.bytes([".nexus.config.v1.Resource.content"]).skip_debug([".nexus.config.v1.Resource"]);
    tonic_prost_build::configure()
        .out_dir(out)
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(descriptors, config)
        .unwrap();
}

#[test]
fn generated_code_is_fresh() {
    let made = tempfile::tempdir().unwrap();
    generate(made.path());
    generate_config(made.path());
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    let of_agents =
        PACKAGES.iter().flat_map(|package| [format!("{package}.rs"), format!("{package}.serde.rs")]);
    for name in of_agents.chain(["descriptors.bin".to_owned(), format!("{}.rs", CONFIG.1)]) {
        let fresh = fs::read(made.path().join(&name)).unwrap();
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(committed.join(&name), &fresh).unwrap();
        }
        let kept = fs::read(committed.join(&name)).unwrap_or_default();
        assert!(kept == fresh, "src/gen/{name} is stale: run `UPDATE_GENERATED=1 cargo test -p nexus-wire`");
    }
}
