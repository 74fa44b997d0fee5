//! The JSON Schemas of events: one for StandardEvent, and one per kind that refers to it.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::event::StandardEvent;
use crate::kind::Kind;

/// Where the schemas say that they live.
const BASE: &str = "https://nexus.dev/schemas/";

/// File name of the schema that all kinds share.
pub const STANDARD_EVENT: &str = "StandardEvent.v1.json";

/// File name of a kind's schema.
#[must_use]
pub fn file_name(kind: Kind) -> String {
    format!("{kind}.v1.json")
}

/// The schema of every StandardEvent, draft 2020-12.
#[must_use]
pub fn standard_event() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<StandardEvent>();
    schema.insert("$id".to_owned(), format!("{BASE}{STANDARD_EVENT}").into());
    schema.to_value()
}

/// The schema of one kind, draft 2020-12: a StandardEvent with this kind's `type`.
#[must_use]
pub fn of_kind(kind: Kind) -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("{BASE}{}", file_name(kind)),
        "title": kind.name(),
        "description": kind.description(),
        "allOf": [{"$ref": STANDARD_EVENT}],
        "properties": {"type": {"const": kind.event_type()}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_described_in_a_sentence() {
        assert_eq!(of_kind(Kind::NewWorkItem)["description"], "A task or an issue was created.");
        for kind in Kind::ALL {
            assert!(kind.description().ends_with('.'), "{kind}");
        }
    }
}
