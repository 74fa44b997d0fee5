//! The document is fresh, and has the routes that the routers have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_committed_document_is_fresh() {
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    let path = root().join("schemas/openapi.json");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "schemas/openapi.json is stale: run `just update`");
}

/// Rust files under a folder.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The arguments of every `.route(…)` in a source, but for its tests.
fn arguments(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap();
    let calls = source.split(".route(").skip(1);
    let arguments = calls.map(|rest| {
        let mut depth = 1;
        let end = rest.find(|c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        rest[..end.expect("every bracket is closed")].trim().to_owned()
    });
    arguments.collect()
}

/// Method and path of each route, from the arguments of `.route`.
fn routes(arguments: &str) -> Vec<(String, String)> {
    let (path, handlers) = arguments
        .strip_prefix('"')
        .and_then(|rest| rest.split_once('"'))
        .unwrap_or_else(|| panic!("the path in `.route({arguments})` is no literal, which this test needs"));
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let called = |method: &&&str| {
        handlers
            .match_indices(&format!("{method}("))
            .any(|(at, _)| handlers[..at].is_empty() || handlers[..at].ends_with(word))
    };
    let found: Vec<_> = METHODS.iter().filter(called).map(|m| ((*m).to_owned(), path.to_owned())).collect();
    assert!(!found.is_empty(), "no method in `.route({arguments})`");
    found
}

#[test]
fn the_document_has_the_routes_that_the_routers_have() {
    let mut files = Vec::new();
    for room in ["ingest", "gateway", "runtime", "nexus"] {
        sources(&root().join(room).join("src"), &mut files);
    }
    // This file speaks of `.route(` without being a router.
    files
        .retain(|file| !file.ends_with("openapi/tests.rs") && !file.to_string_lossy().ends_with("_tests.rs"));
    let served: BTreeSet<_> = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        // Events are routed too, by a method of the same name.
        .filter(|source| source.contains("Router::new()"))
        .flat_map(|source| arguments(&source))
        .flat_map(|arguments| routes(&arguments))
        // Calls of gRPC are described by the protobuf file, and by AsyncAPI.
        .filter(|(_, path)| !path.starts_with("/nexus.agent.v1."))
        .collect();
    let document = document();
    let described: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            METHODS.iter().filter(|m| item.get(**m).is_some()).map(|m| ((*m).to_owned(), path.clone()))
        })
        .collect();
    let missing: Vec<_> = served.difference(&described).collect();
    assert!(missing.is_empty(), "not described: {missing:?}; add an entry in nexus/src/openapi/");
    let left: Vec<_> = described.difference(&served).collect();
    assert!(left.is_empty(), "described, but no router has it: {left:?}");
    assert!(served.len() >= 14, "{served:?}");
}

#[test]
fn routes_are_read_as_they_may_be_written() {
    let source = "r.route(\"/a\", get(x).post(y))\n.route(\n  \"/b/{id}\",\n  axum::routing::delete(z).fallback(w),\n)\n#[cfg(test)].route(\"/t\", get(t))";
    let read: Vec<_> = arguments(source).iter().flat_map(|arguments| routes(arguments)).collect();
    let pair = |method: &str, path: &str| (method.to_owned(), path.to_owned());
    assert_eq!(read, [pair("get", "/a"), pair("post", "/a"), pair("delete", "/b/{id}")]);
}
