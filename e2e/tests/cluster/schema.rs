//! The definitions as the repository holds them, and walks over their schemas.

use std::fs;

use nexus_e2e::cluster::repository;
use serde_json::Value;

/// A kind and the schema of its objects.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) schema: Value,
}

/// The committed definitions, by kind.
pub(crate) fn definitions() -> Vec<Definition> {
    let mut all = Vec::new();
    for file in fs::read_dir(repository().join("config/crd")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let definition: Value = serde_saphyr::from_str(&text).unwrap();
        if definition["kind"] != "CustomResourceDefinition" {
            continue;
        }
        let names = &definition["spec"]["names"];
        all.push(Definition {
            kind: names["kind"].as_str().unwrap().to_owned(),
            plural: names["plural"].as_str().unwrap().to_owned(),
            schema: definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone(),
        });
    }
    assert_eq!(all.len(), 4);
    all.sort_by(|a, b| a.kind.cmp(&b.kind));
    all
}

/// A step from an object to what lies in it. Of lists and maps it is the first entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Field(String),
    Entry,
    Value,
}

/// A path as people write it: `spec.sources[0].name`.
pub(crate) fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.push_str(&format!(".{name}")),
            Step::Entry => text.push_str("[0]"),
            Step::Value => text.push_str("{}"),
        }
    }
    text
}

/// Calls `look` with every schema below this one, in `spec` and `status`, and the path to it.
pub(crate) fn walk<'a>(schema: &'a Value, look: &mut impl FnMut(&[Step], &'a Value)) {
    for part in ["spec", "status"] {
        let path = vec![Step::Field(part.to_owned())];
        below(&schema["properties"][part], path, look);
    }
}

fn below<'a>(schema: &'a Value, path: Vec<Step>, look: &mut impl FnMut(&[Step], &'a Value)) {
    assert!(schema.is_object(), "no schema at {}", written(&path));
    look(&path, schema);
    let mut next = |step: Step, schema: &'a Value| {
        let mut path = path.clone();
        path.push(step);
        below(schema, path, look);
    };
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        next(Step::Field(name.clone()), schema);
    }
    if schema["items"].is_object() {
        next(Step::Entry, &schema["items"]);
    }
    if schema["additionalProperties"].is_object() {
        next(Step::Value, &schema["additionalProperties"]);
    }
}

/// The value at a path.
pub(crate) fn at<'a>(object: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(object, |value, step| match step {
        Step::Field(name) => value.get_mut(name),
        Step::Entry => value.get_mut(0),
        Step::Value => value.as_object_mut()?.values_mut().next(),
    })
}
