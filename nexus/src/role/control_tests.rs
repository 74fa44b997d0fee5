use std::path::PathBuf;

use serde_json::json;

use super::*;

/// Every folder of objects under `examples/` compiles to its `snapshot.json.golden`, without a complaint.
#[test]
fn examples_compile_to_their_snapshots() {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut folders = 0;
    for entry in std::fs::read_dir(&examples).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let reading = Folder::new(folder.as_path()).read();
        assert!(reading.problems.is_empty(), "{:?}", reading.problems);
        let (groups, orphans) = reading.objects.by_tenant();
        if groups.is_empty() && orphans.is_empty() && folder.ends_with("agents") {
            // Programs, which run beside any of the others.
            continue;
        }
        folders += 1;
        assert!(orphans.is_empty() && !groups.is_empty());
        let mut tenants = serde_json::Map::new();
        for objects in &groups {
            let compiled = nexus_compile::compile(objects, Previous::default()).unwrap();
            let wrong: Vec<_> = compiled.conditions.iter().flat_map(complaints).collect();
            assert!(wrong.is_empty(), "{wrong:?}");
            let snapshots = json!({ "ingest": compiled.ingest, "gateway": compiled.gateway });
            tenants.insert(compiled.gateway.tenant.to_string(), snapshots);
        }
        let made = format!("{}\n", serde_json::to_string_pretty(&tenants).unwrap());
        let golden = folder.join("snapshot.json.golden");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(kept == made, "{} is stale: run `just update`", golden.display());
    }
    assert!(folders > 0);
}
