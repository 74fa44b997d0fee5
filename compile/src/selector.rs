//! Label selectors: from the Kubernetes type to the one that the core evaluates.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use nexus_core::selector::{Requirement, Selector, Test};

use crate::suggest;

/// The operators of `matchExpressions`.
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// A label selector that Kubernetes would not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}`: {what}; {remedy}")]
pub struct SelectorError {
    /// Where, seen from the selector: `matchExpressions[0].operator`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub remedy: String,
}

/// Converts a selector.
///
/// # Errors
/// For an operator, a key or a value that Kubernetes would not take, as it could never match.
pub fn selector(selector: &LabelSelector) -> Result<Selector, SelectorError> {
    let match_labels = selector.match_labels.clone().unwrap_or_default();
    for (key, value) in &match_labels {
        check_key("matchLabels", key)?;
        check_value(&format!("matchLabels.{key}"), value)?;
    }
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    Ok(Selector {
        match_labels,
        match_expressions: expressions
            .iter()
            .enumerate()
            .map(|(at, expression)| requirement(&format!("matchExpressions[{at}]"), expression))
            .collect::<Result<_, _>>()?,
    })
}

fn requirement(path: &str, given: &LabelSelectorRequirement) -> Result<Requirement, SelectorError> {
    check_key(&format!("{path}.key"), &given.key)?;
    let values = given.values.clone().unwrap_or_default();
    for (at, value) in values.iter().enumerate() {
        check_value(&format!("{path}.values[{at}]"), value)?;
    }
    let operator = given.operator.as_str();
    let wrong = |field: &str, what: String, remedy: &str| {
        Err(SelectorError { path: format!("{path}.{field}"), what, remedy: remedy.to_owned() })
    };
    let test = match (operator, values.is_empty()) {
        ("In", false) => Test::In(values),
        ("NotIn", false) => Test::NotIn(values),
        ("Exists", true) => Test::Exists,
        ("DoesNotExist", true) => Test::DoesNotExist,
        ("In" | "NotIn", true) => return wrong("values", format!("`{operator}` needs a value"), "give one"),
        ("Exists" | "DoesNotExist", false) => {
            return wrong("values", format!("`{operator}` takes no values"), "take them out");
        }
        _ => {
            let otherwise = "write `In`, `NotIn`, `Exists` or `DoesNotExist`";
            let remedy = suggest::remedy(operator, OPERATORS, otherwise);
            return wrong("operator", format!("`{operator}` is no operator"), &remedy);
        }
    };
    Ok(Requirement { key: given.key.clone(), test })
}

fn check_key(path: &str, key: &str) -> Result<(), SelectorError> {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("x", key));
    let well = !prefix.is_empty() && prefix.len() <= 253 && !prefix.contains('/') && !name.is_empty();
    if well && is_label_value(name) {
        return Ok(());
    }
    Err(SelectorError {
        path: path.to_owned(),
        what: format!("`{key}` is no label key"),
        remedy: "write `name` or `prefix/name`, with at most 63 characters in the name".to_owned(),
    })
}

fn check_value(path: &str, value: &str) -> Result<(), SelectorError> {
    if is_label_value(value) {
        return Ok(());
    }
    Err(SelectorError {
        path: path.to_owned(),
        what: format!("`{value}` is no label value"),
        remedy: "use at most 63 letters, digits, `-`, `_` and `.`".to_owned(),
    })
}

/// Whether a text can be a label's value: empty, or at most 63 of `[A-Za-z0-9._-]` with a letter or digit at
/// both ends.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63 && text.chars().all(inner) && ends(text.chars().next()) && ends(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(key: &str, operator: &str, values: &[&str]) -> Result<Selector, SelectorError> {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        selector(&LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: Some(values),
            }]),
        })
    }

    #[test]
    fn every_operator_is_converted() {
        for (operator, values) in
            [("In", &["ai"][..]), ("NotIn", &["ai"]), ("Exists", &[]), ("DoesNotExist", &[])]
        {
            assert!(converted("acme.example/squad", operator, values).is_ok(), "{operator}");
        }
        assert_eq!(selector(&LabelSelector::default()), Ok(Selector::default()));
    }

    #[test]
    fn what_could_never_match_is_refused() {
        let says = |result: Result<Selector, SelectorError>| result.unwrap_err().to_string();
        assert_eq!(
            says(converted("squad", "in", &["ai"])),
            "`matchExpressions[0].operator`: `in` is no operator; did you mean `In`?"
        );
        assert_eq!(
            says(converted("squad", "In", &[])),
            "`matchExpressions[0].values`: `In` needs a value; give one"
        );
        assert!(says(converted("squad", "Exists", &["x"])).contains("takes no values"));
        assert!(says(converted("", "Exists", &[])).contains("is no label key"));
        assert!(says(converted("a/b/c", "Exists", &[])).contains("is no label key"));
        assert!(says(converted("squad", "In", &["a b"])).contains("is no label value"));
    }
}
