//! For each bound that stands in a schema, an object that breaks it is refused, and the answer says where and how.

use std::collections::BTreeMap;

use nexus_e2e::cluster::Cluster;
use serde_json::{Map, Value, json};

use crate::objects::{KINDS, api, change_status, create, full};
use crate::schema::{Step, at, definitions, walk, written};

/// A way to break a bound: the value at the path becomes this, and the answer holds these words.
struct Breach {
    path: Vec<Step>,
    bound: String,
    value: Value,
    says: Vec<String>,
}

/// Every bound of a schema, with a value beyond it.
fn breaches(schema: &Value) -> Vec<Breach> {
    let mut found = Vec::new();
    walk(schema, &mut |path, schema| {
        // The value of a fixture that a breach is made from.
        for (bound, limit) in schema.as_object().unwrap() {
            if let Some((value, says)) = beyond(schema, bound, limit) {
                found.push(Breach { path: path.to_vec(), bound: bound.clone(), value, says });
            }
        }
    });
    found
}

/// A value beyond a bound, and what the API server says of it.
fn beyond(schema: &Value, bound: &str, limit: &Value) -> Option<(Value, Vec<String>)> {
    // Some are written as `1.0`.
    let number = limit.as_f64().map(|limit| format!("{limit:.0}").parse::<i64>().unwrap());
    let count = || usize::try_from(number.unwrap()).unwrap();
    let own = |text: String| vec![text];
    Some(match bound {
        "maxLength" => {
            (json!("a".repeat(count() + 1)), own(format!("may not be more than {} bytes", count())))
        }
        "minLength" if count() > 0 => (json!(""), own(format!("at least {} chars long", count()))),
        "pattern" => {
            let rules = schema["x-kubernetes-validations"].as_array().unwrap();
            let words =
                rules.iter().find(|rule| rule["rule"].as_str().unwrap().contains(limit.as_str().unwrap()));
            let text = "!".repeat(schema["minLength"].as_u64().unwrap().max(1).try_into().unwrap());
            (json!(text), own(words.unwrap()["message"].as_str().unwrap().to_owned()))
        }
        "enum" => {
            let known = limit.as_array().unwrap().iter().map(|value| format!("{value}"));
            (json!("nonsense"), [own("Unsupported value: \"nonsense\"".to_owned()), known.collect()].concat())
        }
        "maximum" => (json!(number.unwrap() + 1), own(format!("less than or equal to {}", number.unwrap()))),
        "minimum" => {
            (json!(number.unwrap() - 1), own(format!("greater than or equal to {}", number.unwrap())))
        }
        "maxItems" => {
            let entry = if schema["items"]["type"] == "object" { json!({}) } else { json!("a") };
            (json!(vec![entry; count() + 1]), own(format!("must have at most {} items", count())))
        }
        "minItems" => (json!([]), own(format!("at least {} items", count()))),
        "maxProperties" => {
            let map: Map<_, _> = (0..=count()).map(|at| (format!("k{at}"), json!(""))).collect();
            (Value::Object(map), own(format!("must have at most {} items", count())))
        }
        "format" if limit == "date-time" => (json!("yesterday"), own("date-time".to_owned())),
        // A time of another type is refused for its format.
        "type" if schema["format"] != "date-time" => {
            let wrong = if limit == "string" { json!(true) } else { json!("word") };
            (wrong, own(format!("must be of type {}", limit.as_str().unwrap())))
        }
        _ => return None,
    })
}

/// The words of a schema that [`beyond`] knows to break or that bound nothing.
const KNOWN: [&str; 18] = [
    "maxLength",
    "minLength",
    "pattern",
    "enum",
    "maximum",
    "minimum",
    "maxItems",
    "minItems",
    "maxProperties",
    "format",
    "type",
    "required",
    "description",
    "default",
    "properties",
    "items",
    "additionalProperties",
    // Rules have a table of their own; lists and their keys, too.
    "x-kubernetes-validations",
];

#[tokio::test]
async fn whatever_is_out_of_bounds_is_refused_with_the_place_and_the_bound() {
    let cluster = Cluster::shared().unwrap();
    cluster.install_definitions().unwrap();
    let namespace = cluster.namespace("bounds").unwrap();
    let client = cluster.client().await.unwrap();
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::<String, usize>::new());
    for definition in definitions() {
        let api = api(&client, namespace.name(), &definition.kind);
        let name = format!("{}-bounds", namespace.name());
        let mut object = full(&definition.kind);
        object["metadata"]["name"] = json!(name);
        create(&api, &object, false).await.unwrap();
        let mut all = breaches(&definition.schema);
        all.extend(missing(&definition.schema));
        for breach in all {
            let mut broken = object.clone();
            broken["metadata"]["name"] = json!("broken");
            let place = written(&breach.path);
            let value = at(&mut broken, &breach.path);
            *value.unwrap_or_else(|| panic!("the valid {} has no {place}", definition.kind)) =
                breach.value.clone();
            let answer = if place.starts_with("status") {
                change_status(&api, &name, &json!({"status": broken["status"]})).await
            } else {
                create(&api, &broken, true).await
            };
            *counts.entry(breach.bound.clone()).or_default() += 1;
            let whole = place.trim_end_matches("{}").to_owned();
            match answer {
                Ok(_) => wrong.push(format!("{} {place}: {} is not obeyed", definition.kind, breach.bound)),
                Err(said) => {
                    let missing = breach.says.iter().chain([&whole]).find(|word| !said.contains(*word));
                    wrong.extend(missing.map(|word| {
                        format!("{} {place}, {}: no {word:?} in: {said}", definition.kind, breach.bound)
                    }));
                }
            }
        }
        if definition.kind == "NexusPolicy" {
            api.delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
        }
    }
    assert!(wrong.is_empty(), "{} of {counts:?}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(counts.values().sum::<usize>() > 150, "few bounds were met: {counts:?}");
}

/// For each field that must be there, the object around it without it.
fn missing(schema: &Value) -> Vec<Breach> {
    let mut found = Vec::new();
    walk(schema, &mut |path, schema| {
        for field in schema["required"].as_array().into_iter().flatten() {
            let field = field.as_str().unwrap();
            let mut rest = Map::new();
            for (name, of) in schema["properties"].as_object().unwrap() {
                if name != field {
                    rest.extend(some(of).map(|value| (name.clone(), value)));
                }
            }
            found.push(Breach {
                path: path.to_vec(),
                bound: "required".to_owned(),
                value: Value::Object(rest),
                says: vec![format!(".{field}: Required value")],
            });
        }
    });
    found
}

/// Some value of the type; it need not be valid.
fn some(schema: &Value) -> Option<Value> {
    match schema["type"].as_str()? {
        "string" => Some(schema["enum"].get(0).cloned().unwrap_or(json!("a"))),
        "integer" => Some(json!(1)),
        _ => None,
    }
}

#[test]
fn no_schema_has_a_bound_that_these_tests_do_not_know() {
    let mut kinds = Vec::new();
    for definition in definitions() {
        walk(&definition.schema, &mut |path, schema| {
            for word in schema.as_object().unwrap().keys() {
                let known = KNOWN.contains(&word.as_str()) || word.starts_with("x-kubernetes-list");
                assert!(known, "{} {}: {word}", definition.kind, written(path));
            }
        });
        kinds.push(definition.kind);
    }
    assert_eq!(kinds, KINDS);
}
