//! JSON Schemas of protobuf messages, as the protobuf JSON mapping writes them.
//!
//! The mapping reads more than it writes: `event_id` for `eventId`, `"4"` for `4`, `null` for a field that is left
//! out. The schemas describe what is written, which is what people should send.

use std::collections::BTreeMap;

use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{
    Cardinality, DescriptorError, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
};
use serde_json::{Map, Value, json};

/// Schemas stand in one document, where they refer to each other by this.
const COMPONENTS: &str = "#/components/schemas/";

/// Why descriptors have no schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// They cannot be read.
    #[error("cannot read the descriptors")]
    Descriptors(#[from] DescriptorError),
    /// They lack a message that the protocol has.
    #[error("the descriptors have no message {0}")]
    Missing(&'static str),
    /// A field's type has no rule here.
    #[error(
        "{field} is of the type {kind}, whose JSON has no rule here; add one to `scalar` or `well_known`"
    )]
    Unmapped {
        /// The field.
        field: String,
        /// Its type.
        kind: String,
    },
    /// A message has no comment.
    #[error("{0} has no comment in the protobuf file, so nothing describes it")]
    Undescribed(String),
    /// A frame has no example.
    #[error("{0} has no example; add one to `EXAMPLES`")]
    Unillustrated(String),
}

/// Whether unknown fields are refused, as the server does, or passed over, as agents should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Strict,
    Tolerant,
}

/// Schemas of messages, and of all that they refer to.
pub(super) struct Payloads {
    pool: DescriptorPool,
    /// Messages that are described elsewhere, and where.
    elsewhere: BTreeMap<&'static str, Value>,
    schemas: Map<String, Value>,
}

impl Payloads {
    pub(super) fn new(
        descriptors: &[u8],
        elsewhere: BTreeMap<&'static str, Value>,
    ) -> Result<Self, SchemaError> {
        Ok(Self { pool: DescriptorPool::decode(descriptors)?, elsewhere, schemas: Map::new() })
    }

    pub(super) fn message(&self, name: &'static str) -> Result<MessageDescriptor, SchemaError> {
        self.pool.get_message_by_name(name).ok_or(SchemaError::Missing(name))
    }

    /// The schemas that were asked for and all that they refer to, by name.
    pub(super) fn into_schemas(self) -> Map<String, Value> {
        self.schemas
    }

    /// A reference to the schema of a message, which is made if it is new.
    pub(super) fn refer(
        &mut self,
        message: &MessageDescriptor,
        reader: Reader,
    ) -> Result<Value, SchemaError> {
        if let Some(value) = self.elsewhere.get(message.full_name()) {
            return Ok(value.clone());
        }
        let name = message.name();
        if !self.schemas.contains_key(name) {
            // Held before it is filled, so that a message may hold itself.
            self.schemas.insert(name.to_owned(), Value::Null);
            let schema = self.object(message, reader)?;
            self.schemas.insert(name.to_owned(), schema);
        }
        Ok(reference(name))
    }

    fn object(&mut self, message: &MessageDescriptor, reader: Reader) -> Result<Value, SchemaError> {
        let description = comment(message.parent_file_descriptor_proto(), message.path())
            .ok_or_else(|| SchemaError::Undescribed(message.full_name().to_owned()))?;
        let mut properties = Map::new();
        for field in message.fields() {
            properties.insert(field.json_name().to_owned(), self.field(&field, reader)?);
        }
        let mut schema = json!({ "type": "object", "description": description, "properties": properties });
        if reader == Reader::Strict {
            schema["additionalProperties"] = false.into();
        }
        Ok(schema)
    }

    fn field(&mut self, field: &FieldDescriptor, reader: Reader) -> Result<Value, SchemaError> {
        let mut schema = if field.is_map() {
            let Kind::Message(entry) = field.kind() else { return Err(unmapped(field)) };
            let value = entry.map_entry_value_field();
            json!({ "type": "object", "additionalProperties": self.single(&value, reader)? })
        } else if field.cardinality() == Cardinality::Repeated {
            json!({ "type": "array", "items": self.single(field, reader)? })
        } else {
            self.single(field, reader)?
        };
        let file = field.parent_message().parent_file();
        if let Some(text) = comment(file.file_descriptor_proto(), field.path()) {
            // Next to `$ref` nothing counts in the draft that AsyncAPI builds upon.
            if schema.get("$ref").is_some() {
                schema = json!({ "allOf": [schema] });
            }
            schema["description"] = text.into();
        }
        Ok(schema)
    }

    fn single(&mut self, field: &FieldDescriptor, reader: Reader) -> Result<Value, SchemaError> {
        match field.kind() {
            Kind::Message(message) if message.package_name() == "google.protobuf" => {
                well_known(message.name()).ok_or_else(|| unmapped(field))
            }
            Kind::Message(message) => self.refer(&message, reader),
            Kind::Enum(names) => Ok(self.names(&names)),
            kind => {
                let mut schema = scalar(&kind).ok_or_else(|| unmapped(field))?;
                // What equals the default is left out, unless the field knows presence.
                if field.supports_presence() || field.is_list() {
                    schema.as_object_mut().map(|schema| schema.remove("default"));
                }
                Ok(schema)
            }
        }
    }

    /// A reference to the schema of an enumeration: its names, each with what it means.
    fn names(&mut self, names: &EnumDescriptor) -> Value {
        let file = names.parent_file();
        let proto = file.file_descriptor_proto();
        let mut description = comment(proto, names.path()).unwrap_or_default();
        for value in names.values() {
            let meaning = comment(proto, value.path()).unwrap_or_default();
            description.push_str(&format!("\n- `{}`: {meaning}", value.name()));
        }
        let all: Vec<_> = names.values().map(|value| value.name().to_owned()).collect();
        let default = names.default_value().name().to_owned();
        let schema = json!({ "type": "string", "description": description, "enum": all, "default": default });
        self.schemas.insert(names.name().to_owned(), schema);
        reference(names.name())
    }
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{COMPONENTS}{name}") })
}

fn unmapped(field: &FieldDescriptor) -> SchemaError {
    SchemaError::Unmapped { field: field.full_name().to_owned(), kind: format!("{:?}", field.kind()) }
}

fn scalar(kind: &Kind) -> Option<Value> {
    Some(match kind {
        Kind::String => json!({ "type": "string", "default": "" }),
        Kind::Bool => json!({ "type": "boolean", "default": false }),
        Kind::Uint32 | Kind::Fixed32 => {
            json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 0 })
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX, "default": 0 })
        }
        // More digits than a JSON number keeps everywhere.
        Kind::Uint64 | Kind::Fixed64 => {
            json!({ "type": "string", "pattern": "^[0-9]{1,20}$", "default": "0" })
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            json!({ "type": "string", "pattern": "^-?[0-9]{1,19}$", "default": "0" })
        }
        Kind::Double | Kind::Float => json!({
            "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }], "default": 0
        }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64", "default": "" }),
        Kind::Message(_) | Kind::Enum(_) => return None,
    })
}

fn well_known(name: &str) -> Option<Value> {
    Some(match name {
        "Duration" => json!({
            "type": "string", "pattern": "^-?[0-9]{1,12}(\\.[0-9]{1,9})?s$", "examples": ["1.5s"]
        }),
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Empty" | "Struct" => json!({ "type": "object" }),
        _ => return None,
    })
}

/// The comment before what stands at a path of a file, its lines joined.
pub(super) fn comment(file: &FileDescriptorProto, path: &[i32]) -> Option<String> {
    let info = file.source_code_info.as_ref()?;
    let text = info.location.iter().find(|location| location.path == path)?.leading_comments();
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
