//! The definitions as they are committed, and what every field of them must have.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's report")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use nexus_crds::{definitions, schema};

/// The folder of the generated files.
fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/crd")
}

fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}.yaml", definition.metadata.name.as_deref().unwrap())
}

/// The files that belong there: one a kind, and the list of them.
fn made() -> Vec<(String, String)> {
    let head = "# Generated from the types in crds/ by `just update`.\n";
    let mut made: Vec<_> = definitions()
        .iter()
        .map(|one| (file_name(one), format!("{head}{}", serde_saphyr::to_string(one).unwrap())))
        .collect();
    made.sort();
    let list: String = made.iter().map(|(name, _)| format!("  - {name}\n")).collect();
    let all =
        format!("{head}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{list}");
    made.push(("kustomization.yaml".to_owned(), all));
    made
}

#[test]
fn committed_definitions_are_fresh() {
    let made = made();
    for (name, text) in &made {
        let path = folder().join(name);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&path, text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == *text, "config/crd/{name} is stale: run `just update`");
    }
    let files: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, made.into_iter().map(|(name, _)| name).collect(), "config/crd holds other files");
}

/// Calls `look` with each field and each entry of a list or map below a schema, and its path.
fn walk(path: &str, schema: &JSONSchemaProps, look: &mut impl FnMut(&str, &JSONSchemaProps)) {
    look(path, schema);
    for (name, property) in schema.properties.iter().flatten() {
        // The API server's own.
        if path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            continue;
        }
        walk(&format!("{path}.{name}"), property, look);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        walk(&format!("{path}[]"), items, look);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(any)) = &schema.additional_properties {
        walk(&format!("{path}{{}}"), any, look);
    }
}

/// Collects what `find` says of each field of each kind.
fn every(find: impl Fn(&str, &JSONSchemaProps) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut fields = 0;
    for definition in definitions() {
        let kind = definition.spec.names.kind.clone();
        let version = &definition.spec.versions[0];
        let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        walk("", schema, &mut |path, schema| {
            fields += 1;
            found.extend(find(path, schema).map(|what| format!("{kind}{path}: {what}")));
        });
    }
    assert!(fields > 100, "the walk saw {fields} fields only");
    found
}

#[test]
fn every_field_is_described() {
    let bare = every(|path, schema| {
        let entry = path.ends_with("[]") || path.ends_with("{}");
        let text = schema.description.as_deref().unwrap_or_default();
        let scalar = schema.type_.as_deref() != Some("object");
        let fine = (entry && scalar) || (text.ends_with('.') && !text.contains("Auto-generated"));
        (!fine).then(|| format!("description {text:?}"))
    });
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn every_text_list_map_and_number_is_bounded() {
    let unbounded = every(|_, schema| {
        let missing = match schema.type_.as_deref() {
            Some("string") if schema.enum_.is_some() || schema.format.as_deref() == Some("date-time") => None,
            Some("string") => schema.max_length.is_none().then_some("maxLength"),
            Some("array") => schema.max_items.is_none().then_some("maxItems"),
            // Kubernetes' generations have no highest.
            Some("integer") if schema.minimum.is_some() && schema.format.as_deref() == Some("int64") => None,
            Some("integer") => (schema.minimum.is_none() || schema.maximum.is_none()).then_some("a range"),
            Some("object") if schema.properties.is_none() => {
                (schema.max_properties.is_none()).then_some("maxProperties")
            }
            Some("object" | "boolean") => None,
            other => panic!("a field of type {other:?}"),
        };
        missing.map(|missing| format!("without {missing}"))
    });
    assert!(unbounded.is_empty(), "{unbounded:#?}");
}

#[test]
fn every_rule_says_how_to_mend_and_every_pattern_has_one() {
    let mute = every(|_, schema| {
        let rules = schema.x_kubernetes_validations.as_deref().unwrap_or_default();
        let words = rules.iter().any(|rule| {
            let shape = schema::SHAPES.iter().find(|shape| Some(shape.pattern) == schema.pattern.as_deref());
            shape.is_some_and(|shape| rule.message.as_deref() == Some(shape.says))
        });
        let mute = rules.iter().find(|rule| rule.message.as_deref().is_none_or(|message| message.len() < 10));
        if let Some(rule) = mute {
            return Some(format!("`{}` has no words", rule.rule));
        }
        (schema.pattern.is_some() && !words)
            .then(|| format!("pattern {:?} has no words", schema.pattern.as_deref()))
    });
    assert!(mute.is_empty(), "{mute:#?}");
}

#[test]
fn names_are_as_promised() {
    let told: Vec<_> = definitions()
        .into_iter()
        .map(|one| {
            let names = one.spec.names;
            let version = &one.spec.versions[0];
            assert_eq!(names.categories.as_deref(), Some(&["nexus".to_owned()][..]));
            assert_eq!((one.spec.group.as_str(), version.name.as_str()), ("nexus.dev", "v1alpha1"));
            assert!(version.subresources.as_ref().unwrap().status.is_some());
            (names.kind, names.plural, names.short_names.unwrap_or_default().join(","), one.spec.scope)
        })
        .collect();
    let own = |text: &str| text.to_owned();
    assert_eq!(
        told,
        [
            (own("Tenant"), own("tenants"), own("nxt"), own("Namespaced")),
            (own("Mapping"), own("mappings"), own("nxm"), own("Namespaced")),
            (own("AgentProfile"), own("agentprofiles"), own("nxa"), own("Namespaced")),
            (own("NexusPolicy"), own("nexuspolicies"), own("nxp"), own("Cluster")),
        ]
    );
}
