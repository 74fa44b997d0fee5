//! The committed schemas are what the types say.

use std::fs;
use std::path::Path;

use nexus_core::kind::Kind;
use nexus_core::schema;

#[test]
fn committed_schemas_are_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let mut made = vec![(schema::STANDARD_EVENT.to_owned(), schema::standard_event())];
    made.extend(Kind::ALL.iter().map(|kind| (schema::file_name(*kind), schema::of_kind(*kind))));
    for (name, schema) in &made {
        let text = format!("{}\n", serde_json::to_string_pretty(schema).unwrap());
        let path = folder.join(name);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "schemas/{name} is stale: run `just update`");
    }
    // The documents of the protocols lie there too.
    let of_kinds = |name: &str| name.ends_with(".v1.json");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let files = files.filter(|name| of_kinds(&name.to_string_lossy())).count();
    assert_eq!(files, made.len(), "schemas/ holds a file that no kind has");
}
