//! Pieces of the schemas that several kinds share, each with its bounds and with words for whoever breaks them.
//!
//! An API server says of a `pattern` only that a text does not match it, so each has a rule beside it that says
//! what to write instead. Both are made from one [`Shape`] and cannot drift apart.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The shape of a text: a regular expression, and what it asks for in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The regular expression, as it stands under `pattern`.
    pub pattern: &'static str,
    /// What to write.
    pub says: &'static str,
}

/// A name that can be part of an address: an RFC 1123 label.
pub const LABEL: Shape = Shape {
    pattern: r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    says: "use lower-case letters, digits and inner `-`, such as `github`",
};

/// The name of an object: an RFC 1123 subdomain.
pub const OBJECT_NAME: Shape = Shape {
    pattern: r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    says: "name an object: lower-case letters, digits, and inner `-` and `.`, such as `acme`",
};

/// A key of a Secret's data.
pub const SECRET_KEY: Shape = Shape {
    pattern: r"^[-._a-zA-Z0-9]+$",
    says: "name a key of the Secret's data: letters, digits, `-`, `_` and `.`",
};

/// A name for several agents, as it is mentioned.
pub const MENTION: Shape = Shape {
    pattern: r"^@[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?$",
    says: "write `@` and then letters, digits, `_` and inner `-`, such as `@AI_Squad`",
};

/// A kind of event.
pub const EVENT_KIND: Shape =
    Shape { pattern: r"^[A-Z][A-Za-z]*$", says: "write a kind of event, such as `NewWorkItem`" };

/// The name of an engagement.
pub const ENGAGEMENT: Shape = Shape {
    pattern: r"^[0-9a-f]{8}-[1-9][0-9]*$",
    says: "name the engagement, `<first 8 of the uid>-<generation>`, as `status.engagement` shows it",
};

/// The id of a ClickUp list.
pub const CLICKUP_LIST: Shape = Shape {
    pattern: r"^[0-9]+$",
    says: "write the list's id in quotes: the digits at the end of its address, such as \"901\"",
};

/// The id of a Slack channel.
pub const SLACK_CHANNEL: Shape = Shape {
    pattern: r"^[CG][A-Z0-9]+$",
    says: "write the channel's id, not its name: it begins with C or G, such as `C024BE91L`",
};

/// The key of a label.
pub const LABEL_KEY: Shape = Shape {
    pattern: r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
    says: "write a label's key, `name` or `prefix/name`, with at most 63 characters in the name",
};

/// The value of a label.
pub const LABEL_VALUE: Shape = Shape {
    pattern: r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    says: "write a label's value: at most 63 letters, digits, `-`, `_` and `.`",
};

/// A count of so many out of so many.
pub const COUNT: Shape = Shape { pattern: r"^[0-9]+/[0-9]+$", says: "write `3/3`" };

/// Every shape that stands in a schema.
pub const SHAPES: [Shape; 11] = [
    LABEL,
    OBJECT_NAME,
    SECRET_KEY,
    MENTION,
    EVENT_KIND,
    ENGAGEMENT,
    CLICKUP_LIST,
    SLACK_CHANNEL,
    LABEL_KEY,
    LABEL_VALUE,
    COUNT,
];

/// Kubernetes' own bound on most names.
pub(crate) const MAX_NAME: u32 = 253;

/// A text of this shape, at least and at most so long.
fn text(min: u32, max: u32, shape: Shape) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": min,
        "maxLength": max,
        "pattern": shape.pattern,
        "x-kubernetes-validations": [rule(&format!("self.matches(r'{}')", shape.pattern), shape.says)],
    })
}

/// A rule of CEL and what is said to whoever breaks it.
pub(crate) fn rule(rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message })
}

/// A label of RFC 1123.
pub(crate) fn label(_: &mut SchemaGenerator) -> Schema {
    text(1, 63, LABEL)
}

/// Labels of RFC 1123.
pub(crate) fn labels(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 64, "items": label(generator) })
}

/// The name of an object.
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    text(1, MAX_NAME, OBJECT_NAME)
}

/// A key of a Secret.
pub(crate) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    text(1, MAX_NAME, SECRET_KEY)
}

/// The name of an alias of a Tenant.
pub(crate) fn mention(_: &mut SchemaGenerator) -> Schema {
    text(2, 64, MENTION)
}

/// Kinds of event.
pub(crate) fn event_kinds(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 64, "items": text(1, 64, EVENT_KIND) })
}

/// The name of an engagement.
pub(crate) fn engagement(_: &mut SchemaGenerator) -> Schema {
    text(10, 28, ENGAGEMENT)
}

/// The id of a ClickUp list.
pub(crate) fn clickup_list(_: &mut SchemaGenerator) -> Schema {
    text(1, 32, CLICKUP_LIST)
}

/// The id of a Slack channel.
pub(crate) fn slack_channel(_: &mut SchemaGenerator) -> Schema {
    text(2, 32, SLACK_CHANNEL)
}

/// So many out of so many.
pub(crate) fn count(_: &mut SchemaGenerator) -> Schema {
    text(3, 21, COUNT)
}

/// The name of the Tenant that an object belongs to, which it keeps for life.
pub(crate) fn tenant(_: &mut SchemaGenerator) -> Schema {
    let mut schema = text(1, MAX_NAME, OBJECT_NAME);
    let stays = rule("self == oldSelf", "the tenant cannot change: delete the object and create it anew");
    if let Some(Value::Array(rules)) = schema.get_mut("x-kubernetes-validations") {
        rules.push(stays);
    }
    schema
}

/// A label selector: as Kubernetes has it, with bounds.
pub(crate) fn selector(_: &mut SchemaGenerator) -> Schema {
    let mut keys = text(1, 317, LABEL_KEY);
    keys.insert("description".to_owned(), json!("The label's key."));
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that must be there with exactly this value.",
                "type": "object",
                "maxProperties": 16,
                "additionalProperties": text(0, 63, LABEL_VALUE),
                "x-kubernetes-validations": [rule(
                    &format!("self.all(key, key.size() <= 317 && key.matches(r'{}'))", LABEL_KEY.pattern),
                    LABEL_KEY.says,
                )],
            },
            "matchExpressions": {
                "description": "Further requirements on labels; all of them must be met.",
                "type": "array",
                "maxItems": 5,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "description": "A requirement on one label.",
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": keys,
                        "operator": {
                            "description": "`In` and `NotIn` compare with `values`; `Exists` and `DoesNotExist` ask only whether the label is there.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "The values to compare with.",
                            "type": "array",
                            "maxItems": 20,
                            "x-kubernetes-list-type": "atomic",
                            "items": text(0, 63, LABEL_VALUE),
                        },
                    },
                    "x-kubernetes-validations": [
                        rule(
                            "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",
                            "`In` and `NotIn` need a value: give one under `values`",
                        ),
                        rule(
                            "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || self.values.size() == 0",
                            "`Exists` and `DoesNotExist` take no values: take `values` out",
                        ),
                    ],
                },
            },
        },
    })
}

/// Conditions, of which an object has one of each type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "description": "One aspect of the object's state.",
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "description": "Which aspect: `Accepted`, `ResolvedRefs`, `Programmed`, `Ready` or, of an agent, `Online`.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 63,
                },
                "status": {
                    "description": "Whether it holds.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "description": "Why, in one word for programs.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 128,
                },
                "message": {
                    "description": "Why, for people: what is wrong, where, and how to mend it.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "description": "`metadata.generation` of the object that was judged: an older one than it has now says nothing of what it says now.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "description": "When `status` changed last.",
                    "type": "string",
                    "format": "date-time",
                },
            },
        },
    })
}
