//! The bounds of the custom resources' own schemas, enforced where no API server stands before us.
//!
//! The schema that `kubectl apply` is judged by is read here too, so that a folder and a cluster can never
//! disagree on what is too long.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use nexus_crds::schema::{self, Shape};
use nexus_crds::{
    AgentProfile, AgentProfileSpec, Mapping, MappingSpec, NexusPolicy, NexusPolicySpec, Tenant, TenantSpec,
};
use serde::Serialize;
use serde_json::Value;

static TENANT: LazyLock<Option<JSONSchemaProps>> = LazyLock::new(spec_schema::<Tenant>);
static MAPPING: LazyLock<Option<JSONSchemaProps>> = LazyLock::new(spec_schema::<Mapping>);
static PROFILE: LazyLock<Option<JSONSchemaProps>> = LazyLock::new(spec_schema::<AgentProfile>);
static POLICY: LazyLock<Option<JSONSchemaProps>> = LazyLock::new(spec_schema::<NexusPolicy>);

/// A value that is out of its schema's bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where: `spec.sources[0].name`.
    pub path: String,
    /// What is wrong with it.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
    /// For a list that is too long: how many entries may stay.
    longest: Option<usize>,
}

/// What is out of bounds in a Tenant's spec.
#[must_use]
pub fn tenant(spec: &TenantSpec) -> Vec<Violation> {
    check(TENANT.as_ref(), spec)
}

/// What is out of bounds in a Mapping's spec.
#[must_use]
pub fn mapping(spec: &MappingSpec) -> Vec<Violation> {
    check(MAPPING.as_ref(), spec)
}

/// What is out of bounds in an AgentProfile's spec.
#[must_use]
pub fn profile(spec: &AgentProfileSpec) -> Vec<Violation> {
    check(PROFILE.as_ref(), spec)
}

/// What is out of bounds in a NexusPolicy's spec.
#[must_use]
pub fn policy(spec: &NexusPolicySpec) -> Vec<Violation> {
    check(POLICY.as_ref(), spec)
}

/// Whether one of the violations lies at `path` or below it.
pub(crate) fn touches(violations: &[Violation], path: &str) -> bool {
    violations.iter().any(|violation| {
        let rest = violation.path.strip_prefix(path);
        violation.longest.is_none()
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Whether the entry at this place of a list is refused: for something below it, or for being one too many.
pub(crate) fn touches_entry(violations: &[Violation], list: &str, at: usize) -> bool {
    let beyond = |violation: &Violation| {
        violation.path == list && violation.longest.is_some_and(|longest| at >= longest)
    };
    violations.iter().any(beyond) || touches(violations, &format!("{list}[{at}]"))
}

fn spec_schema<K: CustomResourceExt>() -> Option<JSONSchemaProps> {
    let version = nexus_crds::definition::<K>().spec.versions.into_iter().next()?;
    let mut schema = version.schema?.open_api_v3_schema?;
    schema.properties.as_mut()?.remove("spec")
}

fn check(schema: Option<&JSONSchemaProps>, spec: &impl Serialize) -> Vec<Violation> {
    let value = serde_json::to_value(spec).expect("specs serialize: their map keys are strings");
    let mut found = Vec::new();
    if let Some(schema) = schema {
        walk(schema, &value, "spec", &mut found);
    }
    found
}

fn walk(schema: &JSONSchemaProps, value: &Value, path: &str, found: &mut Vec<Violation>) {
    match value {
        Value::Object(map) if is_selector(schema) => walk_selector(schema, map, path, found),
        Value::Object(map) => {
            check_map(schema, map.len(), path, found);
            for (key, value) in map {
                let own = schema.properties.as_ref().and_then(|properties| properties.get(key));
                let any = match &schema.additional_properties {
                    Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(schema.as_ref()),
                    _ => None,
                };
                if let Some(schema) = own.or(any) {
                    walk(schema, value, &format!("{path}.{key}"), found);
                }
            }
        }
        Value::Array(list) => {
            check_list(schema, list.len(), path, found);
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (at, value) in list.iter().enumerate() {
                    walk(schema, value, &format!("{path}[{at}]"), found);
                }
            }
        }
        Value::String(text) => check_text(schema, text, path, found),
        Value::Number(number) => check_number(schema, number, path, found),
        Value::Bool(_) | Value::Null => {}
    }
}

fn is_selector(schema: &JSONSchemaProps) -> bool {
    schema.properties.as_ref().is_some_and(|properties| properties.contains_key("matchExpressions"))
}

/// Of a label selector only the sizes are measured here; what stands in it is for [`crate::selector()`] to judge.
fn walk_selector(
    schema: &JSONSchemaProps,
    selector: &serde_json::Map<String, Value>,
    path: &str,
    found: &mut Vec<Violation>,
) {
    let part = |name: &str| {
        schema
            .properties
            .as_ref()?
            .get(name)
            .zip(selector.get(name))
            .map(|(schema, value)| (schema, value, format!("{path}.{name}")))
    };
    if let Some((schema, Value::Object(labels), path)) = part("matchLabels") {
        check_map(schema, labels.len(), &path, found);
    }
    let Some((schema, Value::Array(expressions), path)) = part("matchExpressions") else { return };
    check_list(schema, expressions.len(), &path, found);
    let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else { return };
    let values = items.properties.as_ref().and_then(|properties| properties.get("values"));
    for (at, expression) in expressions.iter().enumerate() {
        if let Some((schema, values)) = values.zip(expression["values"].as_array()) {
            check_list(schema, values.len(), &format!("{path}[{at}].values"), found);
        }
    }
}

fn check_map(schema: &JSONSchemaProps, len: usize, path: &str, found: &mut Vec<Violation>) {
    let most = schema.max_properties.and_then(|max| usize::try_from(max).ok());
    if let Some(most) = most.filter(|most| len > *most) {
        let what = format!("{len} entries are more than the {most} that fit");
        found.push(violation(path, what, "take some out".to_owned()));
    }
}

fn check_list(schema: &JSONSchemaProps, len: usize, path: &str, found: &mut Vec<Violation>) {
    let longest = schema.max_items.and_then(|max| usize::try_from(max).ok());
    let fewest = schema.min_items.and_then(|min| usize::try_from(min).ok());
    if let Some(fewest) = fewest.filter(|fewest| len < *fewest) {
        let what = format!("{len} entries are fewer than {fewest}");
        found.push(violation(path, what, "add one, or leave the list out".to_owned()));
    }
    if let Some(longest) = longest.filter(|longest| len > *longest) {
        // Inside of another list's entry there is no cutting off: the whole entry is refused.
        if path.contains('[') {
            let what = format!("{len} entries are more than the {longest} that fit");
            return found.push(violation(path, what, "take some out".to_owned()));
        }
        found.push(Violation {
            path: path.to_owned(),
            what: format!("{len} entries are more than the {longest} that fit"),
            remedy: "take some out; those at the end do not count".to_owned(),
            longest: Some(longest),
        });
    }
}

fn check_text(schema: &JSONSchemaProps, text: &str, path: &str, found: &mut Vec<Violation>) {
    let len = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let mut push = |what: String, remedy: String| found.push(violation(path, what, remedy));
    match (schema.min_length, schema.max_length) {
        (Some(min), _) if len < min => {
            let what =
                if len == 0 { "it is empty".to_owned() } else { format!("{len} characters are too few") };
            push(what, format!("give it at least {min}"));
        }
        (_, Some(max)) if len > max => {
            push(format!("{len} characters are too many"), format!("keep it within {max}"))
        }
        _ => {
            if let Some((_, says)) =
                schema.pattern.as_deref().and_then(pattern).filter(|(matches, _)| !matches(text))
            {
                push(format!("`{text}` cannot stand here"), says.to_owned());
            }
        }
    }
}

fn check_number(
    schema: &JSONSchemaProps,
    number: &serde_json::Number,
    path: &str,
    found: &mut Vec<Violation>,
) {
    let Some(value) = number.as_f64() else { return };
    let mut push = |what: String, remedy: String| found.push(violation(path, what, remedy));
    if let Some(min) = schema.minimum.filter(|min| value < *min) {
        push(format!("{number} is too low"), format!("give at least {min}"));
    } else if let Some(max) = schema.maximum.filter(|max| value > *max) {
        push(format!("{number} is too high"), format!("give at most {max}"));
    }
}

fn violation(path: &str, what: String, remedy: String) -> Violation {
    Violation { path: path.to_owned(), what, remedy, longest: None }
}

/// Whether a text matches.
type Matches = fn(&str) -> bool;

/// Whether a text matches, and what would.
type Pattern = (Matches, &'static str);

/// A pattern of the schemas as a function, and what it asks for. A regular expression engine for a handful of
/// patterns would be the largest part of this crate; a test finds a pattern that is missing here.
fn pattern(pattern: &str) -> Option<Pattern> {
    let known: [(Shape, Matches); 8] = [
        (schema::LABEL, is_dns_label),
        (schema::OBJECT_NAME, is_object_name),
        (schema::SECRET_KEY, is_secret_key),
        (schema::MENTION, is_mention),
        (schema::EVENT_KIND, is_event_kind),
        (schema::ENGAGEMENT, is_engagement),
        (schema::CLICKUP_LIST, is_digits),
        (schema::SLACK_CHANNEL, is_slack_channel),
    ];
    known.into_iter().find(|(shape, _)| shape.pattern == pattern).map(|(shape, is)| (is, shape.says))
}

fn is_object_name(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

fn is_secret_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

fn is_event_kind(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(|c| c.is_ascii_alphabetic())
}

fn is_engagement(text: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
    text.split_once('-').is_some_and(|(uid, generation)| {
        uid.len() == 8 && uid.chars().all(hex) && is_digits(generation) && !generation.starts_with('0')
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

fn is_slack_channel(text: &str) -> bool {
    text.strip_prefix(['C', 'G']).is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    })
}

fn is_dns_label(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    is_word_with_inner_dashes(text, word)
}

fn is_mention(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.strip_prefix('@').is_some_and(|name| is_word_with_inner_dashes(name, word))
}

fn is_word_with_inner_dashes(text: &str, word: impl Fn(char) -> bool + Copy) -> bool {
    text.starts_with(word) && text.ends_with(word) && text.chars().all(|c| word(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_pattern(schema: &JSONSchemaProps, found: &mut std::collections::BTreeSet<String>) {
        if is_selector(schema) {
            return;
        }
        found.extend(schema.pattern.clone());
        for property in schema.properties.iter().flat_map(|map| map.values()) {
            every_pattern(property, found);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            every_pattern(items, found);
        }
    }

    #[test]
    fn every_pattern_of_the_schemas_is_known() {
        let mut found = std::collections::BTreeSet::new();
        for schema in [&TENANT, &MAPPING, &PROFILE, &POLICY] {
            every_pattern(schema.as_ref().unwrap(), &mut found);
        }
        assert_eq!(found.len(), 8, "{found:?}");
        for text in found {
            assert!(pattern(&text).is_some(), "{text}");
        }
    }

    #[test]
    fn patterns_take_what_they_say() {
        assert!(is_dns_label("git-hub2") && is_dns_label("a"));
        assert!(!is_dns_label("-a") && !is_dns_label("a-") && !is_dns_label("A") && !is_dns_label(""));
        assert!(is_mention("@AI_Squad") && is_mention("@a") && is_mention("@a-b"));
        assert!(is_object_name("acme.example") && !is_object_name("acme.") && !is_object_name("Acme"));
        assert!(is_secret_key("tls.key") && !is_secret_key("a b") && !is_secret_key(""));
        assert!(is_event_kind("NewWorkItem") && !is_event_kind("newWorkItem") && !is_event_kind("New-Work"));
        assert!(is_engagement("0a1b2c3d-7") && !is_engagement("0a1b2c3d-07") && !is_engagement("0a1b2c3d"));
        assert!(is_digits("901") && !is_digits("") && !is_digits("9a"));
        assert!(is_slack_channel("C024BE91L") && !is_slack_channel("general") && !is_slack_channel("C"));
        assert!(!is_mention("AI") && !is_mention("@") && !is_mention("@-a") && !is_mention("@a b"));
    }

    #[test]
    fn numbers_texts_and_lists_are_measured() {
        let spec: NexusPolicySpec = serde_json::from_value(serde_json::json!({
            "reason": "x".repeat(1025),
            "targets": {"tenants": [{"namespace": "", "name": "acme"}]},
        }))
        .unwrap();
        let paths: Vec<_> = policy(&spec).into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["spec.reason", "spec.targets.tenants[0].namespace"]);
    }

    #[test]
    fn of_selectors_the_sizes_are_measured() {
        let labels: std::collections::BTreeMap<_, _> = (0..17).map(|at| (format!("k{at}"), "")).collect();
        let values = vec!["x"; 21];
        let spec: NexusPolicySpec = serde_json::from_value(serde_json::json!({
            "targets": {"agents": {
                "matchLabels": labels,
                "matchExpressions": [{"key": "a", "operator": "In", "values": values}],
            }},
        }))
        .unwrap();
        let paths: Vec<_> = policy(&spec).into_iter().map(|one| one.path).collect();
        assert_eq!(
            paths,
            ["spec.targets.agents.matchLabels", "spec.targets.agents.matchExpressions[0].values"]
        );
    }

    #[test]
    fn an_entry_is_refused_for_its_own_fault_or_for_being_one_too_many() {
        let list = Violation { longest: Some(64), ..violation("spec.sources", String::new(), String::new()) };
        let entry = violation("spec.sources[1].name", String::new(), String::new());
        let both = [list, entry];
        assert!(touches_entry(&both, "spec.sources", 1));
        assert!(touches_entry(&both, "spec.sources", 64));
        assert!(!touches_entry(&both, "spec.sources", 63));
        assert!(!touches(&both, "spec.source"));
    }
}
