//! Building the document: one [`Operation`] for each route and method.

use nexus_core::id::EventId;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

const JSON: &str = "application/json";

/// Who serves a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Ingest,
    Gateway,
    Admin,
}

impl Server {
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Gateway, Self::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Gateway => "gateway",
            Self::Admin => "admin",
        }
    }

    /// Its address under `nexus dev`.
    const fn url(self) -> &'static str {
        match self {
            Self::Ingest => "http://127.0.0.1:8080",
            Self::Gateway => "http://127.0.0.1:8081",
            Self::Admin => "http://127.0.0.1:9090",
        }
    }

    pub const fn description(self) -> &'static str {
        match self {
            Self::Ingest => "Takes webhooks in",
            Self::Gateway => "Gives agents tokens and sessions",
            Self::Admin => "Shows what is going on and turns the stop switch",
        }
    }

    pub fn json(self) -> Value {
        json!({ "url": self.url(), "description": format!("{}: {}", self.name(), self.description()) })
    }
}

/// The document while it is built.
pub struct Document {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
    paths: Map<String, Value>,
}

impl Document {
    pub fn new() -> Self {
        let settings =
            || SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
        Self {
            answers: settings().for_serialize().into_generator(),
            requests: settings().into_generator(),
            paths: Map::new(),
        }
    }

    /// Schema of what is answered.
    pub fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// Schema of what is asked.
    pub fn request<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    pub fn add(&mut self, operation: Operation) {
        let Operation { server, method, path, mut value } = operation;
        value["tags"] = json!([server.name()]);
        let parameters: Vec<_> = names(path).map(|name| self.path_parameter(name)).collect();
        let item = self.paths.entry(path).or_insert_with(|| json!({ "servers": [server.json()] }));
        if !parameters.is_empty() {
            item["parameters"] = parameters.into();
        }
        item[method] = value;
    }

    fn path_parameter(&mut self, name: &str) -> Value {
        let schema = match name {
            "id" => self.request::<EventId>(),
            _ => json!({ "type": "string", "minLength": 1, "maxLength": 253 }),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    }

    /// The paths and the schemas.
    pub fn finish(mut self) -> (Map<String, Value>, Map<String, Value>) {
        let mut schemas = self.requests.take_definitions(true);
        schemas.extend(self.answers.take_definitions(true));
        schemas.sort_keys();
        (self.paths, schemas)
    }
}

/// The names in a path: `{id}`.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// What one method of one path does.
pub struct Operation {
    server: Server,
    method: &'static str,
    path: &'static str,
    value: Value,
}

impl Operation {
    fn new(server: Server, method: &'static str, path: &'static str, id: &str, summary: &str) -> Self {
        let value = json!({ "operationId": id, "summary": summary, "security": [], "responses": {} });
        Self { server, method, path, value }
    }

    pub fn get(server: Server, path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(server, "get", path, id, summary)
    }

    pub fn post(server: Server, path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(server, "post", path, id, summary)
    }

    pub fn about(mut self, description: &str) -> Self {
        self.value["description"] = description.into();
        self
    }

    /// Any one of these is needed.
    pub fn secured(mut self, by: Value) -> Self {
        self.value["security"] = by;
        self
    }

    /// A parameter that may be left out.
    pub fn query(self, name: &str, description: &str, schema: Value) -> Self {
        self.parameter(json!({ "name": name, "in": "query", "description": description, "schema": schema }))
    }

    /// A parameter that must be there.
    pub fn required_query(self, name: &str, description: &str, schema: Value) -> Self {
        self.parameter(json!({
            "name": name, "in": "query", "description": description, "required": true, "schema": schema,
        }))
    }

    fn parameter(mut self, parameter: Value) -> Self {
        match self.value.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.push(parameter),
            None => self.value["parameters"] = json!([parameter]),
        }
        self
    }

    pub fn body(mut self, media: &str, schema: Value) -> Self {
        self.value["requestBody"] = json!({ "required": true, "content": { media: { "schema": schema } } });
        self
    }

    pub fn json_body(self, schema: Value) -> Self {
        self.body(JSON, schema)
    }

    /// An answer with a body of any media type; may be told once for each type.
    pub fn content(mut self, status: u16, description: &str, media: &str, schema: Value) -> Self {
        let response = self.response(status, description);
        response["content"][media] = json!({ "schema": schema });
        self
    }

    pub fn json(self, status: u16, description: &str, schema: Value) -> Self {
        self.content(status, description, JSON, schema)
    }

    pub fn text(self, status: u16, description: &str) -> Self {
        self.content(status, description, "text/plain", json!({ "type": "string" }))
    }

    /// An answer without a body.
    pub fn empty(mut self, status: u16, description: &str) -> Self {
        self.response(status, description);
        self
    }

    /// A header that an answer has, after the answer was told.
    pub fn header(mut self, status: u16, name: &str, description: &str, schema: Value) -> Self {
        let response = &mut self.value["responses"][status.to_string()];
        response["headers"][name] = json!({ "description": description, "required": true, "schema": schema });
        self
    }

    pub fn retry_after(self, status: u16) -> Self {
        self.header(
            status,
            "Retry-After",
            "Try again after so many seconds.",
            json!({ "type": "integer", "minimum": 1 }),
        )
    }

    fn response(&mut self, status: u16, description: &str) -> &mut Value {
        let response = &mut self.value["responses"][status.to_string()];
        response["description"] = description.into();
        response
    }
}
