//! The HTTP API of every role as an OpenAPI 3.1 document.
//!
//! Schemas come from the types that are written to the wire. The routes stand here once more, one entry each; a
//! test reads the routers' sources and fails when an entry is missing or left over, and the system test `openapi`
//! checks against a running process that what is answered is what is described.

mod admin;
mod build;
mod gateway;
mod ingest;
mod security;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use self::build::{Document, Server};

const DESCRIPTION: &str = "Three servers, one of each role. Ingest takes webhooks in; the gateway gives agents their \
tokens and sessions (the frames within a session are described in asyncapi.json); the admin server shows what is \
going on and turns the stop switch, and must be reachable for admins only.";

/// The document.
pub fn document() -> Value {
    let mut document = Document::new();
    ingest::describe(&mut document);
    gateway::describe(&mut document);
    admin::describe(&mut document);
    let (paths, schemas) = document.finish();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Nexus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": Server::ALL.map(Server::json),
        "tags": Server::ALL.map(|server| json!({ "name": server.name(), "description": server.description() })),
        "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": security::schemes() },
    })
}
